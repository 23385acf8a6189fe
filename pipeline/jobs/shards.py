"""One pool of documents to its shards, one per copy; or to one file, of which copies can be drawn."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from maskmill.pipeline.dataset.length_bins import count_lengths
from maskmill.pipeline.dataset.schema import ShardInfo, features
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.copies import CopyDrawer, DrawnInstances, DrawnPairs
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.plan import PlannedShard, plan_shards
from maskmill.pipeline.instances.pool_file import write_pool
from maskmill.pipeline.instances.pools import Pool, Pools
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.parquet_file import Columns, write_parquet
from maskmill.pipeline.records.tfrecord import WrittenFile, write_records
from maskmill.tokenizer.vocab import UNK, Vocab

GATHERED = "gathered"  # documents that came into a pool, whatever became of them: a count that is checked, not kept


@dataclass
class ShardBuilder:
    """Builds the shards of a dataset. Everything drawn is a function of the configuration, the pool and the copy."""

    vocab: Vocab
    target: Target

    def __post_init__(self) -> None:
        self.config = self.target.config
        self.unfinished = Unfinished(self.target.output)
        self.drawer = CopyDrawer(self.vocab, self.config)
        self.features = features(self.config.max_seq_length, self.config.max_predictions_per_seq)
        self.encoder = ExampleEncoder(self.features)

    def build(self, number: int, packed: PackedPool, pools: Pools) -> Iterator[ShardInfo]:
        """Writes and records the shards of a pool, one of `pools`, but for those finished before; yields them."""
        pool = packed.unpack(self.config, self.vocab.ids[UNK])
        for planned in plan_shards(pools, self.config, number):
            if planned.path in self.target.finished:
                continue
            self.unfinished.require_run(self.target.run)
            counts = Counter[str]() if planned.copy else self._count_pool(planned.split, pool)
            written = self._write(planned, packed, pool, counts)
            shard = ShardInfo(**asdict(planned), examples=written.records, bytes=written.bytes, sha256=written.sha256)
            self.unfinished.record(shard, counts, self.target.run)
            yield shard

    def _write(self, planned: PlannedShard, packed: PackedPool, pool: Pool, counts: Counter[str]) -> WrittenFile:
        """Writes a shard in the format of the dataset, adding to `counts` what it holds."""
        path = os.path.join(self.target.output, planned.path)
        pairs = self.drawer.draw_pairs(planned.pool, pool, planned.copy)
        counts.update(self._count_pairs(planned.split, pairs))
        if self.config.format == "tokens":
            return write_pool(path, packed, examples=len(pairs))
        batches = self._draw(planned, pool, pairs, counts)
        if self.config.format == "parquet":
            return write_parquet(path, batches, self.features, self.config.compression)
        return write_records(path, map(self.encoder.encode, batches), self.config.compression)

    def _draw(self, planned: PlannedShard, pool: Pool, pairs: DrawnPairs, counts: Counter[str]) -> Iterator[Columns]:
        """The instances of a copy in batches, adding to `counts` what they hold."""
        for drawn in self.drawer.draw_instances(planned.pool, pool, planned.copy, pairs):
            counts.update(self._count_masks(planned.split, drawn))
            yield drawn.features()

    def _count_pool(self, split: str, pool: Pool) -> Counter[str]:
        """Counts by `section/name`, as `Counts` of corpus.py, of what each document has once."""
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

    def _count_pairs(self, split: str, drawn: DrawnPairs) -> Counter[str]:
        by_length = count_lengths(drawn.lengths, self.config.max_seq_length)
        return Counter(
            {
                f"{split}/skipped_chunks": drawn.skipped_chunks,
                f"{split}/truncated_tokens": drawn.truncated_tokens,
                f"{split}/instances": len(drawn),
                f"{split}/random_next": int(drawn.pairs[:, 4].sum()),
                f"{split}/instance_tokens": int(drawn.lengths.sum()),
                **{f"{split}_lengths/{longest}": instances for longest, instances in by_length.items()},
            }
        )

    def _count_masks(self, split: str, drawn: DrawnInstances) -> Counter[str]:
        input_ids, predictions = drawn.input_ids, drawn.predictions
        is_label = predictions.masked_lm_weights > 0
        labels = predictions.masked_lm_ids[is_label]
        places = predictions.masked_lm_positions + np.arange(len(input_ids))[:, None] * input_ids.shape[1]
        shown = input_ids.reshape(-1)[places[is_label]]
        is_mask, is_kept = shown == self.drawer.masker.mask_id, shown == labels
        return Counter(
            {
                f"{split}/masked_tokens": len(labels),
                f"{split}/masked_as_mask": int(is_mask.sum()),
                f"{split}/masked_as_same": int(is_kept.sum()),
                f"{split}/masked_as_random": int((~is_mask & ~is_kept).sum()),
            }
        )
