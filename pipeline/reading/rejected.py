"""Rejected documents, as files that a person can look into."""

import json
import os
import re
from collections.abc import Sequence

from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.reading.files import FilePart, count_lines_before
from maskmill.pipeline.storage.storage import exists, list_names, make_folder, printable, read_bytes, write_text

REJECTED = "rejected-*.jsonl"  # the * being at least five digits
REJECTED_NAME = re.compile(r"rejected-\d{5,}\.jsonl")
FIELDS = ("file", "place", "reason", "excerpt")  # of a line


def rejected_names(folder: str) -> list[str]:
    """The names of the lists in a folder; not what a user called alike."""
    return [name for name in list_names(folder) if REJECTED_NAME.fullmatch(name)]


def write_rejected(folder: str, part: FilePart, rejected: Sequence[Rejected]) -> None:
    """Writes the documents of a part of a file that were rejected: file, place, reason, and how each begins."""
    make_folder(folder)
    write_text(_path_of(folder, part), "\n".join([*_list_lines(part, rejected), ""]))


def add_rejected(folder: str, part: FilePart, rejected: Sequence[Rejected]) -> None:
    """Adds to the list of a part, which is ordered by place, what it does not have yet."""
    path = _path_of(folder, part)
    before = read_bytes(path).decode().removesuffix("\n").split("\n") if exists(path) else []
    lines = dict.fromkeys([*before, *_list_lines(part, rejected)])
    make_folder(folder)
    write_text(path, "\n".join([*sorted(lines, key=lambda line: json.loads(line)["place"]), ""]))


def _list_lines(part: FilePart, rejected: Sequence[Rejected]) -> list[str]:
    before = count_lines_before(part)
    rows = ((printable(part.path), before + one.place, one.reason, one.excerpt) for one in rejected)
    return [json.dumps(dict(zip(FIELDS, row)), ensure_ascii=False) for row in rows]


def _path_of(folder: str, part: FilePart) -> str:
    return os.path.join(folder, REJECTED.replace("*", f"{part.number:05d}"))
