"""Instances to serialised `tf.train.Example`s, many at a time, without TensorFlow.

The bytes equal those of `SerializeToString(deterministic=True)`: map entries in the order of their keys, packed
lists. A record is laid out in a row of fixed width where every varint has room for its longest form; the bytes that
are really there are then picked out of all rows at once.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.schema import Feature
from tokenizer.errors import InputError

Bytes = NDArray[np.uint8]  # [n, width]
Present = NDArray[np.bool_]  # [n, width]: which of the bytes belong to the record

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
            instances: for each feature its values, [n, feature.length]; integers are at least 0 and below 2**31.

        Returns:
            n serialised examples.
        """
        entries = [_encode_entry(feature, instances[feature.name]) for feature in self.features]
        data, present = _with_length(EXAMPLE_FEATURES, *(np.concatenate(part, axis=1) for part in zip(*entries)))
        ends = np.cumsum(present.sum(axis=1))
        packed = data[present].tobytes()
        return [packed[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist())]


def _encode_entry(feature: Feature, values: NDArray[np.generic]) -> tuple[Bytes, Present]:
    """The map entry of one feature: `{key: name, value: {int64_list or float_list: {value: packed}}}`."""
    if feature.dtype == "float32":
        tag = FEATURE_FLOAT_LIST
        data = np.ascontiguousarray(values, "<f4").view(np.uint8)
        present = np.ones(data.shape, np.bool_)
    else:
        tag = FEATURE_INT64_LIST
        data, present = _encode_varints(values.astype(np.uint32))
    name = feature.name.encode()
    key = np.frombuffer(bytes([ENTRY_KEY, len(name)]) + name, np.uint8)
    data, present = _with_length(LIST_VALUE, data, present)
    data, present = _with_length(tag, data, present)
    data, present = _with_length(ENTRY_VALUE, data, present)
    data = np.concatenate([np.broadcast_to(key, (len(data), len(key))), data], axis=1)
    present = np.concatenate([np.ones((len(data), len(key)), np.bool_), present], axis=1)
    return _with_length(FEATURES_FEATURE, data, present)


def _with_length(tag: int, data: Bytes, present: Present) -> tuple[Bytes, Present]:
    """Puts a tag and the number of bytes present before each row."""
    length, length_present = _encode_varints(present.sum(axis=1, dtype=np.uint32)[:, None])
    tags = np.full((len(data), 1), tag, np.uint8)
    return (
        np.concatenate([tags, length, data], axis=1),
        np.concatenate([np.ones((len(data), 1), np.bool_), length_present, present], axis=1),
    )


def _encode_varints(values: NDArray[np.uint32]) -> tuple[Bytes, Present]:
    """Each value as a varint: seven bits a byte, the lowest first, the top bit set where more follow.

    Args:
        values: uint32 [n, k].

    Returns:
        data and present, each [n, k * bytes of the longest varint].
    """
    width = max(1, -(-int(values.max(initial=0)).bit_length() // 7))
    shifted = values[:, :, None] >> np.arange(0, 7 * width, 7, dtype=np.uint32)  # [n, k, width]
    has_more = shifted >= 128
    data = (shifted & 127 | has_more * np.uint32(128)).astype(np.uint8)
    present = shifted > 0
    present[:, :, 0] = True
    return data.reshape(len(values), -1), present.reshape(len(values), -1)


def decode_example(data: bytes) -> dict[str, list[int] | list[float]]:
    """A serialised `tf.train.Example` to its features, whoever wrote it.

    Raises InputError when the bytes are no such message.
    """
    try:
        features: dict[str, list[int] | list[float]] = {}
        for _, message in _read_fields(data):
            for _, entry in _read_fields(message):
                parts = dict(_read_fields(entry))
                features[parts[1].decode()] = _decode_feature(parts[2])
        return features
    except (IndexError, KeyError, ValueError) as error:
        raise InputError("a record is no tf.train.Example; expected BERT pre-training TFRecords") from error


def _decode_feature(message: bytes) -> list[int] | list[float]:
    for kind, values in _read_fields(message):
        if kind == FEATURE_FLOAT_LIST >> 3:
            return [float(value) for _, part in _read_fields(values) for value in np.frombuffer(part, "<f4")]
        if kind == FEATURE_INT64_LIST >> 3:
            return [value for _, part in _read_fields(values) for value in _read_varints(part)]
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
