"""The bins in which a manifest counts instances by their length."""

import numpy as np
from numpy.typing import NDArray

BINS = 16


def bin_size(max_seq_length: int) -> int:
    """The lengths in a bin."""
    return -(-max_seq_length // BINS)


def count_lengths(lengths: NDArray[np.integer], max_seq_length: int) -> dict[int, int]:
    """Instances by the longest length of their bin.

    >>> count_lengths(np.array([5, 8, 9, 128]), max_seq_length=128)
    {8: 2, 16: 1, 128: 1}
    """
    size = bin_size(max_seq_length)
    counts = np.bincount(-(-lengths // size)).tolist()
    return {min(number * size, max_seq_length): count for number, count in enumerate(counts) if count}


def shortest_of_bin(longest: int, max_seq_length: int) -> int:
    """The shortest length of the bin whose longest is given."""
    size = bin_size(max_seq_length)
    return (longest - 1) // size * size + 1
