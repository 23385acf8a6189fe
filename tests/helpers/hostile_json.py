"""JSON files of ours as somebody could damage them, by chance or on purpose."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

EXTREMES: list[Any] = [
    None, True, 0, -1, 1, 10**9, 10**12, 10**18, 10**30, 10**400, 1e308, -0.5, "", "x", "x" * 10_000, "0", "NaN",
    "../../etc/passwd", "/etc/passwd", "a\nb", "\x1b[31m", "\ud800", [], {}, [[]], [{}], {"a": 1}, ["x"] * 1000,
]  # fmt: skip
RAW = [b"NaN", b"-Infinity", b"1e999", b"1" * 5000, b"[" * 200_000, b"[" * 500 + b"]" * 500]
_PLACE = "@place@"


def mutations(content: bytes, seed: str, count: int, seal: Callable[[Any], str] | None = None) -> Iterator[bytes]:
    """So many variants of a file; with `seal`, most have a checksum that fits, as of one who means harm."""
    rng = random.Random(seed)
    for _ in range(count):
        yield _mutate(content, rng, seal)


def _mutate(content: bytes, rng: random.Random, seal: Callable[[Any], str] | None) -> bytes:
    place = rng.randrange(len(content))
    match rng.randrange(10):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + rng.randbytes(rng.choice([1, 2, 10])) + content[place + 1 :]
        case 2:
            return content[:place] + rng.choice(RAW) + content[place:]
        case 3:
            value = _put(json.loads(content), rng, _PLACE)
        case _:
            value = json.loads(content)
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                value = _put(value, rng, rng.choice(EXTREMES))
    if seal and isinstance(value, dict) and "\\ud800" not in json.dumps(value):
        value.pop("sha256", None)
        content = seal(value).encode()
    else:
        content = json.dumps(value).encode()
    return content.replace(f'"{_PLACE}"'.encode(), rng.choice(RAW))


def _put(value: Any, rng: random.Random, new: Any) -> Any:
    """The value with another one somewhere within it, or in its place, or without one of its members."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.02:
        return copy.deepcopy(new)
    key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
    value = copy.copy(value)
    if rng.random() < 0.05:
        del value[key]
    else:
        value[key] = _put(value[key], rng, new)
    return value
