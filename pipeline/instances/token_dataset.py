"""Datasets of tokens: their pools, and the copies that are drawn from these."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import VOCAB, ShardInfo, Split
from maskmill.pipeline.instances.copies import CopyDrawer
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pool_file import read_pool
from maskmill.pipeline.instances.pools import Pool
from maskmill.pipeline.records.parquet_file import Columns
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import UNK, Vocab

MOST_COUNTED = 8  # pools of a split, from which the number of its examples is estimated


class TokenDataset:
    """A dataset of format tokens. Copy k of it has the instances that copy k of a dataset of records would have."""

    def __init__(self, dataset: Dataset, vocab: Vocab | None = None):
        self.dataset = dataset
        self.vocab = vocab or Vocab.parse(dataset.read_vocab(), os.path.join(dataset.directory, VOCAB))
        self.drawer = CopyDrawer(self.vocab, InstanceConfig(**dataset.info.config))

    def read_packed(self, shard: ShardInfo) -> PackedPool:
        """A pool as it is stored. Raises InputError when its file is damaged, or the dataset has changed."""
        with self.dataset.unchanged():
            path = self.dataset.path_of(shard)
            pool = read_pool(path, shard.sha256, self.dataset.versions.get(shard.path))
            pool.require_ids_below(len(self.vocab), path)
        return pool

    def read_pool(self, shard: ShardInfo) -> Pool:
        """A pool to draw from, without what its configuration leaves out. Raises InputError as `read_packed`."""
        return self.read_packed(shard).unpack(self.drawer.config, self.vocab.ids[UNK])

    def count(self, shard: ShardInfo, copy: int) -> int:
        """The number of instances in a copy of a pool, for a ninth of what drawing them takes."""
        return len(self.drawer.draw_pairs(shard.pool, self.read_pool(shard), copy))

    def draw(self, shard: ShardInfo, copy: int) -> Iterator[Columns]:
        """The instances of a copy of a pool in order, some hundred at a time, as `DrawnInstances.features` has them."""
        pool = self.read_pool(shard)
        pairs = self.drawer.draw_pairs(shard.pool, pool, copy)
        for drawn in self.drawer.draw_instances(shard.pool, pool, copy, pairs):
            yield drawn.features()


def with_changes(dataset: Dataset, changes: Mapping[str, Any]) -> Dataset:
    """A dataset of tokens whose copies are drawn with other values of its configuration, by their names there.

    `max_seq_length` alone changes `max_predictions_per_seq` with it. The numbers of examples are estimated from some
    pools. Raises InputError when the dataset is none of tokens, or a value makes no sense.
    """
    if not changes:
        return dataset
    info = dataset.info
    if info.format != "tokens":
        raise InputError(
            f"holds instances, whose {next(iter(changes))} cannot be changed",
            way_out="leave the option out, or generate the dataset with --format tokens",
            path=dataset.directory,
        )
    config = InstanceConfig(**info.config)
    given = dict(changes)
    if "max_seq_length" in given:
        share = replace(config, masked_lm_prob=given.get("masked_lm_prob", config.masked_lm_prob))
        config = share.with_length(given["max_seq_length"], given.get("max_predictions_per_seq"))
    config = replace(config, **given)
    changed = replace(dataset, info=replace(info, config=config.to_values()), changes=changes)
    tokens, shards = TokenDataset(changed), list(info.shards)
    for split in get_args(Split):
        of_split = info.shards_of(split)
        some = of_split[:: -(-len(of_split) // MOST_COUNTED)] if of_split else []
        before = sum(shard.examples for shard in some)
        share_left = sum(tokens.count(shard, 0) for shard in some) / max(1, before)
        shards = [
            replace(shard, examples=round(shard.examples * share_left)) if shard.split == split else shard
            for shard in shards
        ]
    return replace(changed, info=replace(changed.info, shards=tuple(shards)))


def cast(columns: Columns) -> dict[str, np.ndarray]:
    """Features as records give them: int32, and the weights float32."""
    return {
        name: values.astype(np.float32 if values.dtype.kind == "f" else np.int32, copy=False)
        for name, values in columns.items()
    }
