"""Instances to serialised `tf.train.Example`s, many at a time, without TensorFlow.

The bytes equal those of `SerializeToString(deterministic=True)`: map entries in the order of their keys, packed
lists. An example is a row of pieces, and a batch is made column by column: numpy encodes a column of values for all
rows at once; what stands before them (tags, names, lengths) depends on their size only, and is made once per size.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.schema import Feature
from maskmill.tokenizer.errors import InputError

# Protocol buffer tags, (field number << 3) | wire type, wire type 2 being a length and so many bytes.
EXAMPLE_FEATURES = FEATURES_FEATURE = ENTRY_KEY = LIST_VALUE = 1 << 3 | 2
ENTRY_VALUE = 2 << 3 | 2
FEATURE_FLOAT_LIST = 2 << 3 | 2
FEATURE_INT64_LIST = 3 << 3 | 2


class ExampleEncoder:
    """Encodes struct-of-arrays instances as `tf.train.Example`s."""

    def __init__(self, features: Iterable[Feature]):
        """`features` in the order of their names."""
        self.features = list(features)

    def encode(self, instances: Mapping[str, NDArray[np.generic]]) -> list[bytes]:
        """Instances to their serialised examples.

        Args:
            instances: for each feature its values, [n, feature.length]; integers are at least 0 and below 2**28.

        Returns:
            n serialised examples.
        """

        def is_fixed(feature: Feature) -> bool:
            return feature.dtype == "float32" or bool(instances[feature.name].max(initial=0) < 128)

        columns: list[list[bytes]] = []  # side by side they are the examples
        for fixed, neighbours in groupby(self.features, is_fixed):
            if fixed:
                columns.append(_split_rows(np.hstack([_encode_fixed(f, instances[f.name]) for f in neighbours])))
            else:
                for feature in neighbours:
                    values = _encode_varints(instances[feature.name])
                    columns += [entry_head(feature.name, FEATURE_INT64_LIST, len(row)) for row in values], values
        sizes = map(sum, zip(*(map(len, column) for column in columns)))
        return list(map(b"".join, zip([_head(EXAMPLE_FEATURES, size) for size in sizes], *columns)))


def _encode_fixed(feature: Feature, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map entries as long in one row as in the next, floats or integers below 128: uint8 [n, bytes of an entry]."""
    if feature.dtype == "float32":
        tag, data = FEATURE_FLOAT_LIST, np.ascontiguousarray(values, "<f4").view(np.uint8)
    else:
        tag, data = FEATURE_INT64_LIST, values.astype(np.uint8)
    head = np.frombuffer(entry_head(feature.name, tag, data.shape[1]), np.uint8)
    return np.hstack([np.broadcast_to(head, (len(data), len(head))), data])


def _split_rows(data: NDArray[np.uint8]) -> list[bytes]:
    rows: list[bytes] = np.ascontiguousarray(data).view(f"V{data.shape[1]}")[:, 0].tolist()  # 4 times a slice's speed
    return rows


def _encode_varints(values: NDArray[np.generic]) -> list[bytes]:
    """Each row's values as varints: seven bits a byte, the lowest first, the top bit set where more follow."""
    assert values.max(initial=0) < 1 << 28  # four bytes hold it
    encoded = np.array(values, "<u4", order="C")
    for top_bit in (1 << 7, 1 << 15, 1 << 23):
        has_more = encoded >= top_bit
        if not has_more.any():
            break
        encoded += encoded & np.uint32((1 << 32) - top_bit)  # the bits from here on move up by one
        encoded |= has_more * np.uint32(top_bit)
    data = encoded.view(np.uint8)  # [n, 4 * k]
    is_present = data != 0  # a varint has a byte 0 only if it is 0, which is one byte
    is_present[:, ::4] = True
    kept = np.flatnonzero(is_present)
    packed = data.ravel().take(kept).tobytes()
    ends = np.searchsorted(kept, np.arange(len(data) + 1) * data.shape[1]).tolist()
    return [packed[start:end] for start, end in pairwise(ends)]


@cache
def entry_head(name: str, tag: int, size: int) -> bytes:
    """What stands before values of so many bytes in `{key: name, value: {int64_list or float_list: {value: ...}}}`.

    `tag` is FEATURE_INT64_LIST or FEATURE_FLOAT_LIST.
    """
    head = b""
    for level in (LIST_VALUE, tag, ENTRY_VALUE):
        head = _head(level, len(head) + size) + head
    head = _head(ENTRY_KEY, len(name)) + name.encode() + head
    return _head(FEATURES_FEATURE, len(head) + size) + head


@cache
def _head(tag: int, size: int) -> bytes:
    """A tag and a length as varint."""
    head = [tag]
    while size >= 128:
        head.append(size & 127 | 128)
        size >>= 7
    return bytes([*head, size])


def decode_example(data: bytes) -> dict[str, list[int] | list[float]]:
    """A serialised `tf.train.Example` to its features in the order of the bytes, whoever wrote it.

    Raises InputError when the bytes are no such message. `decoding.ExampleDecoder` gives the same for many at a time.
    """
    try:
        features: dict[str, list[int] | list[float]] = {}
        for _, message in _read_fields(data):
            for _, entry in _read_fields(message):
                parts = dict(_read_fields(entry))
                features[parts[1].decode()] = _decode_feature(parts[2])
        return features
    except (IndexError, KeyError, ValueError) as error:
        raise InputError("a record is no tf.train.Example", expected="BERT pre-training TFRecords") from error


def _decode_feature(message: bytes) -> list[int] | list[float]:
    for kind, values in _read_fields(message):
        if kind == FEATURE_FLOAT_LIST >> 3:
            return [float(value) for _, part in _read_fields(values) for value in np.frombuffer(part, "<f4")]
        if kind == FEATURE_INT64_LIST >> 3:
            numbers = (number for _, part in _read_fields(values) for number in _read_varints(part))
            return [number - (number >> 63 << 64) for number in numbers]  # the two's complement of 64 bits
    return []


def _read_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message as (number, content); an unpacked number comes as the bytes of its varint."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        if tag & 7 == 2:
            length, at = _read_varint(data, at)
            end = at + length
        elif tag & 7 == 5:
            end = at + 4
        elif tag & 7 == 0:
            end = _read_varint(data, at)[1]
        else:
            raise ValueError(f"wire type {tag & 7}")
        if end > len(data):
            raise ValueError("cut off")
        yield tag >> 3, data[at:end]
        at = end


def _read_varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
