"""The same seed and key give the same numbers, for ever."""

from maskmill.pipeline.instances.seeding import hash_fraction, rng_for

GOLDEN_RANDOM = [0.6326637634094, 0.7778173673449009, 0.17832648984868937]
GOLDEN_INTEGERS = [100649918438787, 98703178119714, 131676261094755]
GOLDEN_BINOMIAL = [44, 47, 58, 55, 43]
GOLDEN_PERMUTATION = [2, 7, 4, 1, 0, 6, 5, 3]
GOLDEN_FRACTION = 0.019755266879310385


def test_numbers_are_those_of_the_first_release():
    """A failure means that a new numpy or a change of ours gives other datasets for the same seed."""
    rng = rng_for(12345, "pairs", 3, 0)
    assert rng.random(3).tolist() == GOLDEN_RANDOM
    assert rng.integers(1 << 47, size=3).tolist() == GOLDEN_INTEGERS
    assert rng.binomial(100, 0.5, 5).tolist() == GOLDEN_BINOMIAL
    assert rng.permutation(8).tolist() == GOLDEN_PERMUTATION
    assert hash_fraction(12345, "pool", b"digest") == GOLDEN_FRACTION


def test_every_part_of_the_key_counts():
    keys = [(1, "pairs", 0, 0), (2, "pairs", 0, 0), (1, "masking", 0, 0), (1, "pairs", 1, 0), (1, "pairs", 0, 1)]
    assert len({rng_for(*key).random() for key in keys}) == len(keys)
    assert len({hash_fraction(*key) for key in keys}) == len(keys)
