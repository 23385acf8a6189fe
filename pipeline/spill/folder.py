"""The folder of a spill: which tasks are finished, and what of it is not needed any more."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.spill.arrays import SUFFIX
from maskmill.pipeline.spill.ids import REJECTED
from maskmill.pipeline.spill.runs import ALL_GROUPS, Group, RunName
from maskmill.pipeline.spill.spill import COMMON, DEALT, Spill, deal_common
from maskmill.pipeline.storage.local_claims import TEMPORARY
from maskmill.pipeline.storage.storage import exists, list_names, remove_files, remove_folder, size_of, write_bytes

# What the names end in of the result of a task, and of the folder of the documents that it rejects.
RESULT, LISTS = ".npz", ".rejected"


@dataclass(frozen=True)
class SpillFolder:
    """A folder of this machine with the runs of several tasks."""

    path: str

    def finished(self, tasks: Sequence[str]) -> list[str]:
        """Those of the tasks that are finished: their results are there."""
        names = set(list_names(self.path))
        return [task for task in tasks if task + RESULT in names]

    def keep(self, tasks: Collection[str]) -> None:
        """Removes the files of other tasks than these."""
        self.discard({_task_of(name) for name in self._ours()} - {*tasks, REJECTED, COMMON, DEALT})

    def discard(self, tasks: Collection[str]) -> None:
        """Removes the files of these tasks, and those that processes which were killed had begun."""
        names = [name for name in self._ours() if _task_of(name) in tasks]
        remove_files(self.path, [*names, *filter(TEMPORARY.fullmatch, list_names(self.path))])
        for task in tasks:
            remove_folder(self.rejected(task))

    def rejected(self, task: str) -> str:
        """The folder for the documents that a task rejects."""
        return os.path.join(self.path, f"{task}{LISTS}")

    def _ours(self) -> list[str]:
        return [name for name in list_names(self.path) if name.endswith((SUFFIX, RESULT))]

    def deal(self, tasks: Sequence[str], pools: Pools, documents: int, buffer_bytes: int) -> None:
        """Deals out the copies of common documents, unless it was done before; see `deal_common`."""
        mark = f"{DEALT}-{pools.train}-{pools.eval}"
        if not exists(os.path.join(self.path, mark)):
            deal_common(Spill(self.path, tasks), pools, documents, buffer_bytes)
            self._mark(mark)

    def is_whole(self, pools: Pools, wanted: Collection[int]) -> bool:
        """Whether the documents of the wanted pools are there: nothing of them was freed or dealt out otherwise."""
        names = list_names(self.path)
        marks = [name for name in names if name.startswith(f"{DEALT}-") and not name.endswith(SUFFIX)]
        freed = {group for group in ALL_GROUPS if _freed(group) in names}
        if any(mark != f"{DEALT}-{pools.train}-{pools.eval}" for mark in marks):
            return False
        return not any(pool in group.pools(pools) for group in freed for pool in wanted)

    @property
    def is_used(self) -> bool:
        """Whether pools were built from it: then it is no spill for the documents of other tasks."""
        return any(name.startswith((f"{DEALT}-", "freed-")) for name in list_names(self.path))

    def free(self, pools: Pools, wanted: Collection[int]) -> None:
        """Removes the documents of which no wanted pool has any."""
        names = list_names(self.path)
        for group in ALL_GROUPS:
            if _freed(group) not in names and not any(pool in wanted for pool in group.pools(pools)):
                self._mark(_freed(group))
                runs = ((name, RunName.parse(name)) for name in names)
                remove_files(self.path, [name for name, run in runs if run and run.group == group])

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(size_of(os.path.join(self.path, name)) for name in list_names(self.path))

    def remove(self) -> None:
        """Removes all of it."""
        remove_folder(self.path)

    def _mark(self, name: str) -> None:
        write_bytes(os.path.join(self.path, name), b"")


def _task_of(name: str) -> str:
    return name.removesuffix(RESULT).split("-")[0]


def _freed(group: Group) -> str:
    return f"freed-{group.split}-{group.number}"
