"""A dataset in the making: what of it is finished, so that a run that was interrupted can go on."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from maskmill.pipeline.dataset.dataset import find_damage
from maskmill.pipeline.dataset.schema import SHARD_NAME, ShardInfo
from maskmill.pipeline.storage.storage import (
    exists,
    list_names,
    make_folder,
    read_at_most,
    remove_empty_folder,
    remove_files,
    version_of,
    write_text,
)
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, make, parse_json, parse_sealed, require_types, seal_versioned

FOLDER = ".unfinished"  # beside the shards, until the manifest is written
IDENTITY = "run.json"
RUN_ID = "run"  # in the identity: which run is writing; all else is what the bytes of the dataset depend on
OURS = re.compile(rf"\.?(run|{SHARD_NAME.pattern})\.json(\.[0-9a-f]{{32}}\.tmp)?")  # names of files in the folder
THREADS = 8  # that read records; an object of Cloud Storage takes 50 ms, most of it waiting


@dataclass(frozen=True)
class Record:
    """What is recorded of a finished shard, from which the manifest is made."""

    shard: ShardInfo
    counts: Mapping[str, int]  # of what it holds, by `section/name`
    version: str  # of its file, see `version_of`
    identity: str  # of the run that wrote it, see `digest_of`


class Unfinished:
    """The records of the finished shards of a dataset: one file for each, written after the shard itself."""

    def __init__(self, output: str):
        self.output = output
        self.folder = os.path.join(output, FOLDER)

    def start(self, identity: Mapping[str, Any]) -> None:
        """Begins a run, or goes on with one; `identity` is what the bytes of the dataset depend on, and its id."""
        make_folder(self.folder)
        write_text(os.path.join(self.folder, IDENTITY), json.dumps(identity, indent=1))

    def identity(self) -> dict[str, Any] | None:
        """What `start` was given, or None where no run was started."""
        path = os.path.join(self.folder, IDENTITY)
        if not exists(path):
            return None
        try:
            identity = parse_json(read_at_most(path, MAX_BYTES))
        except InputError:
            raise
        except ValueError:
            return None
        return identity if isinstance(identity, dict) else None

    def require_run(self, run: str | None) -> dict[str, Any]:
        """The identity. Raises InputError when another run than this one has taken over since."""
        identity = self.identity() or {}
        if run and identity.get(RUN_ID) != run:
            raise InputError(
                f"another run has begun in output {self.output}", way_out="this one ends, the other goes on"
            )
        return identity

    def require(self, identity: Mapping[str, Any]) -> None:
        """Raises InputError when a run was started that is not this one, as far as it is known."""
        if name := self.find_difference(identity):
            earlier = (self.identity() or {}).get(name)
            raise InputError(
                f"output {self.output} holds an unfinished run with {name} {earlier}, not {identity[name]}",
                way_out="give the same command to go on with it, another folder, or --overwrite to replace it",
            )

    def find_difference(self, identity: Mapping[str, Any]) -> str | None:
        """The first name whose value differs from that of the run that was started."""
        earlier = self.identity() or {}
        return next((name for name, value in identity.items() if earlier.get(name, value) != value), None)

    def record(self, shard: ShardInfo, counts: Mapping[str, int], run: str | None = None) -> None:
        """Says that a shard is finished, and what it holds. Raises InputError when another run has taken over."""
        version = version_of(os.path.join(self.output, shard.path))
        identity = digest_of(self.require_run(run))
        record = {"shard": asdict(shard), "counts": counts, "version": version, "identity": identity}
        write_text(os.path.join(self.folder, f"{shard.path}.json"), seal_versioned(record))

    def names(self) -> set[str]:
        """The names of the finished shards."""
        found = (name.removesuffix(".json") for name in list_names(self.folder) if name.endswith(".json"))
        return {name for name in found if SHARD_NAME.fullmatch(name)}

    def finished(self) -> list[Record]:
        """The finished shards and what they hold.

        Raises InputError when one of the files is not what this run wrote, as when another process wrote it too.
        """
        present = set(list_names(self.output))

        def read(name: str) -> Record:
            record = self._read(name)
            path = os.path.join(self.output, name)
            if name in present and version_of(path) == record.version:
                return record
            if problem := find_damage(self.output, present, name, record.shard.bytes, record.shard.sha256):
                raise InputError(
                    f"{problem}", way_out="something else wrote to it meanwhile, so give the command again"
                )
            return record

        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(read, sorted(self.names())))

    def _read(self, name: str) -> Record:
        return self._parse(name, self._content(name))

    def _content(self, name: str) -> bytes:
        return read_at_most(os.path.join(self.folder, f"{name}.json"), MAX_BYTES)

    def _parse(self, name: str, content: bytes) -> Record:
        path, way_out = os.path.join(self.folder, f"{name}.json"), "remove it, and run the command again"
        fields = parse_sealed(content, path, way_out)
        kinds = {"shard": dict[str, Any], "counts": dict[str, int], "version": str, "identity": str}
        require_types(fields, kinds, path, way_out)
        shard = make(ShardInfo, fields["shard"], path, way_out)
        if shard.path != name:
            raise InputError(f"is of the shard {shard.path}", way_out=f"{way_out}", path=path)
        return Record(shard, Counter(fields["counts"]), fields["version"], fields["identity"])

    def check(self) -> set[str]:
        """The names of the finished shards whose records and files are whole; forgets the others."""
        names, present = sorted(self.names()), set(list_names(self.output))
        identity = digest_of(self.identity() or {})

        def is_whole(name: str) -> bool:
            content = self._content(name)  # that it cannot be read does not say that it is damaged
            try:
                record = self._parse(name, content)
            except InputError:
                return False
            shard = record.shard
            return record.identity == identity and not find_damage(
                self.output, present, name, shard.bytes, shard.sha256
            )

        with ThreadPoolExecutor(THREADS) as threads:
            whole = {name for name, is_it in zip(names, threads.map(is_whole, names)) if is_it}
        remove_files(self.folder, [f"{name}.json" for name in names if name not in whole])
        return whole

    def remove(self) -> None:
        """Forgets all of it, as when the dataset is whole; the identity last, so that a killed process can go on."""
        names = list_names(self.folder)
        remove_files(self.folder, [name for name in names if name != IDENTITY and OURS.fullmatch(name)])
        remove_files(self.folder, [IDENTITY])
        remove_empty_folder(self.folder)


def digest_of(identity: Mapping[str, Any]) -> str:
    """A short checksum of what the bytes of a dataset depend on."""
    values = {name: value for name, value in identity.items() if name != RUN_ID}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
