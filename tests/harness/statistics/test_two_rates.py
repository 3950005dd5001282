"""Tests of the exact tails behind the verdict on tool calls, for few tries and for thousands."""

from itertools import product
from math import comb

import pytest
from scipy.stats import binom

from harness.statistics.rates import at_least
from harness.statistics.two_rates import exceeds, guide_false_alarm


@pytest.mark.parametrize(("failed", "tries", "rate"), [(0, 5, 0.9), (1, 5, 0.98), (5, 5, 0.9)])
def test_failures_of_a_case_are_binomial(failed: int, tries: int, rate: float) -> None:
    terms = range(failed, tries + 1)
    tail = sum(comb(tries, k) * (1 - rate) ** k * rate ** (tries - k) for k in terms)
    assert at_least(failed, tries, 1 - rate) == pytest.approx(tail)


def test_thousands_of_tries_at_a_case_are_counted() -> None:
    assert at_least(40, 1_400, 0.02) == pytest.approx(binom.sf(39, 1_400, 0.02))
    assert at_least(1_401, 1_400, 0.02) == 0.0


@pytest.mark.parametrize(("min_at", "min_hat"), [(0.5, 0.5), (0.9, 0.2), (0.2, 0.9)])
def test_the_false_alarm_rate_of_the_guide_is_that_of_every_possible_result(
    min_at: float, min_hat: float
) -> None:
    cases, tries, rate = 4, 2, 0.6
    kept = 0.0
    for passes in product(range(tries + 1), repeat=cases):
        chance = 1.0
        for count in passes:
            chance *= comb(tries, count) * rate**count * (1 - rate) ** (tries - count)
        some, every = (sum(count >= least for count in passes) for least in (1, tries))
        if exceeds(some / cases, min_at) and exceeds(every / cases, min_hat):
            kept += chance
    assert guide_false_alarm(cases, tries, 3, rate, min_at, min_hat) == pytest.approx(1 - kept**3)


def test_thousands_of_cases_have_a_false_alarm_rate() -> None:
    assert 0 < guide_false_alarm(3_000, 5, 4, 0.955, 0.9, 0.79) < 1
