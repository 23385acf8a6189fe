"""What `vocab` and `generate` check and say about their INPUT."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from tokenizer.errors import InputError

SET_ASIDE = "set_aside/"  # before the reason, in the name of a count


def describe(files: Sequence[str]) -> str:
    """The files and their size in words."""
    size = sum(os.path.getsize(path) for path in files) / 1e6
    return f"{files[0]} ({size:.1f} MB)" if len(files) == 1 else f"{len(files):,} files ({size:.1f} MB)"


def check_apart(inputs: Sequence[str], files: Sequence[str], path: Path) -> None:
    """Raises InputError when what is written, or the vocabulary, is read as a document, now or the next time."""
    place = path.resolve()
    for name in inputs:
        folder = Path(name).resolve()
        if folder.is_dir() and place.is_relative_to(folder):
            raise InputError(f"{path} lies in INPUT {name} and would be read as text; put it outside of that folder")
    if any(place == Path(file).resolve() for file in files):
        raise InputError(f"{path} is itself among the INPUT; name inputs that leave it out, or another file")


def check_documents(console: Console, inputs: Sequence[str], documents: int, counts: Mapping[str, int]) -> None:
    """Says which documents were set aside. Raises InputError when none are left."""
    set_aside = "; ".join(
        f"{count:,} {name.removeprefix(SET_ASIDE)}" for name, count in counts.items() if name.startswith(SET_ASIDE)
    )
    if documents == 0:
        found = f"none that can be read ({set_aside})" if set_aside else "none"
        raise InputError(
            f"INPUT {' '.join(inputs)} holds no documents: {found}; expected text, or JSON lines with --text-field"
        )
    if set_aside:
        console.print(f"Set aside: {set_aside}", style="yellow")
