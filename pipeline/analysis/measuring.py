"""Datasets to their stats: reads every shard once, several at a time in processes of their own."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children
from typing import Any, TypeVar

from maskmill.pipeline.analysis.opening import OpenedDataset, OpenedShard
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.dataset.schema import ShardInfo, Split
from maskmill.pipeline.processes import LOST, begin_worker, fork_server
from maskmill.tokenizer.errors import WorkerLostError

BYTES_PER_WORKER = 100_000_000  # a second of work, which is what a process takes to start

Given = TypeVar("Given")
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
    return zip(shards, map_shards(measure_shard, opened, shards, num_workers))


def map_shards(
    work: Callable[[Given, Shard], Result],
    given: Given,
    shards: Sequence[Shard],
    num_workers: int | None = None,
) -> Iterator[Result]:
    """What a function makes of each of some shards, in the order given, in this process or in several.

    Args:
        work: a function of a module, which other processes can find by its name.
        given: its first argument, such as the dataset.
        shards: those to work on.
        num_workers: processes; None for as many as the machine has processors and the shards are worth.

    Raises:
        InputError: where the function does, and when a process is killed.
    """
    num_workers = choose_workers(shards) if num_workers is None else num_workers
    if num_workers == 1:
        yield from (work(given, shard) for shard in shards)
        return
    others = set(active_children())
    with ProcessPoolExecutor(num_workers, fork_server(), initializer=_begin_work, initargs=(work, given)) as workers:
        try:
            yield from workers.map(_work_on, shards)
        except (BrokenProcessPool, *LOST) as error:
            for process in set(active_children()) - others:
                process.terminate()  # the pool waits for one that it was just starting when it lost another
            raise WorkerLostError from error
        finally:
            workers.shutdown(wait=False, cancel_futures=True)


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
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    worth = sum(shard.bytes for shard in shards) // BYTES_PER_WORKER
    return max(1, min(processors, len(shards), worth))


_job: tuple[Callable[[Any, Any], Any], Any]  # of a worker process


def _begin_work(work: Callable[[Given, Shard], Result], given: Given) -> None:
    global _job
    _job = work, given
    begin_worker()


def _work_on(shard: OpenedShard | ShardInfo) -> Any:
    work, given = _job
    return work(given, shard)
