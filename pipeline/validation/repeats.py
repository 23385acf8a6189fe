"""Examples that occur more than once in a dataset, found in bounded memory.

Of each example a hash of its text, one of its masks, and how many bits its masks were drawn with are kept, 24 bytes,
in a file for each shard, sorted by text. Then the files are merged, a range of texts at a time.

The same text may well occur twice: real corpora hold duplicate documents, and short sentences come again. Then its
masks were drawn twice, and whether they may be equal by chance is a matter of numbers: the masks of a full example of
128 tokens have 80 bits, those of "yes ." two. So an example that is there twice is an error where chance cannot have
made it, as an example that was written twice is; else it is only counted.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.validation.batch import ExampleBatch

# Of equal examples, one in e^30 times is made by chance.
ALARM = 30.0  # nats
KINDS_BITS = 0.5  # a masked token is shown in the same way twice with a chance of 0.65, which is 0.6 bits
EVAL = -1  # in place of a copy
RANGE_EXAMPLES = 1 << 21  # merged at a time: 100 MB
KEY = np.dtype([("text", "<u8"), ("masks", "<u8"), ("record", "<u4"), ("bits", "<f4")])

Keys = NDArray[np.void]


@dataclass(frozen=True)
class Repeat:
    """An example that occurs more than once: the places of two of them, as (number of the shard, record from 1)."""

    first: tuple[int, int]
    second: tuple[int, int]


@dataclass
class Repeats:
    """What occurs more than once."""

    errors: list[Repeat] = field(default_factory=list)  # the first that chance cannot have made
    unnamed: Counter[int] = field(default_factory=Counter)  # number of the shard -> errors that are not among those
    by_chance: int = 0  # pairs of equal examples that chance may have made, each by itself
    first_by_chance: Repeat | None = None
    expected: float = 0.0  # as many as those it was to make, on average
    held_out: int = 0  # examples to evaluate on whose text, but for the masks, is that of one to train on
    shared: int = 0  # examples to train on whose text is that of another one in the same copy

    @property
    def too_many(self) -> bool:
        """Whether there are more pairs than chance makes, of which none alone is surprising."""
        # Pairs of one text depend on each other: so it is twice the mean that Poisson's tail is taken of.
        mean, pairs = 2 * self.expected, self.by_chance
        return pairs > mean and (pairs * math.log(pairs / mean) - pairs + mean if mean else math.inf) > ALARM


def make_keys(batch: ExampleBatch, numbers: NDArray[np.int64]) -> Keys:
    """What is kept of examples that keep all rules, which are the records of these numbers: [n]."""
    keys = np.zeros(len(batch), KEY)
    label = batch.arrays["next_sentence_labels"][:, 0].astype(np.uint64)
    keys["text"] = _mix(_hash(batch.original, 0) + label)
    shown = np.take_along_axis(batch.input_ids, batch.positions, axis=1)  # [CLS] where there is no prediction
    keys["masks"] = _mix(_hash(shown, 1) + _hash(batch.positions, 2))
    keys["record"] = numbers
    keys["bits"] = _count_bits(batch)
    return keys


def _count_bits(batch: ExampleBatch) -> NDArray[np.float32]:
    """A lower bound of the bits that the masks are drawn with: -log2 of the chance that two draws are equal: [n]."""
    if batch.standard.config.whole_word_mask:
        # Words of one piece always fit: a choice is at least one among those.
        is_continued = np.zeros_like(batch.starts)
        is_continued[:, :-1] = batch.candidates[:, 1:] & ~batch.starts[:, 1:]
        choices = np.count_nonzero(batch.starts & ~is_continued, axis=1)
        chosen = np.count_nonzero(batch.starts & batch.is_chosen, axis=1)
    else:
        choices, chosen = batch.lengths - batch.standard.num_specials, batch.counts
    chosen_of = np.minimum(chosen, choices)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log2(np.arange(1, batch.input_ids.shape[1] + 1)))])
    ways = log_factorials[choices] - log_factorials[chosen_of] - log_factorials[choices - chosen_of]
    bits: NDArray[np.float32] = (ways + KINDS_BITS * batch.counts).astype(np.float32)
    return bits


def _hash(values: NDArray[np.generic], salt: int) -> NDArray[np.uint64]:
    """A number for each row; different rows have the same with a chance of about 2^-60: [n]."""
    hashed: NDArray[np.uint64] = values.astype(np.uint64) @ _weights(salt, values.shape[1])
    return hashed


@cache
def _weights(salt: int, number: int) -> NDArray[np.uint64]:
    weights: NDArray[np.uint64] = np.random.PCG64(salt).random_raw(number) | np.uint64(1)
    return weights


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads numbers over all of 64 bits, one to one (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def save_keys(path: str, keys: Sequence[Keys]) -> None:
    """Writes what is kept of a shard, sorted by text."""
    together = np.concatenate([np.empty(0, KEY), *keys])
    np.save(path, together[np.argsort(together["text"], kind="stable")])


def find_repeats(paths: Sequence[str | None], copies: Sequence[int], most: int) -> Repeats:
    """The examples that occur more than once in shards.

    Args:
        paths: for each shard what `save_keys` wrote; None where there is nothing.
        copies: for each shard its copy; EVAL where it is one to evaluate on.
        most: errors that are named.
    """
    repeats = Repeats()
    total = sum(len(np.load(path, mmap_mode="r")) for path in paths if path)
    for keys, shards in _merge(paths, -(-total // RANGE_EXAMPLES)):
        _find_in_range(keys, shards, np.array(copies), most, repeats)
    return repeats


def _merge(paths: Sequence[str | None], ranges: int) -> Iterator[tuple[Keys, NDArray[np.int32]]]:
    """The keys of all shards, a range of texts at a time, sorted by text, with the numbers of their shards."""
    for number in range(ranges):
        low, high = ((1 << 64) * number // ranges, (1 << 64) * (number + 1) // ranges - 1)
        parts, shards = [], []
        for shard, path in enumerate(paths):
            if path:
                stored = np.load(path, mmap_mode="r")
                start = np.searchsorted(stored["text"], np.uint64(low), "left")
                end = np.searchsorted(stored["text"], np.uint64(high), "right")
                parts.append(np.array(stored[start:end]))
                shards.append(np.full(end - start, shard, np.int32))
        keys, of = np.concatenate(parts), np.concatenate(shards)
        order = np.argsort(keys["text"], kind="stable")
        yield keys[order], of[order]


def _find_in_range(
    keys: Keys, shards: NDArray[np.int32], copies: NDArray[np.int64], most: int, repeats: Repeats
) -> None:
    text = keys["text"]
    is_repeated = np.zeros(len(keys), np.bool_)  # its text, that is
    same = text[1:] == text[:-1]
    is_repeated[1:] |= same
    is_repeated[:-1] |= same
    places = np.flatnonzero(is_repeated)
    places = places[np.lexsort((keys["masks"][places], text[places]))]
    if not len(places):
        return
    keys, shards = keys[places], shards[places]
    _, group = np.unique(keys["text"], return_inverse=True)
    sizes = np.bincount(group)
    copy = copies[shards]
    in_eval = np.bincount(group, copy == EVAL)
    repeats.held_out += int(in_eval[in_eval < sizes].sum())
    _, in_copy = np.unique(np.stack([group, copy])[:, copy != EVAL], axis=1, return_counts=True)
    repeats.shared += int(in_copy[in_copy > 1].sum())

    pairs = sizes * (sizes - 1) / 2
    bits = np.full(len(sizes), np.inf)
    np.minimum.at(bits, group, keys["bits"])  # equal, but for what rounding makes
    chance = pairs * 2.0**-bits
    is_surprising = chance < math.exp(-ALARM) / max(1, len(sizes))
    repeats.expected += float(chance[~is_surprising].sum())

    starts_run = np.ones(len(keys), np.bool_)
    starts_run[1:] = (keys["text"][1:] != keys["text"][:-1]) | (keys["masks"][1:] != keys["masks"][:-1])
    run_starts = np.flatnonzero(starts_run)
    run_sizes = np.diff(np.append(run_starts, len(keys)))
    of_chance = ~is_surprising[group[run_starts]]
    repeats.by_chance += int((run_sizes * (run_sizes - 1) // 2)[of_chance].sum())
    for start in run_starts[of_chance & (run_sizes > 1)][:1].tolist():
        pair = Repeat(_place(keys, shards, start), _place(keys, shards, start + 1))
        repeats.first_by_chance = repeats.first_by_chance or pair
    for start, size in zip(run_starts[~of_chance].tolist(), run_sizes[~of_chance].tolist()):
        for second in range(start + 1, start + size):
            if len(repeats.errors) < most:
                repeats.errors.append(Repeat(_place(keys, shards, start), _place(keys, shards, second)))
            else:
                repeats.unnamed[int(shards[second])] += 1


def _place(keys: Keys, shards: NDArray[np.int32], at: int) -> tuple[int, int]:
    return int(shards[at]), int(keys["record"][at])
