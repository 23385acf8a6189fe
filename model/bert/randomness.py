"""Random numbers that are a function of what they are for: the same on every backend, device and number of devices.

A key names the use (seed, step, layer); the bits are a hash of the key and of the place in the tensor. So there is no
state to keep, any part can be made alone, and XLA makes them where they are used: a dropout reads no memory for them.
"""

import math
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
    """Random uint32 of a shape; each depends on the key and its place alone.

    Places are counted row by row, from `first_place` (modulo 2^32) on: a part of a tensor has the bits of the whole.
    Where there are more than 2^32 they are counted in blocks, see `places_of`.
    """
    places, block = places_of(shape)
    bits = _mix(places + (key[0] + ops.cast(first_place, "uint32")))
    return _mix(ops.bitwise_xor(bits, key[1] if block is None else ops.bitwise_xor(key[1], _mix(block))))


def places_of(shape: tuple[int, ...], block_size: int = 1 << 32) -> tuple[Tensor, Tensor | None]:
    """The number of each place in its block, and the number of the block: uint32, which broadcast to the shape.

    A block has as many whole rows (all that is at one index of the first axis) as fit into `block_size` places. Places
    are counted row by row within each; the second is None where one block holds all. A row has fewer than 2^31 places.
    """
    rows, row_size = shape[0], math.prod(shape[1:])
    numbers, rows_of_block = ops.arange(rows, dtype="int32"), block_size // max(row_size, 1)
    of_row = (rows, *(1 for _ in shape[1:]))
    block = None
    if rows > rows_of_block:
        block = ops.reshape(ops.cast(numbers // rows_of_block, "uint32"), of_row)
        numbers = numbers % rows_of_block
    before = ops.reshape(ops.cast(numbers, "uint32") * _constant(row_size), of_row)  # places of the rows before
    return before + ops.reshape(ops.cast(ops.arange(row_size, dtype="int32"), "uint32"), (1, *shape[1:])), block


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
