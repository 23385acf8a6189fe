"""Rows of different lengths in two flat arrays, and what is done with millions of them at once."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Row `i` is `values[offsets[i]:offsets[i + 1]]`.

    >>> rows = Ragged.from_strings(["to", "be", "to"])
    >>> distinct, numbers = rows.distinct()
    >>> distinct.lengths, numbers
    (array([2, 2]), array([0, 1, 0], dtype=int32))
    """

    values: NDArray[Any]  # [values of all rows]
    offsets: NDArray[np.int64]  # [rows + 1]

    @classmethod
    def from_lengths(cls, values: NDArray[Any], lengths: NDArray[np.integer]) -> "Ragged":
        """Values cut into rows of the given lengths."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(values, offsets)

    @classmethod
    def from_strings(cls, strings: Sequence[str]) -> "Ragged":
        """The code points of each string, uint32."""
        code_points = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), np.uint32)
        return cls.from_lengths(code_points, np.array([len(string) for string in strings], np.int64))

    def to_strings(self) -> list[str]:
        """Rows of code points as strings."""
        text = self.values.astype(np.uint32).tobytes().decode("utf-32-le", "surrogatepass")
        return [text[start:end] for start, end in pairwise(self.offsets.tolist())]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each row."""
        return np.diff(self.offsets)

    def take(self, numbers: NDArray[np.integer]) -> "Ragged":
        """The rows of the given numbers, in that order."""
        lengths = self.lengths.take(numbers)
        taken = Ragged.from_lengths(self.values, lengths)
        # A value's place in `self` is its place in the result, moved as far as its row is.
        moves = self.offsets.take(numbers) - taken.offsets[:-1]
        places = np.repeat(moves, lengths) + np.arange(taken.offsets[-1])
        return taken._replace(values=self.values.take(places))

    def distinct(self) -> tuple["Ragged", NDArray[np.int32]]:
        """The distinct rows in order of appearance, and for each row the number of its equal among them."""
        size = self.values.itemsize
        buffers = [None, pa.py_buffer(self.offsets * size), pa.py_buffer(np.ascontiguousarray(self.values))]
        encoded = pa.Array.from_buffers(pa.large_binary(), len(self.offsets) - 1, buffers).dictionary_encode()
        _, offsets, values = encoded.dictionary.buffers()
        distinct = Ragged(
            np.frombuffer(values or b"", self.values.dtype),
            np.frombuffer(offsets, np.int64, len(encoded.dictionary) + 1) // size,
        )
        return distinct, encoded.indices.to_numpy()
