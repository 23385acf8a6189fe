"""Whether two datasets look alike but for chance: a chi-square test and an effect size for each statistic.

Examples are no independent draws. Whether a document gets a short target length is drawn once for all of its examples
in a copy, and a document has many. So a test that takes examples for independent finds a difference between any two
random seeds. How far chance reaches is taken from the data instead: the copies of a dataset are the same documents with
other draws, and how far these are apart says how far two datasets would be. The chi-square statistic is divided by what
it is on average between such copies (Rao and Scott 1984), and has Satterthwaite's degrees of freedom, as survey
statistics do it for interviews in clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from maskmill.pipeline.analysis.chart_values import Floats

Categories = NDArray[np.float64]  # [k]: how many of each kind


@dataclass(frozen=True)
class Spread:
    """How much the shares of k categories vary by chance."""

    variance: Floats  # [k, k], of the shares of a dataset of `size`
    size: float  # units counted: examples or tokens
    freedom: float  # degrees of freedom that the variance was estimated with
    directions: float | None = None  # in which shares vary, most of them together; None: as the variance says


@dataclass(frozen=True)
class Difference:
    """What two datasets have in one statistic, and whether that is chance."""

    chi_square: float  # as if all units were independent
    by_chance: float  # what it is on average between datasets that differ by chance alone
    design_effect: float  # the same for each degree of freedom; 1 were it for independent units
    freedom: float  # degrees of freedom
    p_value: float
    effect: float  # half of Cohen's w: Cramér's V of datasets of the same size. Of two shares near 50 %, their distance
    detectable: float  # the effect from which on it would be found at the level


def estimate_spread(counts: Sequence[Sequence[Categories]]) -> Spread | None:
    """The variance of shares, from replicates by strata; None where no stratum has two, or they are empty.

    The share of the dataset is a ratio of sums over independent parts, whose variance is that of the residuals
    `counts - size * share` (linearised), summed over the strata.
    """
    strata = [np.array(stratum) for stratum in counts if len(stratum) > 1]
    freedom = sum(len(stratum) - 1 for stratum in strata)
    total = np.sum([stratum.sum(axis=0) for stratum in strata], axis=0)
    size = float(total.sum())
    if not freedom or not size:
        return None
    shares, variance = total / size, np.zeros((len(total), len(total)))
    for stratum in strata:
        residuals = stratum - stratum.sum(axis=1, keepdims=True) * shares
        residuals -= residuals.mean(axis=0)
        variance += residuals.T @ residuals * len(stratum) / (len(stratum) - 1)
    return Spread(variance / size**2, size, freedom)


def assume_spread(shares: Floats, size: float, design_effect: float) -> Spread:
    """The variance of shares of independent units, times a design effect.

    Where units are not independent, all of it is taken to be in one direction, as where few documents have what the
    others have not: a chi-square that is the same on average then reaches furthest by chance.
    """
    variance = (np.diag(shares) - np.outer(shares, shares)) / size * design_effect
    return Spread(variance, size, np.inf, None if design_effect == 1 else 1.0)


def compare_shares(a: Categories, b: Categories, spread_a: Spread, spread_b: Spread, level: float) -> Difference:
    """Compares counts by category, [k] each, of two datasets whose shares vary so much by chance.

    A spread that was taken from a dataset of another size is scaled. `level` is the p-value below which a difference
    counts as found.
    """
    size_a, size_b = a.sum(), b.sum()
    shares = (a + b) / (size_a + size_b)
    present = shares > 0
    shares_a, shares_b, shares = (a / size_a)[present], (b / size_b)[present], shares[present]
    units = size_a * size_b / (size_a + size_b)
    chi_square = float(units * ((shares_a - shares_b) ** 2 / shares).sum())
    effect = float(np.sqrt(((shares_a - shares_b) ** 2 / (shares_a + shares_b)).sum() / 2))

    scale = np.sqrt(units / shares)
    parts = [
        spread.variance[np.ix_(present, present)] * (spread.size / size) * scale * scale[:, None]
        for spread, size in ((spread_a, size_a), (spread_b, size_b))
    ]
    whole, categories = parts[0] + parts[1], len(shares)
    by_chance = float(np.trace(whole))  # what the chi-square is on average
    if not by_chance:
        return Difference(chi_square, 0.0, 0.0, categories - 1, float(chi_square == 0), effect, 0.0)
    inverse = sum(
        (np.trace(part) / by_chance) ** 2 / spread.freedom for part, spread in zip(parts, (spread_a, spread_b))
    )
    freedom_of_spread = 1 / inverse if inverse else np.inf
    freedom = spread_a.directions or spread_b.directions or _effective_freedom(whole, freedom_of_spread)
    # Not freedom * freedom_of_spread, as of normal residuals: a few short documents make them long-tailed. With it four
    # of 190 pairs of seeds were called different, with this none.
    distribution = f_distribution(freedom, freedom_of_spread) if inverse else chi2(freedom, scale=1 / freedom)
    return Difference(
        chi_square=chi_square,
        by_chance=by_chance,
        design_effect=by_chance / (categories - 1),
        freedom=freedom,
        p_value=float(distribution.sf(chi_square / by_chance)),
        effect=effect,
        detectable=float(np.sqrt(distribution.isf(level) * by_chance / units) / 2),
    )


def _effective_freedom(variance: Floats, freedom_of_variance: float) -> float:
    """Satterthwaite's degrees of freedom of a sum of squares whose terms have this variance, [k, k] of rank k - 1.

    It is the squared trace over the trace of the square. The latter is too large in a variance that is an estimate, and
    is corrected for it (Bai and Saranadasa 1996).
    """
    trace, of_square, n = float(np.trace(variance)), float((variance**2).sum()), freedom_of_variance
    if 1 < n < np.inf:
        of_square = n**2 / ((n - 1) * (n + 2)) * (of_square - trace**2 / n)
    largest = len(variance) - 1.0
    return float(np.clip(trace**2 / of_square, 1, largest)) if of_square > 0 else largest
