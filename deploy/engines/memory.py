"""What a local run may hold in memory, and the passes over the documents that keep it within that."""

import ctypes
import gc
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from maskmill.tokenizer.errors import InputError

# Measured, see benchmarks/README.md. Beam's local runner holds what is shuffled several times over.
STARTER_BYTES = 250_000_000  # the process that starts workers, and the one that they are forked from
WORKER_BYTES = 400_000_000  # a process that does the work: itself, and what it has in hand
PASS_FACTOR = 5.0  # bytes for each byte that is shuffled in a pass
POOL_FACTOR = 3.0  # bytes for each byte of the pool that a process builds shards of


DOCUMENT_FACTOR = (
    6.0  # bytes for each byte of a document that is read: text in emoji takes more, in Latin letters three
)
LEAST_ROOM = 10_000_000  # bytes of a document that any worker has room for


def document_room(memory_limit: int, num_workers: int) -> int:
    """The bytes of the longest document that there is memory for, when every worker reads one at once."""
    worker_bytes = (memory_limit - (STARTER_BYTES if num_workers > 1 else 0)) / num_workers
    return max(LEAST_ROOM, int((worker_bytes - WORKER_BYTES) / DOCUMENT_FACTOR))


def machine_memory() -> int:
    """The bytes of memory that this process may use: the machine's, or less where a container has a limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue  # no such file, or "max"
    return min(limits)


def give_back_memory() -> None:
    """Gives memory that is free within this process back to the system, where the C library can (glibc)."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def plan_passes(
    pools: Sequence[int], num_pools: int, packed_bytes: int, memory_limit: int, num_workers: int
) -> list[list[int]]:
    """The pools that are still to be built, in as few passes as the memory allows, each the work of one worker.

    Every worker has as many passes as another, as far as there are pools.

    Args:
        pools: the numbers of those to build.
        num_pools: the number of all of them.
        packed_bytes: of all tokenised documents, which fall evenly to the pools.
        memory_limit: bytes, of all processes together.
        num_workers: how many passes run side by side.

    Raises InputError when not even one pool fits.
    """
    pool_bytes = packed_bytes / num_pools
    num_workers = max(1, min(num_workers, len(pools)))
    starter_bytes = STARTER_BYTES if num_workers > 1 else 0
    fixed = WORKER_BYTES + POOL_FACTOR * pool_bytes
    left_to_worker = (memory_limit - starter_bytes) / num_workers - fixed
    pools_per_pass = int(left_to_worker / max(1.0, PASS_FACTOR * pool_bytes))
    if pools_per_pass < 1:
        needed = starter_bytes + num_workers * (fixed + PASS_FACTOR * pool_bytes)
        raise InputError(
            f"memory_limit is {memory_limit / 1000000.0:,.0f} MB",
            expected=(
                f"{math.ceil(needed / 1000000.0):,} MB or more, for one of {num_pools:,} pools of documents "
                f"with {num_workers:,} worker(s)"
            ),
            way_out="give a larger one, fewer --num-workers or more --shards-per-copy",
        )
    passes = -(-len(pools) // (pools_per_pass * num_workers)) * num_workers
    passes = min(passes, len(pools))
    return [list(pools[len(pools) * n // passes : len(pools) * (n + 1) // passes]) for n in range(passes)]
