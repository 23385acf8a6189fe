"""Shards put to the rules, here or in worker processes, which share nothing but the disk."""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

from pipeline.schema import ShardInfo
from pipeline.validation.dataset import ReadShards
from pipeline.validation.shards import ShardResult, validate_shard
from pipeline.validation.standard import Standard
from tokenizer.errors import InputError

BYTES_PER_WORKER = 100_000_000  # a second of work, which is what a process takes to start

Tell = Callable[[int, int], None]  # is told the bytes and the examples of each shard that is done


@contextmanager
def shard_reader(directory: str, num_workers: int | None, tell: Tell) -> Iterator[ReadShards]:
    """What reads the shards of a dataset, and keeps what it needs in a temporary folder.

    Args:
        directory: the dataset.
        num_workers: processes; None for as many as there are processors and the shards are worth.
        tell: called here when a shard is done.
    """
    with tempfile.TemporaryDirectory(prefix="maskmill-") as scratch:

        def read_shards(standard: Standard, shards: Sequence[ShardInfo]) -> list[ShardResult]:
            keys = [os.path.join(scratch, f"{number}.npy") for number in range(len(shards))]
            workers = num_workers or _choose_workers(shards)
            if min(workers, len(shards)) > 1:
                return _read_in_processes(directory, standard, shards, keys, workers, tell)
            results = []
            for shard, path in zip(shards, keys):
                results.append(validate_shard(directory, shard, standard, path))
                tell(shard.bytes, results[-1].examples)
            return results

        yield read_shards


def _choose_workers(shards: Sequence[ShardInfo]) -> int:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, sum(shard.bytes for shard in shards) // BYTES_PER_WORKER))


def _read_in_processes(
    directory: str, standard: Standard, shards: Sequence[ShardInfo], keys: Sequence[str], num_workers: int, tell: Tell
) -> list[ShardResult]:
    if standard.vocab:
        assert len(standard.kinds)  # found once, here
    os.environ["PYTHONSAFEPATH"] = "1"  # else a worker would take the user's own files in this folder for our modules
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(min(num_workers, len(shards)), context, _begin_work, (directory, standard))
    try:
        futures = [pool.submit(_work, shard, path) for shard, path in zip(shards, keys)]
        numbers: dict[Future[ShardResult], int] = {future: number for number, future in enumerate(futures)}
        for future in as_completed(futures):
            tell(shards[numbers[future]].bytes, future.result().examples)
        return [future.result() for future in futures]
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, most often because memory ran out; give a smaller --num-workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_given: tuple[str, Standard]  # of a worker process


def _begin_work(directory: str, standard: Standard) -> None:
    global _given
    _given = directory, standard
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the starter ends the others
    threading.Thread(target=_end_with_starter, daemon=True).start()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter
    wait([starter.sentinel])
    os._exit(1)


def _work(shard: ShardInfo, keys_path: str) -> ShardResult:
    directory, standard = _given
    return validate_shard(directory, shard, standard, keys_path)
