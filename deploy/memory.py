"""What a local run may hold in memory, and the passes over the documents that keep it within that."""

import ctypes
import gc
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tokenizer.errors import InputError

# Measured, see benchmarks/README.md. Beam's local runner holds what is shuffled several times over.
STARTER_BYTES = 200_000_000  # the process that starts workers, before any document
WORKER_BYTES = 400_000_000  # a process that does the work: itself, and what it has in hand
PASS_FACTOR_ALONE = 5.0  # bytes for each byte that is shuffled in a pass, one process
PASS_FACTOR_WORKERS = 8.0  # the same with worker processes, in the one that started them
POOL_FACTOR = 3.0  # bytes for each byte of the pool that a process builds shards of


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
    """The pools that are still to be built, in as few passes as the memory allows.

    Args:
        pools: the numbers of those to build.
        num_pools: the number of all of them.
        packed_bytes: of all tokenised documents, which fall evenly to the pools.
        memory_limit: bytes, of all processes together.
        num_workers: worker processes.

    Raises InputError when not even one pool fits.
    """
    pool_bytes = packed_bytes / num_pools
    is_alone = num_workers == 1
    fixed = num_workers * (WORKER_BYTES + POOL_FACTOR * pool_bytes) + (0 if is_alone else STARTER_BYTES)
    pass_bytes = pool_bytes * (PASS_FACTOR_ALONE if is_alone else PASS_FACTOR_WORKERS)
    pools_per_pass = int((memory_limit - fixed) / pass_bytes) if pass_bytes else num_pools
    if pools_per_pass < 1:
        needed = fixed + pass_bytes
        raise InputError(
            f"memory_limit is {memory_limit / 1e6:,.0f} MB; expected {math.ceil(needed / 1e6):,} MB or more, "
            f"for one of {num_pools} pools of documents with {num_workers} worker(s); "
            "give a larger one, fewer --num-workers or more --shards-per-copy"
        )
    passes = -(-len(pools) // pools_per_pass)
    return [list(pools[len(pools) * n // passes : len(pools) * (n + 1) // passes]) for n in range(passes)]
