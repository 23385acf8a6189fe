"""Texts and pairs of texts as a model of another task sees them: `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.instances.pairs import Pairs
from maskmill.pipeline.instances.segments import assemble
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.vocab import UNK, Vocab


@dataclass(frozen=True)
class EncodedTexts:
    """Many texts or pairs as ids, truncated, in about two bytes a token."""

    ids: NDArray[np.unsignedinteger]  # of all texts, one after the other
    pairs: Pairs  # int32 [n, 5]: A start, A end, B start, B end, 0; B is empty where a row is a single text
    vocab: Vocab

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each, `[CLS]` and each `[SEP]` included: int32 [n]."""
        length_a, length_b = self.pairs[:, 1] - self.pairs[:, 0], self.pairs[:, 3] - self.pairs[:, 2]
        lengths: NDArray[np.int32] = length_a + length_b + 2 + (length_b > 0)
        return lengths

    @property
    def unknown_share(self) -> float:
        """The share of `[UNK]` among the tokens of the texts."""
        return float(np.mean(self.ids == self.vocab.ids[UNK])) if len(self.ids) else 0.0

    def features(
        self, rows: NDArray[np.integer], seq_length: int, batch_size: int | None = None
    ) -> dict[str, NDArray[np.int32]]:
        """`input_ids`, `input_mask` and `segment_ids` of some rows, int32 [len(rows), seq_length] each.

        Rows of nothing but padding fill them up to `batch_size`. No row may be longer than `seq_length`.
        """
        segments = assemble(self.ids, self.pairs[rows], seq_length, self.vocab)
        padding = ((0, (batch_size or len(rows)) - len(rows)), (0, 0))
        return {
            name: np.pad(values.astype(np.int32), padding)
            for name, values in (
                ("input_ids", segments.input_ids),
                ("input_mask", segments.input_mask),
                ("segment_ids", segments.segment_ids),
            )
        }


def encode_texts(
    texts: Sequence[str], text_pairs: Sequence[str] | None, tokenizer: FastTokenizer, vocab: Vocab, max_seq_length: int
) -> EncodedTexts:
    """Texts, or pairs of them, to ids, each of `max_seq_length` tokens at the most.

    What is too long is cut at its end, of a pair the longer one first, as `_truncate_seq_pair` of Google's
    `run_classifier.py` does.
    """
    ids, offsets = tokenizer.encode([*texts, *(text_pairs or ())])
    n = len(texts)
    pairs = np.zeros((n, 5), np.int32)
    length_a = np.diff(offsets[: n + 1])
    pairs[:, 0] = offsets[:n]
    if text_pairs is None:
        pairs[:, 1] = pairs[:, 0] + np.minimum(length_a, max_seq_length - 2)
        return EncodedTexts(ids, pairs, vocab)
    kept_a, kept_b = truncate_pair(length_a, np.diff(offsets[n:]), max_seq_length - 3)
    pairs[:, 1] = pairs[:, 0] + kept_a
    pairs[:, 2] = offsets[n:-1]
    pairs[:, 3] = pairs[:, 2] + kept_b
    return EncodedTexts(ids, pairs, vocab)


def truncate_pair(
    length_a: NDArray[np.integer], length_b: NDArray[np.integer], longest: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """How many tokens are kept of each A and B: what is taken one by one from the longer, or where they are even, B.

    >>> truncate_pair(np.array([10, 2, 10]), np.array([2, 10, 10]), 7)
    (array([5, 2, 4]), array([2, 5, 3]))
    """
    kept_a = np.minimum(length_a, np.maximum(longest - longest // 2, longest - length_b))
    kept_b = np.minimum(length_b, np.maximum(longest // 2, longest - length_a))
    return kept_a, kept_b
