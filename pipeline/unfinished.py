"""A dataset in the making: what of it is finished, so that a run that was interrupted can go on."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from pipeline.schema import SHARD_NAME, ShardInfo, find_damage
from pipeline.storage import exists, list_names, make_folder, read_at_most, remove_files, remove_folder, write_text
from tokenizer.errors import InputError
from tokenizer.json_file import MAX_BYTES, make, parse_json, parse_sealed, require_types, seal_versioned

FOLDER = ".unfinished"  # beside the shards, until the manifest is written
IDENTITY = "run.json"
THREADS = 8  # that read records; an object of Cloud Storage takes 50 ms, most of it waiting

Record = tuple[ShardInfo, Counter[str]]


class Unfinished:
    """The records of the finished shards of a dataset: one file for each, written after the shard itself."""

    def __init__(self, output: str):
        self.output = output
        self.folder = os.path.join(output, FOLDER)

    def start(self, identity: Mapping[str, Any]) -> None:
        """Begins a run, or goes on with one; `identity` is what the bytes of the dataset depend on."""
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

    def require_run(self, run: str | None) -> None:
        """Raises InputError when another run than this one has taken over since."""
        if run and (self.identity() or {}).get("run") != run:
            raise InputError(f"another run has begun in output {self.output}; this one ends, the other goes on")

    def require(self, identity: Mapping[str, Any]) -> None:
        """Raises InputError when a run was started that is not this one, as far as it is known."""
        earlier = self.identity()
        for name, value in identity.items():
            if earlier is not None and earlier.get(name, value) != value:
                raise InputError(
                    f"output {self.output} holds an unfinished run with {name} {earlier.get(name)}, not {value}; give "
                    "the same command to go on with it, another folder, or --overwrite to replace it"
                )

    def record(self, shard: ShardInfo, counts: Mapping[str, int]) -> None:
        """Says that a shard is finished, and what it holds."""
        text = seal_versioned({"shard": asdict(shard), "counts": counts})
        write_text(os.path.join(self.folder, f"{shard.path}.json"), text)

    def names(self) -> set[str]:
        """The names of the finished shards."""
        found = (name.removesuffix(".json") for name in list_names(self.folder) if name.endswith(".json"))
        return {name for name in found if SHARD_NAME.fullmatch(name)}

    def finished(self) -> list[Record]:
        """The finished shards and what they hold."""
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(self._read, sorted(self.names())))

    def _read(self, name: str) -> Record:
        return self._parse(name, self._content(name))

    def _content(self, name: str) -> bytes:
        return read_at_most(os.path.join(self.folder, f"{name}.json"), MAX_BYTES)

    def _parse(self, name: str, content: bytes) -> Record:
        path, way_out = os.path.join(self.folder, f"{name}.json"), "remove it, and run the command again"
        fields = parse_sealed(content, path, way_out)
        require_types(fields, {"shard": dict[str, Any], "counts": dict[str, int]}, path, way_out)
        shard = make(ShardInfo, fields["shard"], path, way_out)
        if shard.path != name:
            raise InputError(f"{path} is of the shard {shard.path}; {way_out}")
        return shard, Counter(fields["counts"])

    def check(self) -> set[str]:
        """The names of the finished shards whose records and files are whole; forgets the others."""
        names, present = sorted(self.names()), set(list_names(self.output))

        def is_whole(name: str) -> bool:
            content = self._content(name)  # that it cannot be read does not say that it is damaged
            try:
                shard, _ = self._parse(name, content)
            except InputError:
                return False
            return not find_damage(self.output, present, name, shard.bytes, shard.sha256)

        with ThreadPoolExecutor(THREADS) as threads:
            whole = {name for name, is_it in zip(names, threads.map(is_whole, names)) if is_it}
        remove_files(self.folder, [f"{name}.json" for name in names if name not in whole])
        return whole

    def remove(self) -> None:
        """Forgets all of it, as when the dataset is whole."""
        remove_folder(self.folder)
