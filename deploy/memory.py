"""What a local run may hold in memory, and the passes over the documents that keep it within that."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from tokenizer.errors import InputError

# Measured, see benchmarks/README.md: Beam's local runner holds what is shuffled several times over.
PROCESS_BYTES = 220_000_000  # of one process before any document
PASS_FACTOR = 6.0  # bytes for each byte that is shuffled in a pass, one process
PASS_FACTOR_WORKERS = 9.0  # the same with worker processes, which get it from the one that starts them
POOL_FACTOR = 3.0  # bytes for each byte of a pool that is being built


def machine_memory() -> int:
    """The bytes of memory that this process may use: the machine's, or less where a container has a limit."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue  # no such file, or "max"
    return min(limits)


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
    processes = 1 if num_workers == 1 else 1 + num_workers
    pool_bytes = packed_bytes / num_pools
    fixed = processes * PROCESS_BYTES + num_workers * POOL_FACTOR * pool_bytes
    pass_bytes = pool_bytes * (PASS_FACTOR if num_workers == 1 else PASS_FACTOR_WORKERS)
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
