"""Draws with the stated probabilities, and with others."""

import math
import random

import pytest

from harness.statistics.draws import Draw, Sharpness, sharpness

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
    assert abs(drawn(count).deviation) < 3


def test_another_temperature_and_a_hidden_top_p_are_detected() -> None:
    colder, hotter, cut = drawn(900, 0.7), drawn(900, 1.4), drawn(900, top_p=0.5)
    assert colder.deviation > 5
    assert hotter.deviation < -5
    assert cut.deviation > 5
    assert colder.temperature == pytest.approx(0.7, abs=0.12)
    assert cut.temperature < 0.7 < 1.2 < hotter.temperature


def test_certain_and_missing_items_are_not_evidence() -> None:
    assert sharpness([Draw([0.0], 0)] * 50) == Sharpness(0.0, 0.0)
    assert sharpness([]).temperature == 1
    assert sharpness([]).deviation == 0
