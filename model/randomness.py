"""Random numbers that are a function of what they are for: the same on every backend, device and number of devices.

A key names the use (seed, step, layer); the bits are a hash of the key and of the place in the tensor. So there is no
state to keep, any part can be made alone, and XLA makes them where they are used: a dropout reads no memory for them.
"""

from typing import Any

from keras import ops

Tensor = Any  # of the backend in use
Key = Any  # uint32 [2]


def key_of(random_seed: int) -> Key:
    """The key of a training, from a seed of up to 64 bits."""
    return ops.convert_to_tensor([random_seed & 0xFFFFFFFF, random_seed >> 32 & 0xFFFFFFFF], dtype="uint32")


def fold_in(key: Key, number: Tensor | int) -> Key:
    """A key of its own for each `number` (an int32 scalar, or a Python int): a step, a layer."""
    number = ops.cast(number, "uint32")
    return ops.stack([_mix(ops.bitwise_xor(key[0], _mix(number))), _mix(key[1] + _mix(number + _constant(0x9E3779B9)))])


def random_bits(key: Key, shape: tuple[int, ...]) -> Tensor:
    """Random uint32 of a shape with fewer than 2^32 places; place i, counted row by row, depends on key and i alone."""
    size = 1
    for length in shape:
        size *= length
    places = ops.reshape(ops.cast(ops.arange(size, dtype="int32"), "uint32"), shape)
    return _mix(ops.bitwise_xor(_mix(places + key[0]), key[1]))


def _mix(x: Tensor) -> Tensor:
    """A bijection of uint32 in which each bit of the result depends on each bit of `x`.

    Source of the constants: Chris Wellons, hash-prospector ("lowbias32").
    """
    x = _xor_shifted(x, 16) * _constant(0x7FEB352D)
    x = _xor_shifted(x, 15) * _constant(0x846CA68B)
    return _xor_shifted(x, 16)


def _xor_shifted(x: Tensor, places: int) -> Tensor:
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(places)))


def _constant(value: int) -> Tensor:
    return ops.convert_to_tensor(value, dtype="uint32")
