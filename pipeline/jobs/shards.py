"""One pool of documents to its shards, one per copy."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.length_bins import count_lengths
from maskmill.pipeline.dataset.schema import ShardInfo, features
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.masking import Masker, Predictions
from maskmill.pipeline.instances.pairs import Pairs, pair_documents, truncate_pairs
from maskmill.pipeline.instances.plan import plan_shards
from maskmill.pipeline.instances.pools import Pool, Pools
from maskmill.pipeline.instances.seeding import rng_for
from maskmill.pipeline.instances.segments import Segments, assemble
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import write_records
from maskmill.tokenizer.vocab import UNK, Vocab

BATCH_INSTANCES = 512  # a batch stays within the processor's cache; part of the seeding, so not to be changed lightly
GATHERED = "gathered"  # documents that came into a pool, whatever became of them: a count that is checked, not kept

Counts = Counter[str]  # "section/name" -> number


@dataclass
class ShardBuilder:
    """Builds the shards of a dataset. Everything drawn is a function of the configuration, the pool and the copy."""

    vocab: Vocab
    target: Target

    def __post_init__(self) -> None:
        self.config = self.target.config
        self.unfinished = Unfinished(self.target.output)
        self.masker = Masker(self.vocab, self.config)
        self.encoder = ExampleEncoder(features(self.config.max_seq_length, self.config.max_predictions_per_seq))

    def build(self, number: int, pool: Pool, pools: Pools) -> Iterator[ShardInfo]:
        """Writes and records the shards of a pool, one of `pools`, but for those finished before; yields them."""
        for planned in plan_shards(pools, self.config, number):
            if planned.path in self.target.finished:
                continue
            self.unfinished.require_run(self.target.run)
            counts = Counter[str]() if planned.copy else self._count_pool(planned.split, pool)
            written = write_records(
                os.path.join(self.target.output, planned.path),
                self._encode_copy(number, pool, planned.copy, planned.split, counts),
                self.config.compression,
            )
            shard = ShardInfo(**asdict(planned), examples=written.records, bytes=written.bytes, sha256=written.sha256)
            self.unfinished.record(shard, counts, self.target.run)
            yield shard

    def _encode_copy(self, number: int, pool: Pool, copy: int, split: str, counts: Counts) -> Iterator[list[bytes]]:
        """Batches of serialised examples, adding to `counts` what they hold."""
        seed = self.config.random_seed
        rng = rng_for(seed, "pairs", number, copy)
        pairs, skipped = pair_documents(pool, self.config, rng)
        counts[f"{split}/skipped_chunks"] += skipped
        truncated = truncate_pairs(pairs, self.config.max_num_tokens, rng)
        counts[f"{split}/truncated_tokens"] += _count_tokens(pairs) - _count_tokens(truncated)
        pairs = rng.permutation(truncated)
        rng = rng_for(seed, "masking", number, copy)
        for start in range(0, len(pairs), BATCH_INSTANCES):
            batch = pairs[start : start + BATCH_INSTANCES]
            segments = assemble(pool.ids, batch, self.config.max_seq_length, self.vocab)
            input_ids, predictions = self.masker.mask(segments, rng)
            self._count_batch(split, segments, input_ids, predictions, counts)
            yield self.encoder.encode(
                {
                    "input_ids": input_ids,
                    "input_mask": segments.input_mask,
                    "segment_ids": segments.segment_ids,
                    "masked_lm_positions": predictions.masked_lm_positions,
                    "masked_lm_ids": predictions.masked_lm_ids,
                    "masked_lm_weights": predictions.masked_lm_weights,
                    "next_sentence_labels": segments.is_random_next[:, None],
                }
            )

    def _count_pool(self, split: str, pool: Pool) -> Counts:
        return Counter(
            {
                GATHERED: pool.gathered,
                "documents/empty": pool.empty,
                f"{split}/documents": pool.documents,
                f"{split}/duplicate_documents": pool.duplicates,
                f"{split}/sentences": pool.sentences,
                f"{split}/tokens": len(pool.ids),
                f"{split}/unk_tokens": int((pool.ids == self.vocab.ids[UNK]).sum()),
                **{f"filtered/{what}": count for what, count in pool.filtered.items()},
            }
        )

    def _count_batch(
        self,
        split: str,
        segments: Segments,
        input_ids: NDArray[np.int32],
        predictions: Predictions,
        counts: Counts,
    ) -> None:
        is_label = predictions.masked_lm_weights > 0
        labels = predictions.masked_lm_ids[is_label]
        places = predictions.masked_lm_positions + np.arange(len(input_ids))[:, None] * input_ids.shape[1]
        shown = input_ids.reshape(-1)[places[is_label]]
        is_mask, is_kept = shown == self.masker.mask_id, shown == labels
        counts[f"{split}/instances"] += len(input_ids)
        counts[f"{split}/random_next"] += int(segments.is_random_next.sum())
        counts[f"{split}/instance_tokens"] += int(segments.lengths.sum())
        counts[f"{split}/masked_tokens"] += len(labels)
        counts[f"{split}/masked_as_mask"] += int(is_mask.sum())
        counts[f"{split}/masked_as_same"] += int(is_kept.sum())
        counts[f"{split}/masked_as_random"] += int((~is_mask & ~is_kept).sum())
        for longest, instances in count_lengths(segments.lengths, self.config.max_seq_length).items():
            counts[f"{split}_lengths/{longest}"] += instances


def _count_tokens(pairs: Pairs) -> int:
    return int((pairs[:, 1] - pairs[:, 0]).sum(dtype=np.int64) + (pairs[:, 3] - pairs[:, 2]).sum(dtype=np.int64))
