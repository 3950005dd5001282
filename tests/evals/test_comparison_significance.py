"""Which of many differences are more than chance."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from evals.comparison.significance import (
    Pair,
    beyond_chance,
    differences,
    fisher,
    holm,
    p_value,
    rate_mean,
)
from evals.statistics.comparison import paired_means
from evals.statistics.noise import NormalMean
from harness.statistics.metrics import clustered_rate

SURE, LOST = (5, 5), (0, 5)
runs = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4),
        st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4),
    ),
    min_size=2,
    max_size=12,
)


def pair(cases, **changes):
    here, there = ([case[side] for case in cases] for side in (0, 1))
    return Pair(*paired_means(here, there), cases=len(cases), **changes)


@settings(deadline=None, max_examples=60)
@given(runs)
def test_swapping_the_sides_flips_every_sign(cases):
    (one,) = differences([pair(cases)])
    (other,) = differences([pair([(there, here) for here, there in cases])])
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == pytest.approx(other.p)
    assert (one.seen, other.seen) in {("none", "none"), ("better", "worse"), ("worse", "better")}


@settings(deadline=None, max_examples=60)
@given(runs)
def test_a_run_beside_itself_shows_no_difference(cases):
    (found,) = differences([pair([(here, here) for here, _ in cases])])
    assert (found.value, found.p, found.seen) == (0.0, 1.0, "none")
    assert found.low <= 0 <= found.high


@settings(deadline=None, max_examples=60)
@given(runs)
def test_the_interval_leaves_out_0_exactly_where_p_is_below_5_percent(cases):
    (found,) = differences([pair(cases)])
    if not math.isclose(found.p, 0.05, rel_tol=1e-6):
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_a_p_value_is_that_of_the_normal_where_the_noise_is_normal():
    here, there = (NormalMean(value, 0.03, 8) for value in (0.5, 0.5 + 1.96 * 0.03 * math.sqrt(2)))
    assert p_value(here, there) == pytest.approx(0.05, abs=0.0005)


def test_less_is_better_where_failures_are_counted():
    many = [([1.0] * 5, [0.0] * 5)] * 10
    assert differences([pair(many, higher_is_better=False)])[0].seen == "worse"


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.9, 0.02], [0.9, 0.04]),
        ([0.6, 0.7], [1.0, 1.0]),
    ],
)
def test_holm(values, adjusted):
    assert holm(values) == pytest.approx(adjusted)


def test_a_difference_that_would_count_alone_may_be_luck_among_many():
    one = Pair(NormalMean(0.5, 0.01, 8), NormalMean(0.535, 0.01, 8), cases=30)
    same = Pair(NormalMean(0.5, 0.01, 8), NormalMean(0.5, 0.01, 8), cases=30)
    (alone,) = differences([one])
    among = differences([one, *[same] * 20])[0]
    assert (alone.seen, among.seen) == ("worse", "none")
    assert among.p == alone.p < 0.05
    assert among.detectable > alone.detectable > abs(alone.value) / 2


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_fisher_is_that_of_scipy(hits, misses, other_hits, other_misses):
    here, there = (hits, hits + misses), (other_hits, other_hits + other_misses)
    expected = fisher_exact([[hits, misses], [other_hits, other_misses]]).pvalue
    assert fisher(here, there) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        ([], []),
        ([(SURE, SURE)] * 100 + [(LOST, SURE)], [False] * 100 + [True]),
        ([(LOST, SURE)] * 3, [True] * 3),
        ([((4, 5), SURE)] * 10, [False] * 10),
        # With 40 cases that could have flipped, 0 of 5 beside 5 of 5 is what luck may bring.
        ([((3, 5), (2, 5))] * 40 + [(LOST, SURE)], [False] * 41),
    ],
)
def test_cases_count_only_where_they_could_have_flipped(tables, found):
    assert beyond_chance(tables) == found


@pytest.mark.parametrize(
    "counts", [[(0, 5)] * 4, [(5, 5)] * 4, [(1, 5), (0, 5), (3, 5)], [(2, 30)]]
)
def test_a_rate_keeps_the_interval_that_it_had(counts):
    rate = clustered_rate(counts)
    low, high = rate_mean(rate, sum(size for _, size in counts)).bounds(0.025)
    assert (low, high) == pytest.approx((rate.low, rate.high), abs=0.02)
