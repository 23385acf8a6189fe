"""A dataset in its folder: its files against its manifest, and whether they are still those that were looked at."""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from maskmill.pipeline.dataset.schema import MANIFEST, VOCAB, DatasetInfo, ShardInfo, Split, read_manifest
from maskmill.pipeline.storage.storage import (
    AnyPath,
    current_version,
    is_remote,
    list_names,
    open_file,
    read_bytes,
    size_of,
    version_of,
)
from maskmill.tokenizer.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """A folder with a manifest, what the manifest says, and what the files were when they were first looked at."""

    directory: str
    info: DatasetInfo
    sha256: str = ""  # of the manifest; empty where it was not read from the folder
    versions: dict[str, str] = field(default_factory=dict)  # of the files that were looked at, see `version_of`
    changes: Mapping[str, Any] = field(default_factory=dict)  # of its config, where copies are drawn in another way

    @classmethod
    def open(cls, directory: AnyPath, sealed: bool = False) -> "Dataset":
        """Reads the manifest alone. Raises InputError where `DatasetInfo.load` does."""
        content, version = read_manifest(directory)
        info = DatasetInfo.parse(content, os.path.join(directory, MANIFEST), sealed)
        return cls(os.fspath(directory), info, hashlib.sha256(content).hexdigest(), {MANIFEST: version})

    @property
    def identity(self) -> str:
        """What tells its examples from those of other datasets: the checksum of the manifest, and of the changes."""
        if not self.changes:
            return self.sha256
        return hashlib.sha256(f"{self.sha256} {json.dumps(dict(self.changes), sort_keys=True)}".encode()).hexdigest()

    def path_of(self, shard: ShardInfo) -> str:
        """Where a shard lies."""
        return os.path.join(self.directory, shard.path)

    def check_files(self, split: Split | None = None) -> None:
        """Compares the vocabulary and every shard (of a split) with the manifest. Raises InputError where one differs.

        Reads every byte, at the speed of SHA-256 on all cores; of Cloud Storage the sizes alone.
        """
        present = set(list_names(self.directory))

        def check(file: tuple[str, int | None, str]) -> str | None:
            name = file[0]
            if name in present:
                self.versions[name] = version_of(os.path.join(self.directory, name))
            return find_damage(self.directory, present, *file)

        with self.unchanged(), ThreadPoolExecutor() as threads:
            for problem in threads.map(check, self._expected_files(split)):
                if problem:
                    raise InputError(
                        f"{problem}", way_out="restore the file, or generate the dataset again with --overwrite"
                    )

    def require_unchanged(self) -> None:
        """Raises InputError when the folder no longer holds the manifest that was loaded from it. Costs one look-up."""
        path, versions = os.path.join(self.directory, MANIFEST), self.versions
        if MANIFEST not in versions:
            return  # it was not loaded
        version = current_version(path)
        if version == versions[MANIFEST]:
            return
        if version is None or hashlib.sha256(read_bytes(path)).hexdigest() != self.sha256:
            raise InputError(
                f"the dataset {self.directory} changed while it was read",
                way_out="run this again when nothing writes to it",
            )
        versions[MANIFEST] = version  # the same content under a new date

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Within it, files of the dataset are read. Raises InputError as `require_unchanged` before it ends.

        What cannot be read because the dataset is being replaced is not called damage.
        """
        try:
            yield
        except InputError:
            self.require_unchanged()
            raise
        self.require_unchanged()

    def read_vocab(self) -> bytes:
        """The vocabulary beside the manifest. Raises InputError when it is not the one that the manifest names."""
        path = os.path.join(self.directory, VOCAB)
        with self.unchanged():
            content = read_bytes(path)
            if (actual := hashlib.sha256(content).hexdigest()) != self.info.vocab_sha256:
                raise InputError(
                    f"has sha256 {actual[:12]}..., {MANIFEST} says {self.info.vocab_sha256[:12]}...",
                    way_out="restore the file, or generate the dataset again",
                    path=path,
                )
        return content

    def _expected_files(self, split: Split | None) -> Iterator[tuple[str, int | None, str]]:
        yield VOCAB, None, self.info.vocab_sha256
        for shard in self.info.shards_of(split) if split else self.info.shards:
            yield shard.path, shard.bytes, shard.sha256


def describe_files(folder: AnyPath, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of each of some files in a folder."""
    return {name: hashlib.sha256(read_bytes(os.path.join(folder, name))).hexdigest() for name in names}


def find_damage(folder: AnyPath, present: Container[str], name: str, size: int | None, sha256: str) -> str | None:
    """Compares a file of a dataset with what is known of it: a clause that says what differs, or None.

    `present` are the names of the files in the folder. An object of Cloud Storage has the right bytes if it has the
    right number of them, because none is ever written in part.
    """
    path = os.path.join(folder, name)
    if name not in present:
        return f"{path} is not there"
    actual_size = size_of(path)
    if size is not None and actual_size != size:
        return f"{path} has {actual_size} bytes, {MANIFEST} says {size}"
    if is_remote(path) and size is not None:
        return None
    with open_file(path) as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if actual != sha256:
        return f"{path} has sha256 {actual[:12]}..., {MANIFEST} says {sha256[:12]}..."
    return None
