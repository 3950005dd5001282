"""A small, seeded version of the simulation; the limits allow for its random error."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from harness.statistics.noninferiority import compare

RATES = runpy.run_path(
    str(Path(__file__).parents[3] / "benchmarks" / "error_rates.py"), run_name="error_rates"
)
AIME, GPQA = RATES["AIME"], RATES["GPQA"]
RUNS = 200
SEQUENTIAL_RUNS = 100
CHANCE = 1e-3
CAUTION = 0.06


@pytest.fixture
def rng():
    return np.random.default_rng(20261120)


def highest_plausible(rate, runs):
    """The highest share that is plausible for this true rate."""
    return binom.ppf(1 - CHANCE, runs, rate) / runs


def lowest_plausible(rate, runs):
    return binom.ppf(CHANCE, runs, rate) / runs


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
@pytest.mark.parametrize("baseline", ["measured", "published"])
def test_verdicts_keep_their_error_rates(design, baseline, rng):
    at_margin = RATES["simulate"](design, design.margin, RATES[baseline], RUNS, rng)
    assert at_margin.passed <= highest_plausible(0.05, RUNS)
    assert at_margin.failed <= highest_plausible(0.05, RUNS)
    healthy = RATES["simulate"](design, 0.0, RATES[baseline], RUNS, rng)
    assert healthy.failed <= highest_plausible(0.001, RUNS)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_power_is_at_most_a_little_below_the_prediction(design, rng):
    for drop, what in ((0.0, "passed"), (2 * design.margin, "failed")):
        rates = RATES["simulate"](design, drop, RATES["measured"], RUNS, rng)
        predicted = max(RATES["predicted"](design, drop))
        share = getattr(rates, what)
        assert (
            lowest_plausible(predicted - CAUTION, RUNS)
            <= share
            <= highest_plausible(predicted, RUNS)
        )


@pytest.mark.parametrize("baseline", ["measured", "published"])
def test_the_stated_drop_is_detected_in_80_percent_of_runs(baseline, rng):
    first = next(iter(RATES[baseline](AIME, 1, rng)))
    (scores,) = RATES["draw"](AIME.chances(), AIME.tries, 1, rng)
    stated = compare(RATES["run_mean"](scores), first, AIME.margin).detectable
    found = RATES["simulate"](AIME, AIME.margin + stated, RATES[baseline], RUNS, rng)
    assert found.failed >= lowest_plausible(0.8, RUNS)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_sequential_looks_keep_the_error_rates_and_save_tries(design, rng):
    simulate = RATES["simulate"]
    at_margin = simulate(design, design.margin, RATES["exact"], SEQUENTIAL_RUNS, rng, 1)
    assert at_margin.passed <= highest_plausible(0.05, SEQUENTIAL_RUNS)
    assert at_margin.failed <= highest_plausible(0.05, SEQUENTIAL_RUNS)
    healthy = simulate(design, 0.0, RATES["measured"], SEQUENTIAL_RUNS, rng, 1)
    assert healthy.failed == 0
    assert healthy.passed >= lowest_plausible(0.9, SEQUENTIAL_RUNS)
    assert healthy.used < 0.75


def test_bounds_for_a_single_look_do_not_keep_the_error_rate(rng, monkeypatch):
    monkeypatch.setitem(
        RATES["_judged"].__globals__, "always_valid_tail", lambda rounds, planned: 0.05
    )
    naive = RATES["simulate"](AIME, AIME.margin, RATES["exact"], SEQUENTIAL_RUNS, rng, 3)
    assert naive.passed + naive.failed > highest_plausible(0.1, SEQUENTIAL_RUNS)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_intervals_cover_the_truth(design, rng):
    low, high = RATES["misses"](design.chances(), design.tries, RUNS, rng)
    assert max(low, high) <= highest_plausible(0.05, RUNS)
    assert RATES["coverage"](design, RUNS, rng) >= lowest_plausible(0.93, RUNS)


def test_intervals_of_graded_scores_cover_the_truth(rng):
    graded = RATES["Design"]("graded", 40, 1, 0.4, 0.3, 0.04)
    assert RATES["coverage"](graded, RUNS, rng, graded=True) >= lowest_plausible(0.94, RUNS)


@pytest.mark.parametrize(
    ("kind", "short"), [("", False), ("seed", False), ("seed", True), ("both", True)]
)
def test_a_healthy_run_with_copied_tries_is_no_worse_than_a_healthy_one(kind, short, rng):
    assert RATES["worse"](kind, short, 40, rng) <= highest_plausible(0.05, 40)
