"""The statistics by which two datasets are compared, and whether they agree in each but for chance and our repairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.analysis.significance import (
    Categories,
    Difference,
    assume_spread,
    compare_shares,
    estimate_spread,
)
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.tokenizer.vocab import UNK, Vocab

SIGNIFICANCE = 0.01  # the chance that a whole comparison finds a difference where there is none
# Effects (Cohen's w, halved) that matter; below, a difference may be certain, and is of no consequence. As a share that
# is a half in both: 0.01 is one of 50 % and 51 %.
SMALLEST_EFFECT = 0.01
# The words of two datasets also differ where some documents are held out, or a corpus was brought up to date.
SMALLEST_EFFECT_OF_WORDS = 0.05
# Where copies do not tell how much examples of a document have in common: several times what was measured on novels.
ASSUMED_DESIGN_EFFECT = 30.0
LEAST_FREEDOM = 4  # degrees of freedom that a spread must be estimated with to be believed
BINS = 16
FREQUENT_TOKENS = 100  # that are compared one by one
RANDOM_BINS = 20
LEAST_COUNT = 20  # categories that are rarer are counted as one

Verdict = Literal["same", "agrees", "negligible", "repair", "differs"]
SPECIAL = "special random words"
REPAIR = "random words are ordinary tokens, never special or unused ones"


@dataclass(frozen=True)
class Portrait:
    """A dataset as it is compared: all of it, and its replicates."""

    stats: DatasetStats
    strata: Sequence[Sequence[DatasetStats]] = ()  # parts that differ by chance alone; none where they are not known

    @property
    def tells_spread(self) -> bool:
        """Whether it has parts enough to say how far chance reaches."""
        return sum(len(stratum) - 1 for stratum in self.strata) >= LEAST_FREEDOM


@dataclass(frozen=True)
class Statistic:
    """Something that is counted by category."""

    name: str
    count: Callable[[DatasetStats], Categories]
    describe: Callable[[DatasetStats], str]  # its headline
    mean: Callable[[DatasetStats], tuple[float, float]] | None = (
        None  # with the standard deviation, of what is a number
    )
    smallest_effect: float = SMALLEST_EFFECT
    is_drawn_alone: bool = False  # each unit by itself, so that those of a document have nothing in common


@dataclass(frozen=True)
class ComparedStatistic:
    """The outcome of one statistic."""

    name: str
    a: str  # what A has, in short
    b: str
    difference: Difference | None  # None where there is nothing to compare
    mean_difference: float | None  # B's mean less A's, in standard deviations, of what is a number
    verdict: Verdict
    note: str = ""


def compare_portraits(a: Portrait, b: Portrait, vocab: Vocab | None) -> list[ComparedStatistic]:
    """What two datasets of the same lengths and vocabulary have in each statistic."""
    statistics = list_statistics(a.stats, b.stats, vocab)
    level = SIGNIFICANCE / len(statistics)
    return [_compare(statistic, a, b, level, vocab) for statistic in statistics]


def list_statistics(a: DatasetStats, b: DatasetStats, vocab: Vocab | None) -> list[Statistic]:
    """What is compared: of each example, of masking, of the words. What needs a vocabulary is left out without one."""
    statistics = [
        Statistic("random next", lambda stats: stats.labels.astype(float), lambda stats: _share(stats.labels, 1)),
        _histogram("length", "lengths", a, b),
        _histogram("length of A", "lengths_a", a, b),
        _histogram("length of B", "lengths_b", a, b),
        _histogram("predictions", "predictions", a, b),
        _histogram("masked positions", "positions", a, b),
        Statistic("masking kinds", lambda stats: stats.kinds.astype(float), _describe_kinds, is_drawn_alone=True),
        _words(a, b),
    ]
    if vocab:
        statistics += [_unknown(vocab), *_random_words(vocab)]
    return statistics


def _compare(statistic: Statistic, a: Portrait, b: Portrait, level: float, vocab: Vocab | None) -> ComparedStatistic:
    counts_a, counts_b = statistic.count(a.stats), statistic.count(b.stats)
    is_rare = counts_a + counts_b < LEAST_COUNT
    if is_rare.sum() > 1:
        rest = statistic.count
        statistic = replace(statistic, count=lambda stats: np.append(rest(stats)[~is_rare], rest(stats)[is_rare].sum()))
        counts_a, counts_b = statistic.count(a.stats), statistic.count(b.stats)
    mean_difference = None
    if statistic.mean:
        (mean_a, sd_a), (mean_b, sd_b) = statistic.mean(a.stats), statistic.mean(b.stats)
        sd = np.hypot(sd_a, sd_b) / np.sqrt(2)
        mean_difference = float((mean_b - mean_a) / sd) if sd else None
    difference = None
    verdict: Verdict = "same"
    note = ""
    if not np.array_equal(counts_a, counts_b):
        if not counts_a.sum() or not counts_b.sum():
            verdict, note = "differs", f"{'A' if counts_b.sum() else 'B'} has none"
        else:
            difference = _find_difference(statistic, a, b, level)
            is_certain = difference.p_value < level
            matters = max(difference.effect, abs(mean_difference or 0.0) / 2) >= statistic.smallest_effect
            verdict = "differs" if is_certain and matters else "negligible" if is_certain else "agrees"
            if is_certain and vocab and statistic.name == SPECIAL and _is_repair(counts_a, counts_b, vocab):
                verdict, note = "repair", REPAIR
    return ComparedStatistic(
        statistic.name,
        statistic.describe(a.stats),
        statistic.describe(b.stats),
        difference,
        mean_difference,
        verdict,
        note,
    )


def _find_difference(statistic: Statistic, a: Portrait, b: Portrait, level: float) -> Difference:
    """Compares by how far apart copies are: a dataset's own, or the other's where it has none.

    Few copies say little, and only a very large difference is certain beside them. So what is beyond the chance that is
    assumed where there are none is certain, too, unless the copies show that chance reaches further than that.
    """
    counts_a, counts_b = statistic.count(a.stats), statistic.count(b.stats)
    total = counts_a + counts_b
    size = float(total.sum())
    design_effect = 1.0 if statistic.is_drawn_alone else ASSUMED_DESIGN_EFFECT
    assumed_spread = assume_spread(total / size, size, design_effect)
    assumed = compare_shares(counts_a, counts_b, assumed_spread, assumed_spread, level)
    of_a, of_b = (
        estimate_spread([[statistic.count(stats) for stats in stratum] for stratum in portrait.strata])
        if portrait.tells_spread
        else None
        for portrait in (a, b)
    )
    one = of_a or of_b
    if not one:
        return assumed
    difference = compare_shares(counts_a, counts_b, of_a or one, of_b or one, level)
    if difference.design_effect > design_effect:
        return difference
    if assumed.p_value < level <= difference.p_value:
        return assumed
    return replace(difference, detectable=min(difference.detectable, assumed.detectable))


def _is_repair(counts_a: Categories, counts_b: Categories, vocab: Vocab) -> bool:
    """Whether one draws random words from the whole vocabulary, and the other ordinary ones only."""
    if min(counts_a[1], counts_b[1]):
        return False
    drawn = counts_a if counts_a[1] else counts_b
    share = 1 - len(vocab.ordinary_ids) / len(vocab)
    expected = drawn.sum() * share
    return bool(abs(drawn[1] - expected) <= 4 * np.sqrt(expected * (1 - share)))


def _histogram(name: str, field: str, a: DatasetStats, b: DatasetStats) -> Statistic:
    """Of a histogram of numbers: in bins, the largest number by itself, as it is what most examples have."""
    size = max(len(getattr(a, field)), len(getattr(b, field)))

    def count(stats: DatasetStats) -> Categories:
        numbers: Categories = _pad(getattr(stats, field), size).astype(float)
        if len(numbers) <= 2 * BINS:
            return numbers
        edges = np.linspace(0, len(numbers) - 1, BINS, endpoint=False).astype(int)
        return np.append(np.add.reduceat(numbers[:-1], edges), numbers[-1])

    def mean(stats: DatasetStats) -> tuple[float, float]:
        numbers = getattr(stats, field)
        values = np.arange(len(numbers))
        average = float(numbers @ values / max(numbers.sum(), 1))
        return average, float(np.sqrt(numbers @ (values - average) ** 2 / max(numbers.sum(), 1)))

    return Statistic(name, count, lambda stats: f"{mean(stats)[0]:.2f}", mean)


def _words(a: DatasetStats, b: DatasetStats) -> Statistic:
    """The tokens as they were before masking: the most frequent ones one by one, the others in bands of their rank."""
    size = max(len(a.token_counts), len(b.token_counts))
    ranks = np.argsort(-(_pad(a.token_counts, size) + _pad(b.token_counts, size)), kind="stable")
    edges = np.concatenate([np.arange(min(FREQUENT_TOKENS, size)), _doublings(FREQUENT_TOKENS, size)])

    def count(stats: DatasetStats) -> Categories:
        return np.add.reduceat(_pad(stats.token_counts, size)[ranks].astype(float), edges)

    def describe(stats: DatasetStats) -> str:
        return f"{np.count_nonzero(stats.token_counts):,}"

    return Statistic("words", count, describe, smallest_effect=SMALLEST_EFFECT_OF_WORDS)


def _unknown(vocab: Vocab) -> Statistic:
    def count(stats: DatasetStats) -> Categories:
        unknown = stats.token_counts[vocab.ids[UNK]]
        return np.array([stats.tokens - unknown, unknown], float)

    return Statistic("[UNK]", count, lambda stats: _share(count(stats), 1, places=4))


def _random_words(vocab: Vocab) -> list[Statistic]:
    """What stands in the place of masked words at random: special tokens or not; and which ordinary ones, by id."""
    ordinary = np.array(vocab.ordinary_ids)

    def count_special(stats: DatasetStats) -> Categories:
        drawn = _pad(stats.random_words, len(vocab))
        return np.array([drawn[ordinary].sum(), drawn.sum() - drawn[ordinary].sum()], float)

    def count_ordinary(stats: DatasetStats) -> Categories:
        bins = np.arange(len(ordinary)) * RANDOM_BINS // len(ordinary)
        return np.bincount(bins, _pad(stats.random_words, len(vocab))[ordinary], RANDOM_BINS).astype(float)

    def describe(stats: DatasetStats) -> str:
        return f"{count_ordinary(stats).sum():,.0f}"

    return [
        Statistic(SPECIAL, count_special, lambda stats: _share(count_special(stats), 1), is_drawn_alone=True),
        Statistic("random words by id", count_ordinary, describe, is_drawn_alone=True),
    ]


def _describe_kinds(stats: DatasetStats) -> str:
    return "/".join(f"{100 * share:.1f}" for share in stats.kinds / max(stats.masked, 1)) + " %"


def _share(counts: NDArray[np.generic], place: int, places: int = 2) -> str:
    return f"{counts[place] / max(counts.sum(), 1):.{places}%}"


def _doublings(first: int, end: int) -> NDArray[np.int64]:
    """first, 2 * first, 4 * first ... below end."""
    return np.array([first << n for n in range(64) if first << n < end], np.int64)


def _pad(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.pad(counts, (0, max(0, size - len(counts))))
