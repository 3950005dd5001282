"""Tests of rates: exact tails and clusters."""

from functools import cache
from math import comb

import pytest

from harness.statistics.rates import LEVEL, excess


@cache
def tail(hits: int, trials: int, rate: float) -> float:
    terms = range(hits, trials + 1)
    return sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in terms)


@pytest.mark.parametrize(("hits", "trials", "rate"), [(1, 1, 0.1), (3, 50, 0.01), (7, 12, 0.3)])
def test_excess_is_the_binomial_tail(hits: int, trials: int, rate: float) -> None:
    assert excess([(hits, trials)], rate) == pytest.approx(tail(hits, trials, rate))
    spread = [(1, 1)] * hits + [(0, 1)] * (trials - hits)
    assert excess(spread, rate) == pytest.approx(tail(hits, trials, rate), rel=0.3)


def test_a_rule_without_a_rate_is_broken_by_one_hit() -> None:
    assert excess([(1, 1000)], 0.0) == 0.0
    assert excess([(0, 1000)], 0.0) == 1.0


def test_hits_at_one_prompt_are_weaker_evidence_than_hits_at_many() -> None:
    one = [(20, 20), *[(0, 20)] * 29]
    many = [(1, 20)] * 20 + [(0, 20)] * 10
    assert excess(one, 0.005) > LEVEL > excess(many, 0.005)
