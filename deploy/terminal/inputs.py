"""What commands check and say about the files that they read and write."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count, in_bytes
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.jobs.corpus import REJECTED, REPAIRED, Counts, count_rejected, list_counts, name_inputs
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import list_inputs
from maskmill.pipeline.reading.kinds import require_documents_by_name
from maskmill.pipeline.storage.storage import is_remote, read_bytes, size_of
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.settings import TokenizerSettings, read_settings
from maskmill.tokenizer.vocab import Vocab


def describe(files: Sequence[str]) -> str:
    """The files and their size in words."""
    size = in_bytes(sum(map(size_of, files)))
    return f"{files[0]} ({size})" if len(files) == 1 else f"{len(files):,} files ({size})"


def list_documents(inputs: Sequence[str], reading: ReadOptions) -> list[str]:
    """The files that inputs name; says which of them are left out.

    Raises InputError as `list_inputs`, and for a name that is that of no documents, before any file is read.
    """
    files, left_out = list_inputs(inputs)
    if left_out:
        warn(f"Left out, because they describe a repository: {name_inputs(left_out)}. Name such a file to read it.")
    if left_out and not files:
        raise InputError(f"INPUT {name_inputs(inputs)} holds only descriptions of a repository", expected="documents")
    for path in files if reading.input_format == "auto" else ():
        require_documents_by_name(path)
    return files


def check_apart(inputs: Sequence[str], files: Sequence[str], path: str, what: str = "text") -> None:
    """Raises InputError when what is written, or the vocabulary, is read as a document, now or the next time."""
    place = resolve(path)
    for name in inputs:
        folder = resolve(name).rstrip("/")
        if (is_remote(name) or os.path.isdir(folder)) and (place == folder or place.startswith(f"{folder}/")):
            raise InputError(
                f"lies in INPUT {name} and would be read as {what}", way_out="put it outside of that folder", path=path
            )
    if any(place == resolve(file) for file in files):
        raise InputError(
            "is itself among the INPUT", way_out="name inputs that leave it out, or another file", path=path
        )


def resolve(path: str) -> str:
    """A path by which a file of this machine is known, whatever links lead to it."""
    return path if is_remote(path) else os.path.realpath(path)


def show_reading(counts: Counts) -> None:
    """Says how many documents were rejected or repaired."""
    if rejected := count_rejected(counts):
        warn(f"Rejected {count(rejected, 'document')}: {list_counts(counts, REJECTED)}")
    if repaired := list_counts(counts, REPAIRED):
        warn(f"Repaired documents: {repaired}")


def warn_of_rejected(place: str | None) -> None:
    """Says where the documents are listed that cannot be used, if there are any."""
    if place:
        warn(f"Rejected documents are listed in {place}")


def find_wrong_case(vocab_file: str, vocab: Vocab, cased: bool) -> tuple[str, str] | None:
    """What speaks against `cased` for text that is tokenized with a vocabulary, and what to do; None: nothing.

    The files of a Hugging Face tokenizer beside it decide, or else its tokens.
    """
    with_or_without = "leave --cased out" if cased else "give --cased"
    try:
        settings = _settings_beside(vocab_file, vocab)
    except InputError as error:
        return str(error), "the ids will not be those of that model, so use them for a new model alone"
    # Where the files disagree, tokenizer.json is cased, and may be the one that 'maskmill vocab' wrote.
    is_cased = None if settings is None else True if settings.disagreement else settings.cased
    if settings and is_cased is not None:
        difference = replace(settings.rules, cased=is_cased).difference_from(cased)
        if difference is None:
            return None
        only_accents = "train a vocabulary with 'maskmill vocab', or expect other ids for words with accents"
        return f"by the files beside {vocab_file}, {difference}", (
            with_or_without if is_cased != cased else only_accents
        )
    if vocab.looks_cased == cased:
        return None
    tokens = "many tokens with capitals" if vocab.looks_cased else "few or no tokens with capitals"
    return f"{vocab_file} has {tokens}, and --cased is {'' if cased else 'not '}given", (
        f"{with_or_without}, if it was trained {'without' if cased else 'with'} that"
    )


def _settings_beside(vocab_file: str, vocab: Vocab) -> TokenizerSettings | None:
    """The settings of the tokenizer that a vocabulary is a part of, as far as files on this machine say them."""
    if is_remote(vocab_file):
        return None
    settings = read_settings(Path(vocab_file).parent)
    if settings is None or settings.tokens is None:
        return settings if os.path.basename(vocab_file) == VOCAB else None
    its_tokens, tokens = ([token.strip() for token in some] for some in (settings.tokens, vocab.tokens))
    return settings if its_tokens == tokens else None


def load_vocab(path: str) -> Vocab:
    """The vocabulary in a file, here or in Cloud Storage. Raises InputError when there is none."""
    return Vocab.parse(read_bytes(path), path) if is_remote(path) else Vocab.load(path)
