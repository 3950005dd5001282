"""Intervals of means, of clustered rates, and of medians."""

import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, quantile_test, t

from harness.statistics.intervals import (
    clustered_rate,
    mean_interval,
    median_interval,
    quantile_bound,
)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_an_interval_contains_its_mean_and_has_a_width(successes):
    estimate = mean_interval([count / 5 for count in successes])
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low


@pytest.mark.parametrize(("right", "cases"), [(30, 30), (0, 9), (29, 30), (150, 198), (1, 2)])
def test_cases_that_always_agree_count_once(right, cases):
    """The bounds are Clopper and Pearson's with one trial per case."""
    estimate = mean_interval([1.0] * right + [0.0] * (cases - right))
    low = beta.ppf(0.025, right, cases - right + 1) if right else 0.0
    high = beta.ppf(0.975, right + 1, cases - right) if right < cases else 1.0
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=2e-6)


def test_bounds_are_quantiles_of_randomly_weighted_means():
    values = [1.0] * 20 + [0.8] * 6 + [0.2] * 4
    drawn = np.random.default_rng(5).exponential(size=(200_000, 31))
    means = drawn @ [*values, 0.0] / drawn.sum(axis=1)
    assert mean_interval(values).low == pytest.approx(np.quantile(means, 0.025), abs=1e-3)


def test_bounds_of_inverted_values_are_mirrored():
    values = [1.0, 0.4, 0.8, 0.8]
    found, mirrored = mean_interval(values), mean_interval([1 - value for value in values])
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_an_additional_failure_never_raises_the_bound():
    lows = [mean_interval([1.0] * (36 - failed) + [0.8] * failed).low for failed in range(8)]
    assert lows == sorted(lows, reverse=True)


def test_cases_that_differ_widen_the_interval():
    alike, apart = mean_interval([0.8] * 30), mean_interval([1.0] * 24 + [0.0] * 6)
    assert alike.value == pytest.approx(apart.value)
    assert apart.high - apart.low > alike.high - alike.low


@pytest.mark.parametrize("values", [[], [1.5], [-0.1]])
def test_a_mean_needs_values_from_0_to_1(values):
    with pytest.raises(ValueError):
        mean_interval(values)


@pytest.mark.parametrize("shape", [(0.98, 0.5), (0.98, 0.05), (0.6, 0.3)])
def test_the_interval_covers_the_mean_of_other_cases(shape):
    """30 new cases with 16 tries in every run; their success rates are beta distributed."""
    mean, between = shape
    strength = 1 / between - 1
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        rates = rng.beta(mean * strength, (1 - mean) * strength, 30)
        estimate = mean_interval((rng.binomial(16, rates) / 16).tolist())
        covered += estimate.low <= mean <= estimate.high
    assert covered / 300 >= 0.93


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_equal_clusters_have_the_interval_of_korn_and_graubard(hits):
    means = [count / 5 for count in hits]
    mean, error = fmean(means), stdev(means) / math.sqrt(len(means))
    trials = float(5 * len(means))
    if error:
        few = t.ppf(0.975, trials - 1) / t.ppf(0.975, len(means) - 1)
        trials = min(trials, max(1.0, mean * (1 - mean) / error**2 * few**2))
    low = beta.ppf(0.025, mean * trials, trials - mean * trials + 1) if mean else 0.0
    high = beta.ppf(0.975, mean * trials + 1, trials - mean * trials) if mean < 1 else 1.0
    found = clustered_rate([(count, 5) for count in hits])
    assert found.value == pytest.approx(mean)
    assert (found.low, found.high) == (
        pytest.approx(min(low, mean)),
        pytest.approx(max(high, mean)),
    )


def test_a_rate_weights_clusters_by_size():
    rate = clustered_rate([(0, 1), (9, 9)])
    assert rate.value == 0.9
    assert rate.low < 0.9 < rate.high == 1.0


@pytest.mark.parametrize("counts", [[], [(0, 0)], [(2, 1)], [(-1, 1)]])
def test_a_rate_needs_trials(counts):
    with pytest.raises(ValueError):
        clustered_rate(counts)


@pytest.mark.parametrize("count", [6, 20, 100])
def test_the_interval_of_a_median_is_at_most_one_rank_wider_than_scipys(count):
    ranks = [float(rank) for rank in range(count, 0, -1)]
    found = median_interval(ranks)
    exact = quantile_test(ranks).confidence_interval(0.95)
    assert found.value == (count + 1) // 2
    assert 0 <= exact.low - found.low <= 1
    assert 0 <= found.high - exact.high <= 1


@pytest.mark.parametrize(("share", "fewest"), [(0.5, 5), (0.9, 29)])
def test_the_bound_of_a_quantile_is_the_order_statistic_of_the_exact_test(share, fewest):
    for count in (fewest - 1, fewest, 100):
        found = quantile_bound([[float(rank) for rank in range(1, count + 1)]], share, 0.05)
        test = quantile_test(range(1, count + 1), p=share, alternative="less")
        high = test.confidence_interval(0.95).high
        assert found == (math.inf if math.isnan(high) else high)


def test_the_bound_of_a_quantile_covers_the_truth_if_cases_differ():
    rng = random.Random(5)
    low = []
    for _ in range(300):
        cases = [rng.gauss(0, 1) for _ in range(36)]
        values = [[case + rng.gauss(0, 0.1) for _ in range(5)] for case in cases]
        low.append(quantile_bound(values, 0.5, 0.05) < 0)
    assert sum(low) / 300 <= 0.08
    with pytest.raises(ValueError):
        quantile_bound([], 0.5, 0.05)


def test_the_interval_of_a_median_covers_the_truth():
    rng = random.Random(3)
    found = [median_interval([rng.expovariate(1) for _ in range(25)]) for _ in range(400)]
    assert sum(each.low <= math.log(2) <= each.high for each in found) / 400 >= 0.94
