"""Serialised `tf.train.Example`s to arrays, many at a time, without TensorFlow.

What stands before the values of a feature depends on its name and on how many bytes they take, and on nothing else. So
all records take the step from one feature to the next together, and what stands there is compared with what should: no
byte goes unchecked. Records that are laid out in another way, as the format allows, go through the readable
`decode_example`.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.schema import Feature
from maskmill.pipeline.records.examples import (
    EXAMPLE_FEATURES,
    FEATURE_FLOAT_LIST,
    FEATURE_INT64_LIST,
    decode_example,
    entry_head,
)
from maskmill.tokenizer.errors import InputError, RecordError

LONGEST_VARINT = 4  # bytes, of those that are decoded together; such a number is below 2**28
BLOCK_VALUES = 1 << 17  # of the longest feature, decoded at a time: few steps of Python, and still in the cache
MAX_ORDERS = 4  # of the features in the bytes, tried for the records of a block
WORD = 8  # bytes compared at a time

Array = NDArray[np.int32] | NDArray[np.float32]
Arrays = dict[str, Array]
Bytes = NDArray[np.uint8]
Facts = NDArray[np.bool_]
Places = NDArray[np.int64]


def dtype_of(feature: Feature) -> type[np.int32] | type[np.float32]:
    """That of the arrays of a feature: int32 where it is int64, for no id or position is larger; else float32."""
    return np.float32 if feature.dtype == "float32" else np.int32


class ExampleDecoder:
    """Decodes serialised `tf.train.Example`s that have certain features."""

    def __init__(self, features: Iterable[Feature]):
        """`features` in any order."""
        self.features = {feature.name: feature for feature in features}
        self.entries = {name: _Entry(feature) for name, feature in self.features.items()}
        self.padding = bytes(max(entry.longest for entry in self.entries.values()))
        self.block = max(1, BLOCK_VALUES // max(feature.length for feature in self.features.values()))
        self.order = tuple(self.features)  # in the bytes of the records that were decoded last

    def decode(
        self, records: Sequence[bytes], name_of: Callable[[int], str] = lambda row: f"record {row + 1}"
    ) -> Arrays:
        """Serialised examples to their features; what else they have is left out.

        Args:
            records: n serialised examples.
            name_of: how an error calls the record of a row.

        Returns:
            For each feature its values, [n, feature.length]: int32 where the feature is int64, else float32.

        Raises:
            RecordError: when a record is no such message, lacks a feature, has more or fewer values of it than its
                length, or an integer that is below 0 or above 2**31 - 1.
        """
        blocks = []
        for start in range(0, max(1, len(records)), self.block):
            rows = range(start, min(start + self.block, len(records)))
            blocks.append(self._decode_block(records, rows, name_of, MAX_ORDERS))
        if len(blocks) == 1:
            return blocks[0]
        return {name: np.concatenate([block[name] for block in blocks]) for name in self.features}

    def _decode_block(
        self, records: Sequence[bytes], rows: Sequence[int], name_of: Callable[[int], str], orders: int
    ) -> Arrays:
        """Decodes the records of some rows, trying so many orders of the features."""
        fits, arrays = self._decode_together([records[row] for row in rows])
        rest = np.flatnonzero(~fits)
        if len(rest):
            rows = [rows[place] for place in rest.tolist()]
            if orders > 1 and self._take_order_of(records[rows[0]]):
                decoded = self._decode_block(records, rows, name_of, orders - 1)
            else:
                decoded = self._decode_one_by_one([records[row] for row in rows], [name_of(row) for row in rows])
            for name, array in arrays.items():
                array[rest] = decoded[name]
        return arrays

    def _decode_together(self, records: Sequence[bytes]) -> tuple[Facts, Arrays]:
        """Of n records: which have the features in `self.order` and their values packed, bool [n]; the values of those.

        What stands in the other rows means nothing.
        """
        data = np.frombuffer(b"".join([*records, self.padding]), np.uint8)
        ends = np.cumsum(np.fromiter(map(len, records), np.int64, len(records)))
        starts = np.concatenate([[0], ends])[:-1]
        sizes, at = _read_lengths(data, starts)
        fits = (data[starts] == EXAMPLE_FEATURES) & (at + sizes == ends)
        places = {}
        for name in self.order:
            is_entry, start, at = self.entries[name].find(data, np.where(fits, at, 0))
            fits &= is_entry & (at <= ends)
            places[name] = start, at - start
        fits &= at == ends
        arrays: Arrays = {}
        for name, feature in self.features.items():
            starts, sizes = places[name]
            starts, sizes = np.where(fits, starts, 0), np.where(fits, sizes, feature.length)
            if feature.dtype == "float32":
                arrays[name] = _windows(data, starts, 4 * feature.length).view("<f4")
            else:
                are_numbers, arrays[name] = _read_varints(data, starts, sizes, feature.length)
                fits &= are_numbers
        return fits, arrays

    def _take_order_of(self, record: bytes) -> bool:
        """Expects the features in the order of a record from now on -> whether that is another one."""
        try:
            order = tuple(decode_example(record))
        except InputError:
            return False
        if order == self.order or sorted(order) != sorted(self.features):
            return False
        self.order = order
        return True

    def _decode_one_by_one(self, records: Sequence[bytes], names: Sequence[str]) -> Arrays:
        rows = [_decode_readably(record, name, self.features.values()) for record, name in zip(records, names)]
        arrays: Arrays = {}
        for name, feature in self.features.items():
            values = [row[name] for row in rows]
            arrays[name] = np.array(values, np.float32) if feature.dtype == "float32" else np.array(values, np.int32)
        return arrays


def _decode_readably(record: bytes, name: str, features: Iterable[Feature]) -> dict[str, list[int] | list[float]]:
    """The features of a record, whatever its layout. Raises RecordError, which calls it by `name`, as `decode` does."""

    def unfit(what: str) -> RecordError:
        return RecordError(what, record=name, way_out="generate the dataset again")

    try:
        found = decode_example(record)
    except InputError as error:
        raise unfit("no tf.train.Example") from error
    for feature in features:
        if feature.name not in found:
            raise unfit(f"has no {feature.name}")
        values = found[feature.name]
        if len(values) != feature.length:
            raise unfit(f"{feature.name} has {len(values)} values, expected {feature.length}")
        kind = float if feature.dtype == "float32" else int
        for value in values:
            if not isinstance(value, kind):
                raise unfit(f"{feature.name} holds {value}, expected {feature.dtype}")
            if kind is int and not 0 <= value < 1 << 31:
                raise unfit(f"{feature.name} holds {value}, expected 0 to {(1 << 31) - 1}")
    return found


class _Entry:
    """The bytes of a feature in an example: its heads by the size of the values, which is all they depend on."""

    def __init__(self, feature: Feature):
        """Of a feature whose values are floats, or varints of up to LONGEST_VARINT bytes."""
        length = feature.length
        if feature.dtype == "float32":
            tag, sizes = FEATURE_FLOAT_LIST, range(4 * length, 4 * length + 1)
        else:
            tag, sizes = FEATURE_INT64_LIST, range(length, LONGEST_VARINT * length + 1)
        heads = [entry_head(feature.name, tag, size) for size in sizes]
        self.width = -(-max(map(len, heads)) // WORD) * WORD
        self.longest = self.width + sizes[-1]
        self.sizes = np.array(sizes)
        self.head_sizes = np.fromiter(map(len, heads), np.int64)
        self.heads = self._to_words(heads)
        self.masks = self._to_words([b"\xff" * len(head) for head in heads])
        # What a head begins with: a tag, and the length of all that follows. Longer with every size.
        self.lengths, _ = _read_lengths(self.heads.ravel().view(np.uint8), np.arange(len(heads)) * self.width)

    def find(self, data: Bytes, at: Places) -> tuple[Facts, Places, Places]:
        """Of places: whether the feature's entry stands there, and where its values begin and end."""
        lengths, _ = _read_lengths(data, at)
        row = np.minimum(np.searchsorted(self.lengths, lengths), len(self.lengths) - 1)
        differing = (_windows(data, at, self.width).view(np.uint64) ^ self.heads[row]) & self.masks[row]
        start = at + self.head_sizes[row]
        return np.bitwise_or.reduce(differing, axis=1) == 0, start, start + self.sizes[row]

    def _to_words(self, rows: list[bytes]) -> NDArray[np.uint64]:
        return np.frombuffer(b"".join(row.ljust(self.width, b"\0") for row in rows), np.uint64).reshape(len(rows), -1)


def _windows(data: Bytes, starts: Places, width: int) -> Bytes:
    """The bytes from each of n places on: uint8 [n, width]."""
    windows = np.ndarray(len(data) - width + 1, f"V{width}", data, strides=(1,))  # they overlap
    return windows[starts].view(np.uint8).reshape(len(starts), width)


def _read_lengths(data: Bytes, at: Places) -> tuple[Places, Places]:
    """The lengths that stand behind the tags at n places, and where their varints end; -1 where one is too long."""
    lengths = np.zeros_like(at)
    has_more = np.ones(len(at), np.bool_)
    for shift in range(0, 7 * LONGEST_VARINT, 7):
        at = at + has_more
        part = data[at]
        lengths += ((part & 127) * has_more).astype(np.int64) << shift
        has_more = has_more & (part >= 128)
        if not has_more.any():
            break
    lengths[has_more] = -1
    return lengths, at + 1


def _read_varints(data: Bytes, starts: Places, sizes: Places, length: int) -> tuple[Facts, NDArray[np.int32]]:
    """Of n lists of varints: which are `length` numbers of up to LONGEST_VARINT bytes, bool [n]; those, [n, length]."""
    width = int(sizes.max(initial=length))
    parts = _windows(data, starts, width)
    if width == length and parts.max(initial=0) < 128:
        return np.ones(len(starts), np.bool_), parts.astype(np.int32)
    is_inside = np.arange(width, dtype=np.int32) < sizes.astype(np.int32)[:, None]
    parts *= is_inside
    is_end = (parts < 128) & is_inside
    fits = (np.count_nonzero(is_end, axis=1) == length) & is_end[np.arange(len(starts)), sizes - 1]
    parts[~fits], is_end[~fits] = 0, np.arange(width) < length  # as many numbers, which mean nothing
    flat, ends = parts.ravel(), np.flatnonzero(is_end)
    # From the last part of a number, which has its highest bits, to the first. Before a list stands an end or a 0.
    numbers = flat[ends].astype(np.int32)
    is_part = np.ones(len(ends), np.bool_)
    for back in range(1, LONGEST_VARINT):
        part = flat[ends - back]
        is_part &= part >= 128
        if not is_part.any():
            return fits, numbers.reshape(-1, length)
        numbers <<= is_part * np.uint8(7)
        numbers |= (part & 127) * is_part
    is_too_long = is_part & (flat[ends - LONGEST_VARINT] >= 128)
    return fits & ~is_too_long.reshape(-1, length).any(axis=1), numbers.reshape(-1, length)
