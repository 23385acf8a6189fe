"""Counts are compared as statistics has it, and with the chance that clustered examples have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.analysis.significance import assume_spread, compare_shares, estimate_spread

stats = pytest.importorskip("scipy.stats", reason="needs the [compare] extra")
LEVEL = 0.001
COUNTS = st.lists(st.tuples(st.integers(5, 900), st.integers(5, 900)), min_size=2, max_size=9)


def independent(a, b):
    """Compared as if every unit were drawn by itself."""
    both = a + b
    spread = assume_spread(both / both.sum(), both.sum(), design_effect=1.0)
    return compare_shares(a, b, spread, spread, LEVEL)


@given(COUNTS)
def test_for_independent_units_it_is_pearsons_chi_square_and_cramers_v(counts):
    a, b = np.array(counts, float).T
    expected = stats.chi2_contingency([a, b], correction=False)
    found = independent(a, b)
    assert found.chi_square == pytest.approx(expected.statistic, abs=1e-6)
    assert found.freedom == pytest.approx(expected.dof)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.by_chance == pytest.approx(expected.dof)
    same_size = np.round(a / a.sum() * 1e6), np.round(b / b.sum() * 1e6)
    association = stats.contingency.association(np.array(same_size, int), method="cramer")
    assert found.effect == pytest.approx(association, abs=1e-3)


@given(COUNTS, st.sampled_from([2.0, 30.0]))
def test_a_design_effect_divides_the_chi_square_and_may_be_in_one_direction(counts, design_effect):
    a, b = np.array(counts, float).T
    both = a + b
    spread = assume_spread(both / both.sum(), both.sum(), design_effect)
    found = compare_shares(a, b, spread, spread, LEVEL)
    assert found.by_chance == pytest.approx(design_effect * (len(a) - 1))
    assert found.p_value == pytest.approx(stats.chi2.sf(found.chi_square / found.by_chance, 1), abs=1e-12)


@given(COUNTS)
def test_a_difference_is_found_from_the_detectable_effect_on(counts):
    a, b = np.array(counts, float).T
    found = independent(a, b)
    units = a.sum() * b.sum() / (a.sum() + b.sum())
    assert stats.chi2.sf(units * (2 * found.detectable) ** 2, len(a) - 1) == pytest.approx(LEVEL)


def test_two_shares_have_their_distance_as_effect():
    assert independent(np.array([500.0, 500]), np.array([510.0, 490])).effect == pytest.approx(0.01, rel=1e-3)


def clusters(rng, copies, documents=300, categories=4, concentration=3.0):
    """Copies of a dataset whose documents each have shares of their own, drawn anew in every copy: int [copies, k]."""
    shares = rng.dirichlet(np.full(categories, concentration), (copies, documents))
    sizes = rng.integers(5, 60, documents)
    return rng.multinomial(sizes, shares).sum(axis=1).astype(float)


def test_the_spread_between_copies_is_that_between_datasets():
    rng = np.random.default_rng(1)
    datasets = [clusters(rng, 5) for _ in range(400)]
    totals = np.array([dataset.sum(axis=0) for dataset in datasets])
    shares = totals / totals.sum(axis=1, keepdims=True)
    estimated = np.mean([estimate_spread([dataset]).variance for dataset in datasets], axis=0)
    np.testing.assert_allclose(np.diag(estimated), shares.var(axis=0, ddof=1), rtol=0.25)
    assert np.diag(estimated).mean() > 2 * (shares.mean(0) * (1 - shares.mean(0)) / totals.sum(1).mean()).mean()


def test_strata_add_up_to_the_spread_of_the_whole():
    rng = np.random.default_rng(2)
    whole = np.mean([np.diag(estimate_spread([clusters(rng, 6)]).variance) for _ in range(200)], axis=0)
    halves = [estimate_spread([clusters(rng, 6, documents=150), clusters(rng, 6, documents=150)]) for _ in range(200)]
    np.testing.assert_allclose(np.mean([np.diag(spread.variance) for spread in halves], axis=0), whole, rtol=0.25)
    assert {spread.freedom for spread in halves} == {10}


@pytest.mark.parametrize("both_have_copies", [True, False])
def test_chance_is_called_different_as_often_as_the_level_says_and_less_so_than_if_units_were_independent(
    both_have_copies,
):
    rng = np.random.default_rng(3)
    clustered, naive = [], []
    for _ in range(300):
        a, b = clusters(rng, 5, documents=60), clusters(rng, 5, documents=60)
        spread_a = estimate_spread([a])
        spread_b = estimate_spread([b]) if both_have_copies else spread_a
        clustered.append(compare_shares(a.sum(0), b.sum(0), spread_a, spread_b, LEVEL).p_value)
        naive.append(independent(a.sum(0), b.sum(0)).p_value)
    assert np.mean(np.array(clustered) < 0.05) < 0.09
    assert np.mean(np.array(clustered) < 0.5) > 0.3  # nor is it blind
    assert np.mean(np.array(naive) < 0.05) > 0.3


def test_a_real_difference_is_found():
    rng = np.random.default_rng(4)
    a, b = clusters(rng, 10), clusters(rng, 10)
    b[:, 0] += b[:, 1] * 0.3
    b[:, 1] *= 0.7
    found = compare_shares(a.sum(0), b.sum(0), estimate_spread([a]), estimate_spread([b]), LEVEL)
    assert found.p_value < LEVEL
    assert found.effect > found.detectable


def test_a_spread_is_scaled_to_the_size_of_the_dataset_it_is_lent_to():
    rng = np.random.default_rng(5)
    a = clusters(rng, 10)
    lent = estimate_spread([a])
    total = a.sum(0)
    larger = compare_shares(total, 100 * total, lent, lent, LEVEL)
    assert larger.by_chance == pytest.approx(compare_shares(total, total, lent, lent, LEVEL).by_chance)


def test_without_replicates_there_is_no_spread_and_without_spread_any_difference_is_certain():
    assert estimate_spread([]) is None
    assert estimate_spread([[np.ones(3)], [np.ones(3)]]) is None
    assert estimate_spread([[np.zeros(3), np.zeros(3)]]) is None
    still = estimate_spread([[np.array([5.0, 0]), np.array([5.0, 0])]])
    assert compare_shares(np.array([10.0, 0]), np.array([30.0, 0]), still, still, LEVEL).p_value == 1
    assert compare_shares(np.array([10.0, 0]), np.array([30.0, 1]), still, still, LEVEL).p_value == 0
