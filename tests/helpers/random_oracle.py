"""The random bits of `model/bert/randomness.py`, one number at a time."""


def mix(x: int) -> int:
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def oracle_key(random_seed: int, *numbers: int) -> tuple[int, int]:
    first, second = random_seed % 2**32, random_seed >> 32
    for number in numbers:
        first, second = mix(first ^ mix(number)), mix((second + mix((number + 0x9E3779B9) % 2**32)) % 2**32)
    return first, second


def oracle_bits(key: tuple[int, int], place: int, block: int = 0) -> int:
    return mix(mix((place + key[0]) % 2**32) ^ key[1] ^ mix(block))
