"""What was set aside, as files that a person can look into."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.documents import Rejected
from pipeline.files import FilePart, count_lines_before
from pipeline.schema import write_text_atomically

REJECTED = "rejected-*.jsonl"  # the * being at least five digits


def rejected_files(folder: Path) -> list[Path]:
    """The lists in a folder; not what a user called alike."""
    return sorted(path for path in folder.glob(REJECTED) if re.fullmatch(r"rejected-\d{5,}\.jsonl", path.name))


def write_rejected(folder: Path, part: FilePart, rejected: Sequence[Rejected]) -> None:
    """Writes the documents of a part of a file that were set aside: file, place, reason, and how each begins."""
    before = count_lines_before(part)
    lines = [
        json.dumps(
            {"file": part.path, "place": before + one.place, "reason": one.reason, "excerpt": one.excerpt},
            ensure_ascii=False,
        )
        for one in rejected
    ]
    write_text_atomically(folder / REJECTED.replace("*", f"{part.number:05d}"), "\n".join([*lines, ""]))
