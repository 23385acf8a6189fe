"""Documents with ids: their hashes on disk, from which it is found which documents have the id of another."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.reading.duplicates import MeasuredDocument, find_repeated
from maskmill.pipeline.spill.arrays import SUFFIX, ArrayFile, Arrays, pack_texts, write_arrays
from maskmill.pipeline.spill.runs import ALL_GROUPS, Group, RunName
from maskmill.pipeline.storage.storage import list_names, remove_files

ROWS_PER_FILE = 200_000
ROWS_AT_A_TIME = 1_000_000
HASHES = 1 << 63
IDS_NAME = re.compile(rf"(\w+)-(\d+)-ids{re.escape(SUFFIX)}")
REJECTED = "rejected"  # in place of a task, in the names of files with the hashes of rejected documents of a group


@dataclass(frozen=True)
class IdRow:
    """A document with an id: how it is told from others, and what is counted of it, unless it is rejected."""

    id_hash: int
    content_hash: int
    group: Group
    measured: MeasuredDocument


class IdWriter:
    """Writes the rows of a task: files of many, each ordered by the hashes of the ids."""

    def __init__(self, folder: str, task: str):
        self.folder, self.task = folder, task
        self._rows: list[IdRow] = []
        self._files = 0

    def add(self, row: IdRow) -> None:
        """Adds a row."""
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_FILE:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that are held."""
        if not self._rows:
            return
        rows = sorted(self._rows, key=lambda row: (row.id_hash, row.content_hash))
        path = os.path.join(self.folder, f"{self.task}-{self._files}-ids{SUFFIX}")
        arrays: Arrays = {
            "id_hashes": np.array([row.id_hash for row in rows], np.uint64),
            "content_hashes": np.array([row.content_hash for row in rows], np.uint64),
            "groups": np.array([ALL_GROUPS.index(row.group) for row in rows], np.uint8),
            **pack_texts([row.measured.to_json() for row in rows]),
        }
        write_arrays(path, arrays)
        self._rows = []
        self._files += 1


def reject_repeated(folder: str, tasks: Sequence[str]) -> Iterator[MeasuredDocument]:
    """Finds the documents of all tasks that have the id of another; writes their hashes for `Spill`.

    The hashes of ids are compared an interval at a time, so that not all of them are in memory.
    """
    names = list_names(folder)
    remove_files(folder, [name for name in names if (run := RunName.parse(name)) and run.task == REJECTED])
    found = ((name, IDS_NAME.fullmatch(name)) for name in names)
    files = [ArrayFile(os.path.join(folder, name)) for name, match in found if match and match[1] in tasks]
    intervals = -(-sum(len(file.get("id_hashes")) for file in files) // ROWS_AT_A_TIME)
    for number in range(intervals):
        bounds = [_find_interval(file.get("id_hashes"), number, intervals) for file in files]
        columns = {
            name: np.concatenate([file.part(name, *bound) for file, bound in zip(files, bounds)])
            for name in ("id_hashes", "content_hashes", "groups")
        }
        is_rejected = find_repeated(columns["id_hashes"], columns["content_hashes"])
        for index in np.unique(columns["groups"][is_rejected]).tolist():
            rows = is_rejected & (columns["groups"] == index)
            path = os.path.join(folder, str(RunName(REJECTED, number, ALL_GROUPS[index])))
            write_arrays(path, {name: columns[name][rows] for name in ("id_hashes", "content_hashes")})
        of_files = np.split(is_rejected, np.cumsum([last - first for first, last in bounds])[:-1])
        for file, (first, _), is_rejected_here in zip(files, bounds, of_files):
            for row in np.flatnonzero(is_rejected_here).tolist():
                [text] = file.texts(first + row, first + row + 1)
                yield MeasuredDocument.from_json(text)


def _find_interval(id_hashes: NDArray[np.uint64], number: int, intervals: int) -> tuple[int, int]:
    """Where the rows with hashes of an interval begin and end."""
    ends = (HASHES * number // intervals, HASHES * (number + 1) // intervals - 1)  # both are of it
    first, last = np.array(ends, np.uint64)
    return int(np.searchsorted(id_hashes, first)), int(np.searchsorted(id_hashes, last, "right"))
