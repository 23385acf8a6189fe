"""What the charts show, as numbers: pure functions of a dataset's statistics."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.analysis.stats import Histogram
from maskmill.tokenizer.vocab import Vocab

Floats = NDArray[np.floating[Any]]

CHANCE = 2.576  # standard deviations within which chance leaves 99 of 100
CLASSES = (0, 1, 2, 10, 100, 1_000, 10_000)  # of tokens by occurrences, each from its number on


def share(part: float, whole: float) -> float:
    """A part of a whole; 0 where there is nothing.

    >>> share(1, 4), share(0, 0)
    (0.25, 0.0)
    """
    return float(part) / float(whole) if whole else 0.0


def mean_of(histogram: Histogram) -> float:
    """The mean of what a histogram counts by its places.

    >>> mean_of(np.array([0, 1, 3]))
    1.75
    """
    return share(float(histogram @ np.arange(len(histogram))), int(histogram.sum()))


def attention_on_padding(lengths: Histogram) -> float:
    """The share of the pairs of positions that attention computes of which one or both are padding.

    >>> attention_on_padding(np.array([0, 0, 1, 0, 1]))  # two sequences of 2 and of 4 tokens
    0.375
    """
    longest = len(lengths) - 1
    pairs = float(lengths @ np.arange(len(lengths), dtype=np.float64) ** 2)
    return 1 - share(pairs, int(lengths.sum()) * longest**2)


def into_bins(histogram: Histogram, width: int) -> Histogram:
    """Counts of 0, 1, 2, ... to those of bins of `width` values that end with a multiple of it; 0 is in the first.

    >>> into_bins(np.array([1, 1, 1, 1, 1]), 2)
    array([3, 2])
    """
    bins = np.maximum(-(-np.arange(len(histogram)) // width) - 1, 0)
    return np.bincount(bins, histogram, minlength=int(bins[-1]) + 1).astype(np.int64)


def predicted_by_position(positions: Histogram, lengths: Histogram, width: int) -> Floats:
    """Of the tokens at `width` positions, the next `width`, and so on: the share that is to be predicted."""
    tokens = lengths.sum() - np.cumsum(lengths)[: len(positions)]  # sequences that reach a position
    starts = np.arange(0, len(positions), width)
    predicted, there = np.add.reduceat(positions, starts), np.add.reduceat(tokens, starts)
    return predicted / np.maximum(there, 1)


def rank_tokens(token_counts: Histogram, most: int = 160) -> tuple[Floats, Floats]:
    """Occurrences by rank, from the most frequent token on, at `most` ranks or fewer, even on a logarithmic scale.

    >>> rank_tokens(np.array([3, 0, 7]))
    (array([1., 2.]), array([7., 3.]))
    """
    counts = np.sort(token_counts[token_counts > 0])[::-1]
    if not len(counts):
        return np.ones(1), np.ones(1)
    ranks = np.unique(np.geomspace(1, len(counts), most).round().astype(np.int64))
    return ranks.astype(np.float64), counts[ranks - 1].astype(np.float64)


def count_classes(token_counts: Histogram) -> Histogram:
    """How many of the tokens occur as often as each of CLASSES says.

    >>> count_classes(np.array([0, 0, 1, 9, 10]))
    array([2, 1, 1, 1, 0, 0, 0])
    """
    classes = np.searchsorted(CLASSES, token_counts, side="right") - 1
    return np.bincount(classes, minlength=len(CLASSES))


def name_classes() -> list[str]:
    """What CLASSES are called.

    >>> name_classes()[:4]
    ['never', 'once', '2–9 times', '10–99 times']
    """
    ends = [f"{first:,}–{after - 1:,} times" for first, after in pairwise(CLASSES[2:])]
    return ["never", "once", *ends, f"{CLASSES[-1]:,} or more"]


def group_shards(values: Sequence[int] | Histogram, most: int = 120) -> tuple[Histogram, int]:
    """Sums over as many neighbouring shards as make `most` groups or fewer, and how many those are.

    >>> group_shards([1, 2, 3, 4, 5], most=3)
    (array([3, 7, 5]), 2)
    """
    numbers = np.array(values, np.int64)
    size = max(1, -(-len(numbers) // most))
    return np.add.reduceat(numbers, np.arange(0, len(numbers), size)), size


def chance_of_share(whole: float, examples: Histogram) -> Floats:
    """How far from the whole's share chance takes that of so many examples, but for one time in a hundred."""
    return CHANCE * np.sqrt(whole * (1 - whole) / np.maximum(examples, 1))


def kinds_of_tokens(vocab: Vocab) -> dict[str, list[int]]:
    """The ids of a vocabulary by what its tokens are; of those that text cannot have, all but `[UNK]` are reserved."""
    ordinary = set(vocab.ordinary_ids)
    kinds: dict[str, list[int]] = {name: [] for name in ("words", "pieces (##)", "single characters", "reserved [...]")}
    for id in range(len(vocab)):
        if id not in ordinary:
            name = "reserved [...]"
        elif len(vocab.text_of(id)) == 1:
            name = "single characters"
        else:
            name = "pieces (##)" if vocab.is_continuation[id] else "words"
        kinds[name].append(id)
    return kinds
