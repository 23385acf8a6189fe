"""Datasets to their stats: reads every shard once, several at a time in processes of their own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from maskmill.pipeline.analysis.opened_datasets import OpenedDataset, OpenedShard
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.dataset.schema import ShardInfo, Split
from maskmill.pipeline.processes import WorkerPool, count_processors

BYTES_PER_WORKER = 100_000_000  # a second of work, which is what a process takes to start

Result = TypeVar("Result")
Shard = TypeVar("Shard", OpenedShard, ShardInfo)


@dataclass(frozen=True)
class ShardSummary:
    """What is kept of one shard: thousands of them are small."""

    shard: OpenedShard
    examples: int  # found there
    labels: tuple[int, int]  # examples whose next_sentence_labels is 0, and 1


@dataclass(frozen=True)
class DatasetMeasure:
    """What a dataset looks like, as a whole and shard by shard."""

    stats: dict[Split, DatasetStats]  # of the splits that it has
    shards: tuple[ShardSummary, ...]  # in the order of the dataset


def measure_dataset(opened: OpenedDataset, num_workers: int | None = None) -> DatasetMeasure:
    """Reads a whole dataset -> what it looks like. Memory does not depend on its size.

    Args:
        opened: the dataset.
        num_workers: processes; None for as many as the machine has processors and the dataset is worth.

    Raises:
        InputError: naming the shard and the record that is damaged.
    """
    stats: dict[Split, DatasetStats] = {}
    summaries = []
    for shard, of_shard in measure_shards(opened, opened.shards, num_workers):
        zeros, ones = of_shard.labels.tolist()
        summaries.append(ShardSummary(shard, of_shard.examples, (zeros, ones)))
        stats[shard.split] = stats[shard.split] + of_shard if shard.split in stats else of_shard
    return DatasetMeasure(stats, tuple(summaries))


def measure_shards(
    opened: OpenedDataset, shards: Sequence[OpenedShard], num_workers: int | None = None
) -> Iterator[tuple[OpenedShard, DatasetStats]]:
    """Some shards with their stats, in the order given. Arguments and errors as those of `measure_dataset`."""
    return zip(shards, map_shards(partial(measure_shard, opened), shards, num_workers))


def map_shards(
    work: Callable[[Shard], Result], shards: Sequence[Shard], num_workers: int | None = None
) -> Iterator[Result]:
    """What a function makes of each of some shards, in the order given, in this process or in several.

    Args:
        work: see `WorkerPool`.
        shards: those to work on.
        num_workers: processes; None for as many as the machine has processors and the shards are worth.

    Raises:
        InputError: where the function does, and when a process is killed.
    """
    num_workers = choose_workers(shards) if num_workers is None else num_workers
    if num_workers == 1:
        yield from map(work, shards)
        return
    with WorkerPool(work, num_workers) as pool:
        yield from pool.map(shards)


def measure_shard(opened: OpenedDataset, shard: OpenedShard) -> DatasetStats:
    """What one shard looks like. Raises InputError naming the record that is damaged."""
    stats = DatasetStats.empty(
        opened.max_seq_length,
        opened.max_predictions_per_seq,
        opened.mask_id,
        len(opened.vocab) if opened.vocab else 0,
    )
    for arrays in opened.read_batches(shard):
        stats.add(arrays)
    return stats


def choose_workers(shards: Sequence[OpenedShard] | Sequence[ShardInfo]) -> int:
    """As many processes as there are processors, and as reading the shards is worth."""
    worth = sum(shard.bytes for shard in shards) // BYTES_PER_WORKER
    return max(1, min(count_processors(), len(shards), worth))
