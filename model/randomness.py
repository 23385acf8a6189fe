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


def random_bits(key: Key, shape: tuple[int, ...], first_place: Tensor | int = 0) -> Tensor:
    """Random uint32 of a shape with fewer than 2^31 places; each depends on the key and its place alone.

    Places are counted row by row, from `first_place` (modulo 2^32) on: a part of a tensor has the bits of the whole.
    """
    size = 1
    for length in shape:
        size *= length
    places = ops.reshape(ops.cast(ops.arange(size, dtype="int32"), "uint32"), shape)
    return _mix(ops.bitwise_xor(_mix(places + (key[0] + ops.cast(first_place, "uint32"))), key[1]))


def random_below(bits: Tensor, n: int) -> Tensor:
    """Random uint32 -> int32 from 0 to `n - 1`, of the same shape, for n up to 2^31.

    It is `bits * n >> 32`, from products of halves, as no device has 64 bits everywhere. No number is likelier than
    another by more than n / 2^32 of its share.
    """
    high, low = _shifted(bits, 16), _low_half(bits)
    n_high, n_low = _constant(n >> 16), _constant(n & 0xFFFF)
    upper, lower = high * n_low, low * n_high
    carry = _shifted(_shifted(low * n_low, 16) + _low_half(upper) + _low_half(lower), 16)
    return ops.cast(high * n_high + _shifted(upper, 16) + _shifted(lower, 16) + carry, "int32")


def _mix(x: Tensor) -> Tensor:
    """A bijection of uint32 in which each bit of the result depends on each bit of `x`.

    Source of the constants: Chris Wellons, hash-prospector ("lowbias32").
    """
    x = _xor_shifted(x, 16) * _constant(0x7FEB352D)
    x = _xor_shifted(x, 15) * _constant(0x846CA68B)
    return _xor_shifted(x, 16)


def _xor_shifted(x: Tensor, places: int) -> Tensor:
    return ops.bitwise_xor(x, _shifted(x, places))


def _shifted(x: Tensor, places: int) -> Tensor:
    return ops.right_shift(x, _constant(places))


def _low_half(x: Tensor) -> Tensor:
    return ops.bitwise_and(x, _constant(0xFFFF))


def _constant(value: int) -> Tensor:
    return ops.convert_to_tensor(value, dtype="uint32")
