"""Texts to rows of ids as BERT sees them, `[CLS] text [SEP]`, many texts at once."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.vocab import CLS, MASK, SEP, Vocab

_SHOWN = 60  # characters of a text in an error

Ids = NDArray[np.int32]  # [tokens]


class TextEncoder:
    """Texts -> ids, by the vocabulary of a model."""

    def __init__(self, vocab: Vocab, cased: bool | TextRules):
        self.ids = vocab.ids
        self._tokenizer = FastTokenizer(vocab, cased)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, without `[CLS]` and `[SEP]`. Special tokens written in it are ordinary text."""
        ids, offsets = self._tokenizer.encode(texts)
        return [row.astype(np.int32) for row in np.split(ids, offsets[1:-1])] if texts else []

    def encode_with_masks(self, texts: Sequence[str], longest: int, names: Sequence[str] = ()) -> list[Ids]:
        """The ids of each text with `[CLS]` and `[SEP]`, where `[MASK]` as it is written is the token.

        Raises InputError when a text has none, or has more than `longest` tokens; it shows the text, and its name where
        `names` has one for each.
        """
        shown = [f"{text[:_SHOWN]!r}" for text in texts]
        if names:
            shown = [f"{text} ({name})" for text, name in zip(shown, names)]
        for text, of_text in zip(texts, shown):
            if MASK not in text:
                raise InputError(
                    f"the text {of_text} has no {MASK}", way_out=f"write {MASK} where a word is to be filled in"
                )
        parts = [text.split(MASK) for text in texts]
        encoded = iter(self.encode([part for split in parts for part in split]))
        rows = []
        for of_text, split in zip(shown, parts):
            first, *rest = [next(encoded) for _ in split]
            joined = [first, *(piece for part in rest for piece in ([self.ids[MASK]], part))]
            rows.append(self.frame(np.concatenate(joined)))
            if len(rows[-1]) > longest:
                raise InputError(
                    f"the text {of_text} has {len(rows[-1]):,} tokens",
                    expected=f"{longest} or fewer, the positions of the model: cut it",
                )
        return rows

    def frame(self, ids: Ids) -> Ids:
        """Puts `[CLS]` before the ids of a text and `[SEP]` after them."""
        return np.concatenate([[self.ids[CLS]], ids, [self.ids[SEP]]]).astype(np.int32)


def cut_windows(ids: Ids, length: int, stride: int | None) -> Iterator[Ids]:
    """The windows of a text's ids, of at most `length`: the first alone, or with a stride all, the last at the end.

    >>> [window.tolist() for window in cut_windows(np.arange(7), 4, 2)]
    [[0, 1, 2, 3], [2, 3, 4, 5], [3, 4, 5, 6]]
    """
    last = max(len(ids) - length, 0) if stride else 0
    for start in [*range(0, last, stride or 1), last]:
        yield ids[start : start + length]
