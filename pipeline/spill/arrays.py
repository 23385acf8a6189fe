"""Files of named arrays, in the safetensors format: whole or not at all, and read in parts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from maskmill.pipeline.storage.storage import AnyPath, create_file
from maskmill.tokenizer.errors import InputError

Arrays = Mapping[str, NDArray[Any]]
SUFFIX = ".safetensors"


def write_arrays(path: AnyPath, arrays: Arrays) -> None:
    """Writes arrays to a file that appears under its name only when it is whole."""
    try:
        with create_file(path) as file:
            file.write(save(dict(arrays)))
    except InputError as error:
        way_out = "make room there, or give another --temp-dir"
        raise InputError(error.problem, way_out=way_out, path=error.path) from error


class ArrayFile:
    """A file of arrays of this machine, to read in parts."""

    def __init__(self, path: AnyPath):
        self.path = path
        with self._errors():
            self._file = safe_open(os.fspath(path), framework="np")

    def get(self, name: str) -> NDArray[Any]:
        """All of an array."""
        with self._errors():
            return cast(NDArray[Any], self._file.get_tensor(name))  # type: ignore[no-untyped-call]

    def part(self, name: str, first: int, last: int) -> NDArray[Any]:
        """The elements of a flat array from number `first` on and before number `last`."""
        with self._errors():
            return cast(NDArray[Any], self._file.get_slice(name)[first:last])  # type: ignore[no-untyped-call]

    def texts(self, first: int, last: int) -> list[bytes]:
        """What `pack_texts` was given, from number `first` on and before number `last`."""
        ends = self.part("ends", first, last + 1)
        data = self.part("data", int(ends[0]), int(ends[-1])).tobytes()
        bounds = (ends - ends[0]).tolist()
        return [data[begin:end] for begin, end in pairwise(bounds)]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError) as error:
            way_out = "remove it, and run the command again"
            raise InputError(f"cannot be read ({error})", way_out=way_out, path=self.path) from error


def pack_texts(texts: list[bytes]) -> Arrays:
    """Byte strings as two arrays: `data`, of all of them, and `ends`, of each, after a 0."""
    return {
        "ends": np.cumsum([0, *map(len, texts)], dtype=np.int64),
        "data": np.frombuffer(b"".join(texts), np.uint8),
    }
