"""The shards of each pool of a dataset."""

from collections.abc import Iterator
from dataclasses import dataclass

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import Split, shard_name
from maskmill.pipeline.instances.pools import Pools


@dataclass(frozen=True)
class PlannedShard:
    """The instances of one pool in one copy, or the pool itself, and the file that is to hold it."""

    path: str  # relative to the dataset
    split: Split
    copy: int
    pool: int


def plan_shards(pools: Pools, config: InstanceConfig, pool: int) -> Iterator[PlannedShard]:
    """The shards of a pool: `train_copies` of a training pool, one of one to evaluate on."""
    split, number_in_split = pools.split_of(pool)
    in_split = pools.number_in(split)
    copies = config.train_copies if split == "train" else 1
    for copy in range(copies):
        path = shard_name(
            split, copy * in_split + number_in_split, copies * in_split, config.compression, config.format
        )
        yield PlannedShard(path, split, copy, pool)
