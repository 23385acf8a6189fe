"""A dataset in the making: what of it is finished, so that a run that was interrupted can go on."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.schema import ShardInfo, find_damage, write_text_atomically

FOLDER = ".unfinished"  # beside the shards, until the manifest is written
IDENTITY = "run.json"
PROGRESS = "tokenized"
RECORDS = "*.tfrecord*.json"


class Unfinished:
    """The records of the finished shards of a dataset: one file for each, written after the shard itself."""

    def __init__(self, output: Path):
        self.output = output
        self.folder = output / FOLDER

    def start(self, identity: Mapping[str, Any]) -> None:
        """Begins a run, or goes on with one; `identity` is what the bytes of the dataset depend on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PROGRESS).unlink(missing_ok=True)
        write_text_atomically(self.folder / IDENTITY, json.dumps(identity, indent=1))

    def identity(self) -> dict[str, Any] | None:
        """What `start` was given, or None where no run was started."""
        try:
            identity: dict[str, Any] = json.loads((self.folder / IDENTITY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return identity

    def record(self, shard: ShardInfo, counts: Mapping[str, int]) -> None:
        """Says that a shard is finished, and what it holds."""
        text = json.dumps({"shard": asdict(shard), "counts": counts})
        write_text_atomically(self.folder / f"{shard.path}.json", text)

    def names(self) -> set[str]:
        """The names of the finished shards."""
        return {path.name.removesuffix(".json") for path in self.folder.glob(RECORDS)}

    def finished(self) -> Iterator[tuple[ShardInfo, Counter[str]]]:
        """The finished shards and what they hold."""
        return (self._read(name) for name in sorted(self.names()))

    def _read(self, name: str) -> tuple[ShardInfo, Counter[str]]:
        fields = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        return ShardInfo(**fields["shard"]), Counter(fields["counts"])

    def check(self) -> set[str]:
        """The names of the finished shards whose records and files are whole; forgets the others."""
        whole = set()
        for name in self.names():
            try:
                shard, _ = self._read(name)
                is_damaged = bool(find_damage(self.output, name, shard.bytes, shard.sha256))
            except (ValueError, KeyError, TypeError):  # the record itself is damaged
                is_damaged = True
            if is_damaged:
                (self.folder / f"{name}.json").unlink()
            else:
                whole.add(name)
        return whole

    def count_tokenized(self, documents: int) -> None:
        """Says that so many more documents are tokenised, for whoever watches."""
        with (self.folder / PROGRESS).open("a") as file:
            file.write(f"{documents}\n")

    def tokenized(self) -> int:
        """How many documents were tokenised in this run, all passes and retries together."""
        try:
            return sum(map(int, (self.folder / PROGRESS).read_text().split()))
        except OSError:
            return 0

    def remove(self) -> None:
        """Forgets all of it, as when the dataset is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
