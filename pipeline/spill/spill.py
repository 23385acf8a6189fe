"""A spill to read from: what the tasks have written, by pools."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.instances.common import deal_copies, most_together
from maskmill.pipeline.instances.pools import Place, Pools, TokenizedDocument
from maskmill.pipeline.reading.documents import DIGEST_BYTES
from maskmill.pipeline.reading.duplicates import hash_content
from maskmill.pipeline.spill.arrays import ArrayFile, write_arrays
from maskmill.pipeline.spill.ids import REJECTED
from maskmill.pipeline.spill.runs import ALL_GROUPS, Group, Run, RunName, RunWriter
from maskmill.pipeline.storage.storage import list_names, remove_files

COMMON, DEALT = "common", "dealt"  # in place of a task: places of common documents; these, dealt out to the pools


class Spill:
    """The runs of the tasks that are finished; those of others may be incomplete.

    Attributes:
        folder: the folder of the spill, on this machine.
        tasks: names of the finished tasks.
    """

    def __init__(self, folder: str, tasks: Collection[str]):
        self.folder, self.tasks = folder, tasks
        self._names: dict[tuple[Group, str], list[str]] = defaultdict(list)  # by group and task
        for name in sorted(list_names(folder)):
            if run := RunName.parse(name):
                self._names[run.group, run.task].append(name)
        self._excluded: dict[Group, _Excluded] = {}

    def read_pool(self, pools: Pools, number: int) -> Iterator[bytes]:
        """The packed documents of a pool, in any order."""
        split, _ = pools.split_of(number)
        for group in ALL_GROUPS:
            if group.split == split and number in group.pools(pools):
                for run in self._runs(group, *self.tasks):
                    yield from self.excluded(group).keep(run, run.find_pool(pools, number))
                for run in self._runs(group, DEALT):
                    yield from run.read(run.find_pool(pools, number))

    def excluded(self, group: Group) -> "_Excluded":
        """The documents of a group that are not read with their pools."""
        if group not in self._excluded:
            ids = [ArrayFile(path) for path in self._paths(group, REJECTED)]
            places = [ArrayFile(path).get("places") for path in self._paths(group, COMMON)]
            pairs = (zip(file.get("id_hashes").tolist(), file.get("content_hashes").tolist()) for file in ids)
            self._excluded[group] = _Excluded(
                frozenset(pair for of_file in pairs for pair in of_file), np.concatenate([*places, np.zeros(0)])
            )
        return self._excluded[group]

    def common_places(self, group: Group, most: int) -> NDArray[np.float64]:
        """The places in a group of the documents with more than `most` copies."""
        places, copies = [np.zeros(0)], [np.zeros(0, np.uint32)]
        for run in self._runs(group, *self.tasks):
            kept = self.excluded(group).find_kept(run, range(len(run.places)))
            places.append(run.places[kept])
            copies.append(run.copies()[kept])
        found, number = np.unique(np.concatenate(places), return_inverse=True)
        return found[np.bincount(number, np.concatenate(copies), len(found)) > most]

    def read_place(self, place: Place) -> Iterator[bytes]:
        """The packed documents at a place."""
        group = Group.of(place)
        for run in self._runs(group, *self.tasks):
            first, last = (int(np.searchsorted(run.places, place.at, side)) for side in ("left", "right"))
            yield from self.excluded(group).keep(run, range(first, last))

    def _runs(self, group: Group, *tasks: str) -> Iterator[Run]:
        return map(Run, self._paths(group, *tasks))

    def _paths(self, group: Group, *tasks: str) -> list[str]:
        return [os.path.join(self.folder, name) for task in tasks for name in self._names[group, task]]


@dataclass(frozen=True)
class _Excluded:
    """The documents of a group that its pools do not have, or that they have of the task `DEALT`."""

    hashes: Collection[tuple[int, int]]  # of the id and the content of those that have the id of another
    common: NDArray[np.float64]  # places

    def find_kept(self, run: Run, numbers: range) -> NDArray[np.intp]:
        """Which of these documents of a run are none of them."""
        is_kept = ~np.isin(run.places[numbers.start : numbers.stop], self.common)
        if self.hashes and numbers:
            id_hashes, digests = run.id_hashes(numbers).tolist(), (one[:DIGEST_BYTES] for one in run.read(numbers))
            is_kept &= [pair not in self.hashes for pair in zip(id_hashes, map(hash_content, digests))]
        return np.flatnonzero(is_kept) + numbers.start

    def keep(self, run: Run, numbers: range) -> Iterator[bytes]:
        """The packed documents that are none of them."""
        documents = run.read(numbers)
        return (documents[number - numbers.start] for number in self.find_kept(run, numbers).tolist())


def deal_common(spill: Spill, pools: Pools, documents: int, buffer_bytes: int) -> None:
    """Deals the copies of common documents out to all pools of their split, see `deal_copies`.

    Args:
        spill: which is changed: open it anew to read the pools.
        pools: of the dataset.
        documents: of the corpus.
        buffer_bytes: of memory for those that are dealt out.
    """
    remove_files(spill.folder, [name for name in list_names(spill.folder) if name.startswith((COMMON, DEALT))])
    writer = RunWriter(spill.folder, DEALT, buffer_bytes)
    most = most_together(documents, pools)
    for group in ALL_GROUPS:
        places = spill.common_places(group, most)
        for at in places.tolist():
            place = Place(group.split, at)
            for pool, packed in deal_copies(spill.read_place(place), place, pools):
                writer.add(TokenizedDocument(pools.middle_of(pool), packed))
        if len(places):
            write_arrays(os.path.join(spill.folder, str(RunName(COMMON, 0, group))), {"places": places})
    writer.flush()
