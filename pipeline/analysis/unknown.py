"""The words that become `[UNK]`, and the characters behind them.

Once text is ids, nobody can tell what an `[UNK]` was. So a sample of the documents is read again, where the user
names them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from maskmill.pipeline.analysis.opened_datasets import OpenedDataset
from maskmill.pipeline.dataset.schema import MANIFEST, RUN
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import list_files
from maskmill.pipeline.reading.sampling import read_sample
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.pipeline.storage.storage import exists, read_at_most
from maskmill.tokenizer.counts import count_words
from maskmill.tokenizer.coverage import Coverage, measure_coverage
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import WordSplitter
from maskmill.tokenizer.json_file import MAX_BYTES, NOT_SEALED, is_sealed, make, parse_object


@dataclass(frozen=True)
class UnknownWords:
    """What a sample of the documents tells, or why there is none."""

    documents: int = 0  # in the sample
    coverage: Coverage | None = None
    missing: str = ""  # a sentence


def find_unknown_words(opened: OpenedDataset, documents: Sequence[str]) -> UnknownWords:
    """Reads a sample of the documents that the user names.

    Never those that run.json names: a dataset may come from anybody, and the page would show any file on this machine.
    Raises InputError where they cannot be read.
    """
    if not documents:
        return UnknownWords(missing="Which words they were is not known; name the documents with --documents to see.")
    if opened.info is None or opened.vocab is None:
        return UnknownWords(missing=f"Which words they were is not known: there is no {MANIFEST}.")
    options = _read_options(opened.directory)
    sample = read_sample(list_files(documents), options)
    lines = [line for document in sample.documents for line in split_sentences(document, options)]
    if not lines:
        raise InputError(f"--documents {' '.join(documents)} holds no document", way_out="give the INPUT of generate")
    words = count_words(WordSplitter(opened.info.config["cased"]), lines)
    return UnknownWords(len(sample.documents), measure_coverage(opened.vocab, words))


def _read_options(directory: str) -> ReadOptions:
    """How a dataset's documents were read, as its run.json says. Raises InputError where that is damaged."""
    path = os.path.join(directory, RUN)
    if not exists(path):
        return ReadOptions()
    content, way_out = read_at_most(path, MAX_BYTES), "restore it, or leave out --documents"
    run = parse_object(content, path, way_out)
    if not is_sealed(content):
        raise InputError(f"{NOT_SEALED}", way_out=f"{way_out}", path=path)
    return make(ReadOptions, run.get("reading"), path, way_out)
