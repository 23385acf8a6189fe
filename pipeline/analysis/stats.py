"""What a dataset looks like: counts of its examples, added up batch by batch and shard by shard.

A histogram is an array with one place for each value that can occur. What the rules forbid is counted at the nearest
that they allow, so that a damaged dataset can be looked at; `maskmill validate` names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.records.decoding import Arrays

KINDS = ("mask", "same", "random")  # what stands at a masked position: [MASK], the original, another token
MAX_TOKENS = 1 << 24  # ids from here on are of no vocabulary

Histogram = NDArray[np.int64]


@dataclass
class DatasetStats:
    """What some examples look like. Add examples with `add`, other stats with `+`."""

    mask_id: int  # of [MASK]
    lengths: Histogram  # [max_seq_length + 1]: examples by their tokens, special ones included
    lengths_a: Histogram  # [max_seq_length + 1]: examples by the tokens of segment A, without special ones
    lengths_b: Histogram  # [max_seq_length + 1]: likewise of B; 0 where there is no B
    predictions: Histogram  # [max_predictions_per_seq + 1]: examples by their masked positions
    positions: Histogram  # [max_seq_length]: masked positions
    kinds: Histogram  # [3]: masked positions by what stands there, see KINDS
    labels: Histogram  # [2]: examples by next_sentence_labels
    token_counts: Histogram  # [ids]: tokens by id, masked ones as they were, special ones included, padding not
    random_words: Histogram  # [ids]: tokens that stand at masked positions and are neither [MASK] nor the original

    @classmethod
    def empty(
        cls, max_seq_length: int, max_predictions_per_seq: int, mask_id: int, vocab_size: int = 0
    ) -> "DatasetStats":
        """Of no examples. `token_counts` and `random_words` have `vocab_size` places, or more where ids are larger."""

        def zeros(size: int) -> Histogram:
            return np.zeros(size, np.int64)

        by_length = max_seq_length + 1
        return cls(
            mask_id=mask_id,
            lengths=zeros(by_length),
            lengths_a=zeros(by_length),
            lengths_b=zeros(by_length),
            predictions=zeros(max_predictions_per_seq + 1),
            positions=zeros(max_seq_length),
            kinds=zeros(len(KINDS)),
            labels=zeros(2),
            token_counts=zeros(vocab_size),
            random_words=zeros(vocab_size),
        )

    def add(self, arrays: Arrays) -> None:
        """Counts a batch of examples: features as `OpenedDataset.read_batches` gives them. It is left as it was."""
        input_ids, is_token = arrays["input_ids"], arrays["input_mask"] > 0
        lengths = np.count_nonzero(is_token, axis=1)
        in_b = np.count_nonzero(arrays["segment_ids"], axis=1)
        self.lengths += _histogram(lengths, len(self.lengths))
        self.lengths_a += _histogram(lengths - in_b - 2, len(self.lengths_a))  # [CLS], and the [SEP] behind A
        self.lengths_b += _histogram(in_b - 1, len(self.lengths_b))
        self.labels += _histogram(arrays["next_sentence_labels"].ravel(), len(self.labels))

        rows, places = np.nonzero(arrays["masked_lm_weights"])
        positions = np.minimum(arrays["masked_lm_positions"][rows, places], input_ids.shape[1] - 1).astype(np.intp)
        originals, shown = arrays["masked_lm_ids"][rows, places], input_ids[rows, positions]
        self.predictions += np.bincount(np.bincount(rows, minlength=len(input_ids)), minlength=len(self.predictions))
        self.positions += np.bincount(positions, minlength=len(self.positions))
        is_mask, is_same = shown == self.mask_id, shown == originals
        is_random = ~(is_mask | is_same)
        masks, same = np.count_nonzero(is_mask), np.count_nonzero(is_same & ~is_mask)
        self.kinds += [masks, same, len(shown) - masks - same]

        restored = input_ids.copy()
        restored[rows, positions] = originals
        self.token_counts = _add(self.token_counts, _count_ids(restored[is_token], len(self.token_counts)))
        self.random_words = _add(self.random_words, _count_ids(shown[is_random], len(self.random_words)))

    def __add__(self, other: "DatasetStats") -> "DatasetStats":
        """Of the examples of both, of the same lengths and vocabulary."""
        arrays = {name: _add(getattr(self, name), getattr(other, name)) for name in _ARRAYS}
        return DatasetStats(mask_id=self.mask_id, **arrays)

    @property
    def examples(self) -> int:
        """The number of examples."""
        return int(self.labels.sum())

    @property
    def tokens(self) -> int:
        """The number of tokens, special ones included, padding not."""
        return int(self.lengths @ np.arange(len(self.lengths)))

    @property
    def padding(self) -> int:
        """The number of positions that hold padding."""
        return self.examples * (len(self.lengths) - 1) - self.tokens

    @property
    def masked(self) -> int:
        """The number of masked positions."""
        return int(self.positions.sum())

    def to_values(self) -> dict[str, Any]:
        """As plain values, for JSON: numbers, and lists of them."""
        return {"mask_id": self.mask_id, **{name: getattr(self, name).tolist() for name in _ARRAYS}}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "DatasetStats":
        """The statistics that `to_values` stored."""
        arrays = {name: np.array(values[name], np.int64) for name in _ARRAYS}
        return cls(mask_id=values["mask_id"], **arrays)


_ARRAYS = [field.name for field in fields(DatasetStats) if field.name != "mask_id"]


def _histogram(values: NDArray[Any], size: int) -> Histogram:
    return np.bincount(np.clip(values, 0, size - 1), minlength=size)


def _count_ids(ids: NDArray[Any], size: int) -> Histogram:
    if ids.max(initial=0) >= MAX_TOKENS:
        ids = ids[ids < MAX_TOKENS]
    return np.bincount(ids, minlength=size)


def _add(a: Histogram, b: Histogram) -> Histogram:
    """The sum of histograms, one of which may be shorter."""
    if len(a) < len(b):
        a, b = b, a
    total = a.copy()
    total[: len(b)] += b
    return total
