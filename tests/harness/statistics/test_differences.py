"""Differences, tests and corrections, compared with published values and properties."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from harness.statistics.differences import (
    Pair,
    differences,
    fisher_exact,
    holm,
    p_value,
    paired_means,
    share_larger,
    significant_cases,
)
from harness.statistics.mean_scores import Mean

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


@settings(max_examples=60)
@given(runs)
def test_swapping_run_and_reference_inverts_every_sign(cases):
    (one,) = differences([pair(cases)])
    (other,) = differences([pair([(there, here) for here, there in cases])])
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p == pytest.approx(other.p)
    assert (one.seen, other.seen) in {("none", "none"), ("better", "worse"), ("worse", "better")}


@settings(max_examples=60)
@given(runs)
def test_a_run_does_not_differ_from_itself(cases):
    (found,) = differences([pair([(here, here) for here, _ in cases])])
    assert (found.value, found.p, found.seen) == (0.0, 1.0, "none")
    assert found.low <= 0 <= found.high


@settings(max_examples=60)
@given(runs)
def test_the_interval_excludes_0_exactly_if_p_is_below_5_percent(cases):
    (found,) = differences([pair(cases)])
    if not math.isclose(found.p, 0.05, rel_tol=1e-6):
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


def test_normal_noise_gives_the_p_value_of_the_z_test():
    here, there = (Mean(value, 0.03, 8) for value in (0.5, 0.5 + 1.96 * 0.03 * math.sqrt(2)))
    assert p_value(here, there) == pytest.approx(0.05, abs=0.0005)


def test_a_higher_failure_rate_is_worse():
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
def test_holm_correction(values, adjusted):
    assert holm(values) == pytest.approx(adjusted)


def test_a_difference_significant_alone_may_not_be_among_many():
    one = Pair(Mean(0.5, 0.01, 8), Mean(0.535, 0.01, 8), cases=30)
    same = Pair(Mean(0.5, 0.01, 8), Mean(0.5, 0.01, 8), cases=30)
    (alone,) = differences([one])
    among = differences([one, *[same] * 20])[0]
    assert (alone.seen, among.seen) == ("worse", "none")
    assert among.p == alone.p < 0.05
    assert among.detectable > alone.detectable > abs(alone.value) / 2


@pytest.mark.parametrize(
    ("run", "reference", "p"),
    [
        ((3, 4), (1, 4), 34 / 70),  # Fisher's tea tasting: Agresti 2013, section 3.5.2
        ((10, 13), (2, 17), 0.0005367),  # criminal twins: Fisher 1935, two-sided as in R
        ((5, 5), (0, 5), 2 / 252),
        ((0, 5), (0, 5), 1.0),
    ],
)
def test_fisher_gives_the_published_p_values(run, reference, p):
    assert fisher_exact(run, reference) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        ([], []),
        ([(SURE, SURE)] * 100 + [(LOST, SURE)], [False] * 100 + [True]),
        ([(LOST, SURE)] * 3, [True] * 3),
        ([((4, 5), SURE)] * 10, [False] * 10),
        # Among 40 cases that can be significant, 0 of 5 against 5 of 5 may be chance.
        ([((3, 5), (2, 5))] * 40 + [(LOST, SURE)], [False] * 41),
    ],
)
def test_only_cases_that_can_be_significant_are_tested(tables, found):
    assert significant_cases(tables) == found


def test_the_false_discovery_rate_is_that_of_benjamini_and_hochberg():
    """By hand: 2/252 < 2/3 of 5%, and 52/252 > 5%."""
    assert significant_cases([(LOST, SURE), (LOST, SURE), ((1, 5), (4, 5))]) == [True, True, False]


@given(*[st.lists(st.integers(0, 9), min_size=1, max_size=8)] * 2)
def test_the_share_of_larger_values_is_the_statistic_of_mann_and_whitney(first, second):
    expected = mannwhitneyu(second, first, method="asymptotic").statistic
    assert share_larger(first, second) * len(first) * len(second) == pytest.approx(expected)
