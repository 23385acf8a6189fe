"""Random bits equal a readable oracle, on whichever backend runs, and look random however they are looked at.

tests/model/pretraining/test_dynamic_masking.py runs this file on JAX, too.
"""

import keras
import numpy as np
import pytest
from keras import ops
from random_oracle import oracle_bits, oracle_key

from maskmill.model.bert.randomness import fold_in, key_of, places_of, random_below, random_bits

EDGES = [0, 1, 2, 0xFFFF, 0x10000, 0x10001, 0x7FFFFFFF, 0x80000000, 0xFFFEFFFF, 0xFFFF0000, 0xFFFFFFFE, 0xFFFFFFFF]


def key_for(random_seed: int, *numbers: int):
    key = key_of(random_seed)
    for number in numbers:
        key = fold_in(key, number)
    return key


def bits_for(key, *shape: int, **options) -> np.ndarray:
    return ops.convert_to_numpy(random_bits(key, shape, **options))


def test_bits_are_these_and_no_others():
    """Another hash would be another dropout and other masks in every training."""
    assert bits_for(key_for(12345, 7, 1), 2, 3).tolist() == [
        [3764764221, 3161818773, 1025620426],
        [2308178242, 2049070471, 1763528251],
    ]


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1, 2**32, 2**63 - 1])
@pytest.mark.parametrize("numbers", [(), (0,), (2**31 - 1, 3), (5, 0, 2)])
def test_bits_equal_the_oracle(seed, numbers):
    key = oracle_key(seed, *numbers)
    bits = bits_for(key_for(seed, *numbers), 3, 4, 5)
    assert bits.dtype == np.uint32
    assert bits.ravel().tolist() == [oracle_bits(key, place) for place in range(60)]


@pytest.mark.parametrize("first_row", [0, 1, 3, 2**31 // 7, 2**32 // 7 + 1])
def test_a_part_has_the_bits_of_the_whole(first_row):
    first_place = first_row * 7 % 2**32
    key = oracle_key(1, 2)
    expected = [oracle_bits(key, (first_place + place) % 2**32) for place in range(14)]
    first_places = [ops.convert_to_tensor(np.uint32(first_place))]
    if first_place < 2**31:
        first_places.append(first_place)
    for given in first_places:
        assert bits_for(key_for(1, 2), 2, 7, first_place=given).ravel().tolist() == expected


@pytest.mark.parametrize("block_size", [20, 24, 39, 40, 59, 60, 61, 2**32])
def test_places_are_counted_row_by_row_in_blocks_of_whole_rows(block_size):
    places, block = places_of((3, 4, 5), block_size)
    rows = block_size // 20  # in a block
    numbers = np.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(np.broadcast_to(places, (3, 4, 5)), numbers % (rows * 20))
    if block_size >= 60:
        assert block is None
    else:
        np.testing.assert_array_equal(np.broadcast_to(block, (3, 4, 5)), numbers // (rows * 20))


@pytest.mark.parametrize("rows", [683, 3000])  # 2^31 places are in the last of 683, 2^32 in row 1365
def test_tensors_of_2_to_the_31_places_and_more_have_bits_of_their_own(rows):
    """Compiled, so that only the bits that are looked at are computed."""
    row_size, here, shape = 12 * 512 * 512, np.s_[682::683, 11, 511, 508:], (rows, 12, 512, 512)

    def bits_here(key):
        return random_bits(key, shape)[here]

    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(bits_here)
    else:
        import tensorflow as tf

        run = tf.function(bits_here, jit_compile=True, autograph=False)
    rows_of_block = 2**32 // row_size
    expected = [
        [
            oracle_bits(oracle_key(1, 2), (row % rows_of_block + 1) * row_size - 4 + column, row // rows_of_block)
            for column in range(4)
        ]
        for row in range(682, rows, 683)
    ]
    assert ops.convert_to_numpy(run(key_for(1, 2))).tolist() == expected


@pytest.mark.parametrize("n", [1, 2, 3, 10, 30_522, 65_535, 65_536, 65_537, 250_002, 2**31 - 1, 2**31])
def test_numbers_below_n_are_the_high_half_of_a_product(n):
    bits = np.array([*EDGES, *bits_for(key_of(n), 100).tolist()], np.uint32)
    numbers = ops.convert_to_numpy(random_below(ops.convert_to_tensor(bits), n))
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [int(bit) * n >> 32 for bit in bits]


def standard_normal(ones: np.ndarray, draws: int) -> np.ndarray:
    """How far, in standard deviations, so many ones of so many fair draws are from a half."""
    return (ones - draws / 2) / (draws**0.5 / 2)


def ones_by_bit(words: np.ndarray) -> np.ndarray:
    """In how many of the words each of the 32 bits is set."""
    return np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1).sum(axis=0, dtype=np.int64)


@pytest.mark.parametrize("key", [(0,), (12345, 0), (12345, 1, 3)])
def test_each_bit_is_set_half_of_the_time_and_none_tells_of_a_neighbour(key):
    bits = bits_for(key_for(*key), 1 << 20)
    assert np.abs(standard_normal(ones_by_bit(bits), bits.size)).max() < 5
    for distance in (1, 2, 16, 128, 512, 768):
        differing = bits[distance:] ^ bits[:-distance]
        assert np.abs(standard_normal(ones_by_bit(differing), differing.size)).max() < 5, distance


@pytest.mark.parametrize("key", [(0,), (12345, 0), (12345, 1, 3)])
def test_pairs_of_neighbours_are_spread_evenly(key):
    high = bits_for(key_for(*key), 1 << 20) >> np.uint32(27)
    pairs = np.bincount(high[1:] * 32 + high[:-1], minlength=1024)
    expected = pairs.sum() / 1024
    assert 820 < ((pairs - expected) ** 2 / expected).sum() < 1240  # chi-square, 1023 degrees of freedom: sd 45


def test_keys_of_neighbouring_seeds_steps_and_layers_share_nothing():
    keys = [(seed, step, layer) for seed in (0, 1) for step in range(8) for layer in range(8)]
    draws = np.stack([bits_for(key_for(*key), 4096) for key in keys])
    values = draws / 2**32 - 0.5
    correlations = np.corrcoef(values)[np.triu_indices(len(keys), 1)] * 4096**0.5  # about standard normal
    assert np.abs(correlations).max() < 6
    assert correlations.std() == pytest.approx(1, abs=0.04)
    # Nor is one stream another one, begun elsewhere: of 2^19 draws of 32 bits some 32 are found twice by chance.
    assert draws.size - len(np.unique(draws)) == pytest.approx(32, abs=5 * 32**0.5)


@pytest.mark.parametrize("n", [10, 1000, 30_522])
def test_numbers_below_n_are_equally_likely(n):
    numbers = ops.convert_to_numpy(random_below(random_bits(key_for(12345, 1), (1 << 20,)), n))
    counts = np.bincount(numbers, minlength=n)
    assert len(counts) == n
    expected = numbers.size / n
    deviation = ((counts - expected) ** 2 / expected).sum() - (n - 1)
    assert abs(deviation) < 5 * (2 * (n - 1)) ** 0.5
