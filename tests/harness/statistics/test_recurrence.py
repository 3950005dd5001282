"""The tries that tell a fixed defect from a rarer one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.statistics.rates import FALSE_ALARM
from harness.statistics.recurrence import (
    MISSED,
    enough_tries,
    excludes,
    fewest_tries,
    half_rate,
    likely_rate,
    remains,
    repeated_rate,
)


@pytest.mark.parametrize(
    ("failures", "tries", "rate"), [(1, 1, 0.5), (6, 6, 0.891), (36, 360, 0.0991), (1, 720, 0.001)]
)
def test_few_failures_do_not_show_that_all_tries_fail(failures, tries, rate):
    assert likely_rate(failures, tries) == pytest.approx(rate, abs=5e-4)


def test_the_try_that_shows_a_finding_says_nothing_about_its_rate():
    assert repeated_rate(0, 0) == 0
    assert repeated_rate(3, 3) == pytest.approx(0.05 ** (1 / 3))


@given(st.floats(0.01, 1))
def test_a_half_fixed_defect_is_called_fixed_in_few_retests(rate):
    half = half_rate(rate)
    tries = fewest_tries(half)
    assert (1 - half) ** tries <= MISSED + 1e-9
    assert tries == 1 or not excludes(half, 0, tries - 1)


@pytest.mark.parametrize(("rate", "tolerated"), [(0.9, 0.3), (0.2, 0.02), (0.1, 0.01), (1.0, 0.05)])
def test_with_a_tolerated_share_both_errors_are_small(rate, tolerated):
    half = half_rate(rate, tolerated)
    tries = enough_tries(half, tolerated)
    counts = range(tries + 1)
    fixed = [x for x in counts if excludes(half, x, tries)]
    found = [x for x in counts if remains(x, tries, tolerated)]
    assert binom.cdf(max(fixed), tries, half) <= MISSED
    assert binom.sf(min(found) - 1, tries, half) >= 1 - MISSED
    assert binom.sf(min(found) - 1, tries, tolerated) <= FALSE_ALARM


def test_what_the_model_may_cause_cannot_be_told_from_a_defect():
    assert enough_tries(half_rate(0.01, 0.02), 0.02) == 100_000
