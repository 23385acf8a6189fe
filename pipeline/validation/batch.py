"""Examples that are held to a standard, as arrays, and what rules, counts and keys derive from them."""

from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.instances.masking import find_word_starts
from maskmill.pipeline.records.decoding import Array, Arrays
from maskmill.pipeline.validation.standard import Standard

# mypy: disable-error-code="no-any-return"
# numpy says of many functions only that they give something.

Facts = NDArray[np.bool_]


class ExampleBatch:
    """Some examples that are held to a standard, and what several rules derive from them."""

    def __init__(self, arrays: Arrays, standard: Standard):
        """Features as `ExampleDecoder` gives them: int32 or float32, [n, feature.length], integers not below 0."""
        self.arrays = arrays
        self.standard = standard
        self.input_ids = _integers(arrays["input_ids"])
        self.positions = _integers(arrays["masked_lm_positions"])
        self.columns = np.arange(self.input_ids.shape[1], dtype=np.int32)
        self.rows = np.arange(len(self.input_ids))

    def __len__(self) -> int:
        return len(self.input_ids)

    def take(self, rows: Facts) -> "ExampleBatch":
        """The examples of these rows."""
        return ExampleBatch({name: array[rows] for name, array in self.arrays.items()}, self.standard)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens, special ones included: [n]."""
        return np.count_nonzero(self.arrays["input_mask"], axis=1).astype(np.int32)  # compared faster with int32

    @cached_property
    def is_token(self) -> Facts:
        """True at tokens, False at padding: [n, max_seq_length]."""
        return self.columns < self.lengths[:, None]

    @cached_property
    def counts(self) -> NDArray[np.int32]:
        """Predictions: [n]."""
        return np.count_nonzero(self.arrays["masked_lm_weights"], axis=1).astype(np.int32)

    @cached_property
    def is_given(self) -> Facts:
        """True at predictions, False at their padding: [n, max_predictions_per_seq]."""
        return np.arange(self.positions.shape[1], dtype=np.int32) < self.counts[:, None]

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where the predictions stand in the flat input_ids, row by row: [predictions]."""
        return (self.positions + self.rows[:, None] * len(self.columns))[self.is_given]

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """The tokens to predict: [predictions]."""
        return _integers(self.arrays["masked_lm_ids"])[self.is_given]

    @cached_property
    def shown(self) -> NDArray[np.int32]:
        """What stands in their places: [predictions]."""
        return self.input_ids.reshape(-1)[self.places]

    @cached_property
    def original(self) -> NDArray[np.int32]:
        """The input_ids as they were before masking: [n, max_seq_length]."""
        original = self.input_ids.copy()
        original.reshape(-1)[self.places] = self.labels
        return original

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """What the vocabulary says of the original tokens, as bits: [n, max_seq_length]."""
        return self.standard.kinds.take(self.original)

    @cached_property
    def is_sep(self) -> Facts:
        """True at [SEP]: [n, max_seq_length]."""
        return self.original == self.standard.sep_id

    @cached_property
    def first_sep(self) -> NDArray[np.int32]:
        """Where the first [SEP] stands: [n]."""
        return self.is_sep.argmax(axis=1).astype(np.int32)

    @cached_property
    def candidates(self) -> Facts:
        """True at the tokens of A and B: [n, max_seq_length]."""
        candidates = self.is_token & ~self.is_sep
        candidates[:, 0] = False
        return candidates

    @cached_property
    def is_chosen(self) -> Facts:
        """True at the tokens to predict: [n, max_seq_length]."""
        is_chosen = np.zeros(self.input_ids.shape, np.bool_)
        is_chosen.reshape(-1)[self.places] = True
        return is_chosen

    @cached_property
    def starts(self) -> Facts:
        """True where a word begins: [n, max_seq_length]."""
        return find_word_starts(self.original, self.candidates, self.standard.is_continuation)


def _integers(values: Array) -> NDArray[np.int32]:
    assert values.dtype == np.int32
    return cast(NDArray[np.int32], values)
