"""The words that become `[UNK]`, and the characters behind them.

Once text is ids, nobody can tell what an `[UNK]` was. So a sample of the documents is read again, from where `run.json`
says that they lie.
"""

import json
import os
from dataclasses import dataclass

from pipeline.documents import ReadOptions
from pipeline.estimate import read_sample
from pipeline.files import list_files
from pipeline.looking.opening import OpenedDataset
from pipeline.sentences import split_sentences
from pipeline.storage import exists, read_bytes
from tokenizer.counts import count_words
from tokenizer.coverage import Coverage, measure_coverage
from tokenizer.errors import InputError
from tokenizer.fast import WordSplitter

RUN = "run.json"


@dataclass(frozen=True)
class UnknownWords:
    """What a sample of the documents tells, or why there is none."""

    documents: int = 0  # in the sample
    coverage: Coverage | None = None
    missing: str = ""  # a sentence


def find_unknown_words(opened: OpenedDataset) -> UnknownWords:
    """Reads a sample of a dataset's documents. What cannot be read is no error: the report then says why."""
    path = os.path.join(opened.directory, RUN)
    if opened.info is None or opened.vocab is None or not exists(path):
        return UnknownWords(missing=f"Which words they were is not known: there is no {RUN} that names the documents.")
    try:
        run = json.loads(read_bytes(path))
        inputs, options = list(run["inputs"]), ReadOptions(**run["reading"])
        sample = read_sample(list_files(inputs), options)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return UnknownWords(missing=f"Which words they were is not known: the documents are not where {RUN} has them.")
    lines = [line for document in sample.documents for line in split_sentences(document, options)]
    if not lines:
        return UnknownWords(missing=f"Which words they were is not known: what {RUN} names holds no document now.")
    words = count_words(WordSplitter(opened.info.config["cased"]), lines)
    return UnknownWords(len(sample.documents), measure_coverage(opened.vocab, words))
