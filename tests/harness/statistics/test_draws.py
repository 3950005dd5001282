"""Draws with the stated probabilities, and with others."""

import math
import random

import pytest

from harness.statistics.draws import Draw, Sharpness, sharpness
from harness.statistics.rates import at_least

LISTED = 4


def drawn(count: int, temperature: float = 1.0, top_p: float = 1.0) -> Sharpness:
    """Draws among 60 items, of which four are listed."""
    random_ = random.Random(count)
    draws = []
    for _ in range(count):
        odds = sorted((random_.expovariate(1) ** 4 for _ in range(60)), reverse=True)
        total = sum(odds)
        odds = [each / total for each in odds]
        weights = [each ** (1 / temperature) for each in odds]
        before = [sum(odds[:at]) for at in range(len(odds))]
        kept = [w if sum_ < top_p else 0 for w, sum_ in zip(weights, before, strict=True)]
        (at,) = random_.choices(range(60), kept)
        draws.append(Draw([math.log(each) for each in odds[:LISTED]], at if at < LISTED else None))
    return sharpness(draws)


@pytest.mark.parametrize("count", range(400, 420))
def test_draws_with_the_stated_probabilities_have_a_small_deviation(count: int) -> None:
    found = drawn(count)
    assert abs(found.excess) < 3 * math.sqrt(found.variance)
    assert found.chance > 0.01


def test_another_temperature_and_a_hidden_top_p_are_detected() -> None:
    colder, hotter, cut = drawn(900, 0.7), drawn(900, 1.4), drawn(900, top_p=0.5)
    assert all(each.chance < 1e-6 for each in (colder, hotter, cut))
    assert hotter.excess < 0 < min(colder.excess, cut.excess)
    assert colder.temperature == pytest.approx(0.7, abs=0.12)
    assert cut.temperature < 0.7 < 1.2 < hotter.temperature


def test_certain_and_missing_items_are_not_evidence() -> None:
    assert sharpness([Draw([0.0], 0)] * 50) == Sharpness(0.0, 0.0)
    assert sharpness([]).temperature == 1
    assert sharpness([]).chance == 1


@pytest.mark.parametrize("rare", [0.02, 0.005, 0.0005])
@pytest.mark.parametrize("tokens", [20, 80, 300])
def test_the_stated_chance_is_an_upper_bound_at_positions_of_any_certainty(rare, tokens) -> None:
    """Positions of a confident model, where one rare token is many standard deviations away."""
    random_ = random.Random(tokens)
    certain = [math.log(1 - rare), math.log(rare * 0.6), math.log(rare * 0.3)]
    even = [math.log(0.5), math.log(0.3), math.log(0.15)]
    runs, level = 400, 0.02
    alarms = 0
    for _ in range(runs):
        draws = []
        for at in range(tokens):
            listed = even if at % 20 == 0 else certain
            odds = [math.exp(each) for each in listed]
            (item,) = random_.choices(range(4), [*odds, max(0.0, 1 - sum(odds))])
            draws.append(Draw(listed, item if item < len(listed) else None))
        alarms += sharpness(draws).chance <= level
    assert at_least(alarms, runs, level) > 1e-3
