"""Runs: as many packed documents as the memory of a task holds, ordered by place.

While documents are read nobody knows how many pools there will be. But each document has a place, and each pool is an
interval of places (`Pools.pool_at`), so that whoever builds a pool reads its interval of each run. A run is divided
into files by groups of places, so that the files of a group can be removed when its pools are built.
"""

import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.schema import Split
from maskmill.pipeline.instances.pools import (
    COPIES_BYTES,
    Place,
    Pools,
    TokenizedDocument,
    copies_of,
    with_copies,
)
from maskmill.pipeline.spill.arrays import SUFFIX, ArrayFile, Arrays, pack_texts, write_arrays

GROUPS = 16  # of the places of a split
OVERHEAD_BYTES = 150  # of memory that a document takes in a buffer, beside its own

RUN_NAME = re.compile(rf"(\w+)-(\d+)-(train|eval)-(\d+){re.escape(SUFFIX)}")


class Group(NamedTuple):
    """A sixteenth of the places of a split."""

    split: Split
    number: int

    @classmethod
    def of(cls, place: Place) -> "Group":
        """The group of a place."""
        return cls(place.split, int(place.at * GROUPS))

    def pools(self, pools: Pools) -> range:
        """The numbers of the pools that may have documents of the group."""
        within = pools.number_in(self.split)
        before = pools.train if self.split == "eval" else 0
        first, last = (number * within // GROUPS for number in (self.number, self.number + 1))
        return range(before + first, before + min(within, last + 1))  # one more: a place may be rounded up to the next


ALL_GROUPS = [Group(split, number) for split in get_args(Split) for number in range(GROUPS)]


class RunName(NamedTuple):
    """What the name of a file says: the documents of a group in a run of a task."""

    task: str
    run: int
    group: Group

    def __str__(self) -> str:
        return f"{self.task}-{self.run}-{self.group.split}-{self.group.number}{SUFFIX}"

    @classmethod
    def parse(cls, name: str) -> "RunName | None":
        """What a name says; None where it is not that of a run."""
        if found := RUN_NAME.fullmatch(name):
            return cls(found[1], int(found[2]), Group(cast(Split, found[3]), int(found[4])))
        return None


@dataclass
class RunWriter:
    """Writes the runs of a task. Documents are held until they are many bytes, or `flush` is called."""

    folder: str
    task: str
    buffer_bytes: int
    runs: int = 0
    _bytes: int = 0
    _groups: dict[Group, list[TokenizedDocument]] = field(default_factory=lambda: defaultdict(list))

    def add(self, document: TokenizedDocument) -> None:
        """Adds a document; writes a run when those that are held fill the buffer."""
        self._groups[Group.of(document.place)].append(document)
        self._bytes += len(document.packed) + OVERHEAD_BYTES
        if self._bytes >= self.buffer_bytes:
            self.flush()

    def flush(self) -> None:
        """Writes the documents that are held as a run."""
        while self._groups:
            group, documents = self._groups.popitem()
            name = RunName(self.task, self.runs, group)
            write_arrays(os.path.join(self.folder, str(name)), _to_arrays(documents))
        self.runs += 1
        self._bytes = 0


def _to_arrays(documents: Sequence[TokenizedDocument]) -> Arrays:
    """Documents ordered by place; equal ones with the same id once, with the number of them."""
    in_order = sorted(documents, key=lambda one: (one.place.at, one.id_hash or 0, one.packed))
    kept, packed = [], []
    for _, equal in groupby(in_order, key=lambda one: (one.id_hash, one.packed[:-COPIES_BYTES])):
        first, *others = equal
        kept.append(first)
        copies = sum((copies_of(one.packed) for one in others), copies_of(first.packed))
        packed.append(with_copies(first.packed, copies) if others else first.packed)
    return {
        "places": np.array([one.place.at for one in kept], np.float64),
        "id_hashes": np.array([one.id_hash or 0 for one in kept], np.uint64),
        "copies": np.array(list(map(copies_of, packed)), np.uint32),
        **pack_texts(packed),
    }


class Run:
    """The documents of a group in a run, ordered by place."""

    def __init__(self, path: str):
        self._file = ArrayFile(path)
        self.places: NDArray[np.float64] = self._file.get("places")

    def find_pool(self, pools: Pools, number: int) -> range:
        """The numbers of the documents of a pool."""
        split, _ = pools.split_of(number)

        def pool_at(at: float) -> int:
            return pools.pool_at(Place(split, at))

        first = bisect_left(self.places, number, key=pool_at)
        return range(first, bisect_left(self.places, number + 1, first, key=pool_at))

    def read(self, numbers: range) -> list[bytes]:
        """The packed documents of these numbers."""
        return self._file.texts(numbers.start, numbers.stop) if numbers else []

    def copies(self) -> NDArray[np.uint32]:
        """The number of copies of each document."""
        return self._file.get("copies")

    def id_hashes(self, numbers: range) -> NDArray[np.uint64]:
        """Those of the documents of these numbers, see `hash_id`; 0 for documents without an id."""
        return self._file.part("id_hashes", numbers.start, numbers.stop)
