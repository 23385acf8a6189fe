"""What `vocab` and `generate` check and say about their INPUT."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from pipeline.storage import is_remote, size_of
from tokenizer.errors import InputError

SET_ASIDE, REPAIRED = "set_aside/", "repaired/"  # before the reason, in the names of counts


def describe(files: Sequence[str]) -> str:
    """The files and their size in words."""
    size = sum(map(size_of, files)) / 1e6
    return f"{files[0]} ({size:.1f} MB)" if len(files) == 1 else f"{len(files):,} files ({size:.1f} MB)"


def check_apart(inputs: Sequence[str], files: Sequence[str], path: Path) -> None:
    """Raises InputError when what is written, or the vocabulary, is read as a document, now or the next time."""
    place = path.resolve()
    for name in inputs:
        if is_remote(name):
            continue
        folder = Path(name).resolve()
        if folder.is_dir() and place.is_relative_to(folder):
            raise InputError(f"{path} lies in INPUT {name} and would be read as text; put it outside of that folder")
    if any(place == Path(file).resolve() for file in files if not is_remote(file)):
        raise InputError(f"{path} is itself among the INPUT; name inputs that leave it out, or another file")


def check_documents(console: Console, inputs: Sequence[str], counts: Mapping[str, int], max_rejected: float) -> None:
    """Says which documents were repaired or set aside. Raises InputError when none are left, or too few.

    Args:
        console: where it is said.
        inputs: what was read.
        counts: of reading, by `section/name`.
        max_rejected: the largest share of the documents that may be set aside.
    """
    read, rejected = counts.get("documents/read", 0), count_set_aside(counts)
    set_aside = _list_counts(counts, SET_ASIDE)
    name = " ".join(inputs)
    if read == rejected:
        found = f"none that can be read ({set_aside})" if set_aside else "none"
        raise InputError(f"INPUT {name} holds no documents: {found}; expected text, or a table with --text-field")
    if rejected > max_rejected * read:
        raise InputError(
            f"{rejected:,} of {read:,} documents in INPUT {name} cannot be used, {rejected / read:.1%}: {set_aside}; "
            f"expected at most --max-rejected {max_rejected:.2g}, so mend them, leave them out, or give a larger share"
        )
    if set_aside:
        console.print(f"Set aside: {set_aside}", style="yellow")
    if repaired := _list_counts(counts, REPAIRED):
        console.print(f"Repaired: {repaired}", style="yellow")


def count_set_aside(counts: Mapping[str, int]) -> int:
    """The number of documents that were read and cannot be used."""
    return sum(count for name, count in counts.items() if name.startswith(SET_ASIDE))


def _list_counts(counts: Mapping[str, int], section: str) -> str:
    return "; ".join(f"{n:,} {name.removeprefix(section)}" for name, n in counts.items() if name.startswith(section))
