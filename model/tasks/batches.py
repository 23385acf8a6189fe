"""Token ids of any length in batches of few shapes, so that short texts cost little and little is compiled."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.training.step import compiled

# To compile a shape takes TensorFlow a second or more, and a batch without it some two times as long. What compiling
# costs, so many batches of a model lose: 7 of hidden size 256, 5 of 512, 2 of 768, measured on two cores.
MOST_UNCOMPILED, TIMES_HIDDEN_SIZE = 8, 2048

TextFeatures = dict[str, NDArray[np.int32]]

# Lengths that batches have, up to that of the model: at most a third of a batch is padding, but for the shortest texts.
BIN_LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class PaddedBatch:
    """Some of the rows, and the shape that they are padded to."""

    numbers: list[int]  # of the rows, which are the first of the batch
    num_rows: int
    length: int

    def fill(self, rows: Sequence[NDArray[np.int32]]) -> TextFeatures:
        """The rows, as `input_ids`, `input_mask` and `segment_ids`, int32 [num_rows, length] each."""
        input_ids = np.zeros((self.num_rows, self.length), np.int32)
        input_mask = np.zeros_like(input_ids)
        for place, number in enumerate(self.numbers):
            input_ids[place, : len(rows[number])] = rows[number]
            input_mask[place, : len(rows[number])] = 1
        return {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": np.zeros_like(input_ids)}


def bin_lengths(longest: int) -> list[int]:
    """The lengths of batches for rows of up to `longest` tokens.

    >>> bin_lengths(40)
    [8, 16, 24, 32, 40]
    """
    return [*(length for length in BIN_LENGTHS if length < longest), longest]


def cut_batches(lengths: Sequence[int], bins: Sequence[int], batch_tokens: int) -> Iterator[PaddedBatch]:
    """Batches of about `batch_tokens` each, padding included, that together hold each row once.

    A bin's batches are full. The rows that are left over join the next longer bin; the last batch of all has the next
    power of two of rows. So there is never more than one batch of a shape that does not come again.

    >>> [(batch.numbers, batch.num_rows, batch.length) for batch in cut_batches([3, 9, 4, 5], [4, 16], 8)]
    [([0, 2], 2, 4), ([3], 1, 16), ([1], 1, 16)]
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    start = end = 0
    length = num_rows = 0
    for length in bins:
        while end < len(order) and lengths[order[end]] <= length:
            end += 1
        num_rows = max(1, batch_tokens // length)
        while end - start >= num_rows:
            yield PaddedBatch(order[start : start + num_rows], num_rows, length)
            start += num_rows
        if end == len(order):
            break
    if rest := order[start:]:
        power = 1 << (len(rest) - 1).bit_length()
        yield PaddedBatch(rest, min(power, num_rows), length)


class BatchFunction:
    """A function of a model's features, compiled for the shapes that come often."""

    def __init__(self, model: BertPretrainer, function: Callable[[TextFeatures], Any]):
        self._function, self._compiled = function, compiled(model.trainable_variables, function)
        self._seen: Counter[tuple[tuple[int, ...], ...]] = Counter()
        self._most_uncompiled = min(MOST_UNCOMPILED, TIMES_HIDDEN_SIZE // model.config.hidden_size)

    def __call__(self, features: TextFeatures) -> Any:
        """What the function makes of the features of one batch."""
        shapes = tuple(array.shape for array in features.values())
        self._seen[shapes] += 1
        # JAX would compile every operation by itself, which takes longer.
        is_worth_it = self._seen[shapes] > self._most_uncompiled or keras.backend.backend() == "jax"
        return (self._compiled if is_worth_it else self._function)(features)
