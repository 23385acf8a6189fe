"""What a local run may hold in memory."""

import ctypes
import gc
import math
import os
from contextlib import suppress
from pathlib import Path

from maskmill.tokenizer.errors import InputError

# Measured, see benchmarks/README.md.
STARTER_BYTES = 250_000_000  # the process that starts workers, and the one that they are forked from
WORKER_BYTES = 400_000_000  # a process that does the work: itself, and what it has in hand
POOL_FACTOR = 4.0  # bytes for each byte of the pool that a process reads and builds shards of
BUFFER_FACTOR = 2.0  # bytes for each byte of tokenised documents that a process holds before it writes them
LEAST_BUFFER, MOST_BUFFER = 16_000_000, 128_000_000  # of such documents
DOCUMENT_FACTOR = 6.0  # bytes for each byte of a document that is read: emoji take more, Latin letters three
LEAST_ROOM = 10_000_000  # bytes of a document that any worker has room for


def document_room(worker_bytes: int) -> int:
    """The bytes of the longest document that a worker has memory for."""
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


def room_of_worker(memory_limit: int, num_workers: int) -> int:
    """The bytes that each of the workers may take."""
    return int((memory_limit - (STARTER_BYTES if num_workers > 1 else 0)) / num_workers)


def buffer_room(worker_bytes: int) -> int:
    """The bytes of a worker for tokenised documents that it has not written yet."""
    return int(min(max(LEAST_BUFFER, (worker_bytes - WORKER_BYTES) / BUFFER_FACTOR), MOST_BUFFER))


def require_room(memory_limit: int, num_workers: int, pool_bytes: float) -> None:
    """Raises InputError when the workers cannot hold a pool of so many bytes each, within the limit of all of them."""
    needed = max(POOL_FACTOR * pool_bytes, BUFFER_FACTOR * LEAST_BUFFER) + WORKER_BYTES
    if room_of_worker(memory_limit, num_workers) < needed:
        in_all = num_workers * needed + (STARTER_BYTES if num_workers > 1 else 0)
        raise InputError(
            f"memory_limit is {memory_limit / 1e6:,.0f} MB",
            expected=(
                f"{math.ceil(in_all / 1e6):,} MB or more, for a pool of {math.ceil(pool_bytes / 1e6):,} MB of tokens "
                f"in each of {num_workers:,} worker(s)"
            ),
            way_out="give a larger one, fewer --num-workers or more --shards-per-copy",
        )
