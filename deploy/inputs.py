"""What commands check and say about the files that they read and write."""

import os
from collections.abc import Sequence

from deploy.talk import warn
from deploy.words import count, in_bytes
from pipeline.corpus import REPAIRED, SET_ASIDE, Counts, count_set_aside, list_counts
from pipeline.storage import is_remote, read_bytes, size_of
from tokenizer.errors import InputError
from tokenizer.vocab import Vocab


def describe(files: Sequence[str]) -> str:
    """The files and their size in words."""
    size = in_bytes(sum(map(size_of, files)))
    return f"{files[0]} ({size})" if len(files) == 1 else f"{len(files):,} files ({size})"


def check_apart(inputs: Sequence[str], files: Sequence[str], path: str) -> None:
    """Raises InputError when what is written, or the vocabulary, is read as a document, now or the next time."""
    place = resolve(path)
    for name in inputs:
        folder = resolve(name).rstrip("/")
        if (is_remote(name) or os.path.isdir(folder)) and (place == folder or place.startswith(f"{folder}/")):
            raise InputError(f"{path} lies in INPUT {name} and would be read as text; put it outside of that folder")
    if any(place == resolve(file) for file in files):
        raise InputError(f"{path} is itself among the INPUT; name inputs that leave it out, or another file")


def resolve(path: str) -> str:
    """A path by which a file of this machine is known, whatever links lead to it."""
    return path if is_remote(path) else os.path.realpath(path)


def show_reading(counts: Counts) -> None:
    """Says which documents were skipped or repaired."""
    if skipped := count_set_aside(counts):
        warn(f"Skipped {count(skipped, 'document')}: {list_counts(counts, SET_ASIDE)}")
    if repaired := list_counts(counts, REPAIRED):
        warn(f"Repaired documents: {repaired}")


def warn_of_rejected(place: str | None) -> None:
    """Says where the documents are listed that cannot be used, if there are any."""
    if place:
        warn(f"Rejected documents are listed in {place}")


def load_vocab(path: str) -> Vocab:
    """The vocabulary in a file, here or in Cloud Storage. Raises InputError when there is none."""
    return Vocab.parse(read_bytes(path), path) if is_remote(path) else Vocab.load(path)
