"""The shards of a dataset put to the rules, here or in worker processes, which share nothing but the disk."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from maskmill.pipeline.analysis.collecting_stats import map_shards
from maskmill.pipeline.dataset.schema import ShardInfo
from maskmill.pipeline.validation.dataset import ReadShards
from maskmill.pipeline.validation.shards import ShardResult, validate_shard
from maskmill.pipeline.validation.standard import Standard

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
            if standard.vocab:
                assert len(standard.kinds)  # found once, here
            results = []
            work = partial(_validate, directory, standard, scratch)
            for shard, result in zip(shards, map_shards(work, shards, num_workers)):
                results.append(result)
                tell(shard.bytes, result.examples)
            return results

        yield read_shards


def _validate(directory: str, standard: Standard, scratch: str, shard: ShardInfo) -> ShardResult:
    return validate_shard(directory, shard, standard, os.path.join(scratch, f"{shard.path}-{shard.copy}.npy"))
