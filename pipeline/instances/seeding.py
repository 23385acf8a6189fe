"""Random generators and hashes that depend on what is made, never on who makes it or when."""

import hashlib

import numpy as np


def rng_for(random_seed: int, *key: str | int) -> np.random.Generator:
    """The random generator of one piece of work, such as `rng_for(12345, "pairs", pool, copy)`.

    The same seed and key give the same numbers on every machine and runner; another key gives independent ones.
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(random_seed, key), "little")))


def hash_fraction(random_seed: int, *key: str | int | bytes) -> float:
    """A number in [0, 1) that is a function of seed and key, uniform over keys."""
    return int.from_bytes(_digest(random_seed, key)[:8], "little") / 2**64


def _digest(random_seed: int, key: tuple[str | int | bytes, ...]) -> bytes:
    return hashlib.blake2b(repr((random_seed, *key)).encode(), digest_size=16).digest()
