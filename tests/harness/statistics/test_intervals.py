import math
import random
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, quantile_test, t

from harness.statistics.intervals import clustered_estimate, clustered_rate, median_interval


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 5))
def test_an_interval_contains_its_mean_and_has_a_width(successes, repeats):
    estimate = clustered_estimate([count / 5 for count in successes], repeats)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low


@pytest.mark.parametrize(
    ("cases", "repeats", "low"),
    [(30, 5, 0.025 ** (1 / 150)), (36, 1, 0.025 ** (1 / 36)), (1, 1, 0.025)],
)
def test_a_perfect_run_has_the_exact_bound(cases, repeats, low):
    estimate = clustered_estimate([1.0] * cases, repeats)
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(low)


def test_a_run_without_successes_mirrors_a_perfect_one():
    perfect, hopeless = clustered_estimate([1.0] * 9, 2), clustered_estimate([0.0] * 9, 2)
    assert hopeless.high == pytest.approx(1 - perfect.low)


def test_an_additional_failure_never_raises_the_bound():
    lows = [
        clustered_estimate([1.0] * (36 - failed) + [0.8] * failed, 5).low for failed in range(8)
    ]
    assert lows == sorted(lows, reverse=True)


def test_cases_that_differ_widen_the_interval():
    alike = clustered_estimate([0.8] * 30, 5)
    apart = clustered_estimate([1.0] * 24 + [0.0] * 6, 5)
    assert alike.value == apart.value
    assert apart.high - apart.low > alike.high - alike.low


@pytest.mark.parametrize(("values", "repeats"), [([], 1), ([0.5], 0)])
def test_an_estimate_needs_values(values, repeats):
    with pytest.raises(ValueError):
        clustered_estimate(values, repeats)


@pytest.mark.parametrize(("mean", "spread"), [(0.9, 0.0), (0.9, 0.08), (0.97, 0.05), (0.6, 0.3)])
def test_the_interval_covers_the_truth_in_95_percent_of_runs(mean, spread):
    """36 cases with 5 tries; their success rates differ by `spread` around a known mean."""
    rng = random.Random(7)
    rates = [min(1.0, max(0.0, mean + spread * (2 * i / 35 - 1))) for i in range(36)]
    truth = sum(rates) / len(rates)
    covered = 0
    for _ in range(400):
        values = [sum(rng.random() < rate for _ in range(5)) / 5 for rate in rates]
        estimate = clustered_estimate(values, 5)
        covered += estimate.low <= truth <= estimate.high
    assert covered / 400 >= 0.94


@settings(deadline=None)
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


def test_the_interval_of_a_median_covers_the_truth():
    rng = random.Random(3)
    found = [median_interval([rng.expovariate(1) for _ in range(25)]) for _ in range(400)]
    assert sum(each.low <= math.log(2) <= each.high for each in found) / 400 >= 0.94
