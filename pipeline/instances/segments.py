"""Pairs to `[CLS] A [SEP] B [SEP]`, or `[CLS] A [SEP]` where B is empty, many at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.instances.pairs import Pairs
from maskmill.tokenizer.vocab import CLS, SEP, Vocab


@dataclass(frozen=True)
class Segments:
    """Instances before masking, padded with 0.

    Shapes: input_ids int32 [n, max_seq_length]; length_a and length_b int32 [n], in tokens of text, length_b 0 where
    an instance is a single segment; is_random_next int32 [n].
    """

    input_ids: NDArray[np.int32]
    length_a: NDArray[np.int32]
    length_b: NDArray[np.int32]
    is_random_next: NDArray[np.int32]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each instance, `[CLS]` and each `[SEP]` included: int32 [n]."""
        return self.length_a + self.length_b + 2 + (self.length_b > 0)

    @property
    def input_mask(self) -> NDArray[np.bool_]:
        """True at tokens, False at padding: [n, max_seq_length]."""
        return np.arange(self.input_ids.shape[1], dtype=np.int32) < self.lengths[:, None]

    @property
    def segment_ids(self) -> NDArray[np.bool_]:
        """True at B and the `[SEP]` after it, False before them and at padding: [n, max_seq_length]."""
        return self.input_mask & (np.arange(self.input_ids.shape[1], dtype=np.int32) > self.length_a[:, None] + 1)


def assemble(ids: NDArray[np.unsignedinteger], pairs: Pairs, max_seq_length: int, vocab: Vocab) -> Segments:
    """Truncated pairs of a pool's flat `ids` to instances."""
    a_start, a_end, b_start, b_end, is_random_next = (column[:, None] for column in pairs.T)
    length_a, length_b = a_end - a_start, b_end - b_start
    position = np.arange(max_seq_length, dtype=np.int32)
    source = np.where(position <= length_a, a_start - 1, b_start - 2 - length_a)
    source += position
    last = length_a + length_b + 1 + (length_b > 0)
    input_ids = ids.take(source, mode="clip").astype(np.int32)
    input_ids *= position < last
    input_ids[:, 0] = vocab.ids[CLS]
    row_starts = np.arange(len(pairs))[:, None] * max_seq_length
    input_ids.reshape(-1)[row_starts + np.hstack([length_a + 1, last])] = vocab.ids[SEP]
    return Segments(input_ids, length_a[:, 0], length_b[:, 0], is_random_next[:, 0])
