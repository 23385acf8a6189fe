"""Rejected documents, as files that a person can look into."""

import json
import os
import re
from collections.abc import Sequence

from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.reading.files import FilePart, count_lines_before
from maskmill.pipeline.storage.storage import list_names, make_folder, printable, write_text

REJECTED = "rejected-*.jsonl"  # the * being at least five digits
REJECTED_NAME = re.compile(r"rejected-\d{5,}\.jsonl")
FIELDS = ("file", "place", "reason", "excerpt")  # of a line


def rejected_names(folder: str) -> list[str]:
    """The names of the lists in a folder; not what a user called alike."""
    return [name for name in list_names(folder) if REJECTED_NAME.fullmatch(name)]


def write_rejected(folder: str, part: FilePart, rejected: Sequence[Rejected]) -> None:
    """Writes the documents of a part of a file that were rejected: file, place, reason, and how each begins."""
    before = count_lines_before(part)
    rows = ((printable(part.path), before + one.place, one.reason, one.excerpt) for one in rejected)
    lines = [json.dumps(dict(zip(FIELDS, row)), ensure_ascii=False) for row in rows]
    make_folder(folder)
    write_text(os.path.join(folder, REJECTED.replace("*", f"{part.number:05d}")), "\n".join([*lines, ""]))
