"""Sequential tests of failure rates: validity, power, and the time of the change."""

import random

import pytest

from harness.statistics.change_points import MONTH, Counts, increase, is_back, smoothed

HOUR = 3600.0


def counts(*failures, trials=1, start=0):
    return [Counts((start + n) * HOUR, each, trials) for n, each in enumerate(failures)]


@pytest.mark.parametrize(
    "observed",
    [
        [],
        counts(1),
        counts(0, 0, 0),
        counts(1, 1, 1),
        counts(1, 0, 0),
        counts(1, 0, 1, 0, 0),
    ],
    ids=["nothing", "once", "no failure", "only failures", "better", "better in the end"],
)
def test_there_is_no_increase_unless_later_rates_are_worse(observed):
    assert increase(observed) is None


def test_the_evidence_follows_the_formula():
    # One possible time, one month after the first observation: a weight of 1. With F = 1 of N = 2,
    # BEFORE = Beta(0.1, 1) and SINCE = Beta(1/2, 1/2): (1 / 1.1) * (1 / 2) / (1 / 4).
    found = increase([Counts(0, 0, 1), Counts(MONTH, 1, 1)])
    assert found.evidence == pytest.approx(0.59784, abs=1e-4)
    assert (found.since, found.earliest, found.latest) == (1, 1, 1)


def test_the_change_is_dated():
    found = increase(counts(*[0] * 100, *[1] * 10))
    assert found.since == 100
    assert found.earliest <= 100 <= found.latest <= 102
    weak = increase(counts(*[0, 0, 1] * 30, *[1, 0, 1] * 10))
    assert weak.latest - weak.earliest > found.latest - found.earliest


def test_failures_are_weaker_evidence_if_the_provider_failed_before():
    clean = increase(counts(*[0] * 60, 1, 1, 1))
    flaky = increase(counts(*[0, 0, 1] * 20, 1, 1, 1))
    assert clean.evidence > flaky.evidence + 2


def test_repeated_tests_of_a_constant_rate_rarely_alarm():
    """Within a month the sum reaches 20 with a probability of at most 5 %."""
    rng = random.Random(7)
    alarms = 0
    for _ in range(40):
        observed = counts(
            *(sum(rng.random() < 0.1 for _ in range(4)) for _ in range(240)), trials=4
        )
        looks = (increase(observed[:size]) for size in range(30, 241, 30))
        alarms += any(each is not None and each.evidence >= 3 for each in looks)
    assert alarms <= 4


def test_a_rate_has_recovered_only_after_enough_successes():
    before, changed = smoothed(1, 200), smoothed(9, 10)
    assert not is_back([], before, changed)
    assert not is_back(counts(1, 1, 0, 1), before, changed)
    assert is_back(counts(1, 1, 0, 0, 0), before, changed)
