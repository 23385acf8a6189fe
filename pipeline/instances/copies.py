"""The copies of a pool: its instances, in the order in which a shard holds them, drawn from seed, pool and copy."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.masking import Masker, Predictions
from maskmill.pipeline.instances.pairs import Pairs, pair_documents, truncate_pairs
from maskmill.pipeline.instances.pools import Pool
from maskmill.pipeline.instances.seeding import rng_for
from maskmill.pipeline.instances.segments import Segments, assemble
from maskmill.tokenizer.vocab import Vocab

BATCH_INSTANCES = 512  # a batch stays within the processor's cache; part of the seeding, so not to be changed lightly


@dataclass(frozen=True)
class DrawnPairs:
    """The pairs of a copy, before they are assembled and masked."""

    pairs: Pairs  # truncated, in the order of the shard
    skipped_chunks: int
    truncated_tokens: int

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each instance, `[CLS]` and each `[SEP]` included: int32 [n]."""
        a_start, a_end, b_start, b_end, _ = self.pairs.T
        lengths: NDArray[np.int32] = a_end - a_start + b_end - b_start + 2 + (b_end > b_start)
        return lengths


@dataclass(frozen=True)
class DrawnInstances:
    """Some instances of a copy, n of them."""

    segments: Segments
    input_ids: NDArray[np.int32]  # [n, max_seq_length], with masks
    predictions: Predictions

    def features(self) -> dict[str, NDArray[np.generic]]:
        """Named and shaped as in the records: integers of some size and bool, weights float32."""
        return {
            "input_ids": self.input_ids,
            "input_mask": self.segments.input_mask,
            "segment_ids": self.segments.segment_ids,
            "masked_lm_positions": self.predictions.masked_lm_positions,
            "masked_lm_ids": self.predictions.masked_lm_ids,
            "masked_lm_weights": self.predictions.masked_lm_weights,
            "next_sentence_labels": self.segments.is_random_next[:, None],
        }


class CopyDrawer:
    """Draws copies of pools. What it draws is a function of configuration, vocabulary, pool and copy."""

    def __init__(self, vocab: Vocab, config: InstanceConfig):
        self.vocab = vocab
        self.config = config
        self.masker = Masker(vocab, config)

    def draw_pairs(self, number: int, pool: Pool, copy: int) -> DrawnPairs:
        """The pairs of one copy of the pool with this number; a ninth of the work of its instances."""
        rng = rng_for(self.config.random_seed, "pairs", number, copy)
        pairs, skipped = pair_documents(pool, self.config, rng)
        truncated = truncate_pairs(pairs, self.config.max_num_tokens, rng)
        lost = _count_tokens(pairs) - _count_tokens(truncated)
        return DrawnPairs(rng.permutation(truncated), skipped, lost)

    def draw_instances(self, number: int, pool: Pool, copy: int, drawn: DrawnPairs) -> Iterator[DrawnInstances]:
        """The instances of these pairs, BATCH_INSTANCES at a time."""
        rng = rng_for(self.config.random_seed, "masking", number, copy)
        for start in range(0, len(drawn), BATCH_INSTANCES):
            batch = drawn.pairs[start : start + BATCH_INSTANCES]
            segments = assemble(pool.ids, batch, self.config.max_seq_length, self.vocab)
            yield DrawnInstances(segments, *self.masker.mask(segments, rng))


def _count_tokens(pairs: Pairs) -> int:
    return int((pairs[:, 1] - pairs[:, 0]).sum(dtype=np.int64) + (pairs[:, 3] - pairs[:, 2]).sum(dtype=np.int64))
