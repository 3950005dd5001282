"""A small seeded version of the simulation; what it allows is what its own chance allows."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

RATES = runpy.run_path(
    str(Path(__file__).parents[3] / "benchmarks" / "error_rates.py"), run_name="error_rates"
)
AIME, GPQA = RATES["AIME"], RATES["GPQA"]
RUNS = 200
LOOKED_AT = 100
CHANCE = 1e-3
CAUTION = 0.06


@pytest.fixture
def rng():
    return np.random.default_rng(20261120)


def most(rate, runs):
    """The most that a share may come to if its true rate is this one."""
    return binom.ppf(1 - CHANCE, runs, rate) / runs


def least(rate, runs):
    return binom.ppf(CHANCE, runs, rate) / runs


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
@pytest.mark.parametrize("baseline", ["measured", "published"])
def test_verdicts_are_wrong_no_more_often_than_they_may_be(design, baseline, rng):
    at_margin = RATES["whole_runs"](design, design.margin, RATES[baseline], RUNS, rng)
    assert at_margin.passed <= most(0.05, RUNS)
    assert at_margin.failed <= most(0.05, RUNS)
    healthy = RATES["whole_runs"](design, 0.0, RATES[baseline], RUNS, rng)
    assert healthy.failed <= most(0.001, RUNS)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_power_is_as_predicted_but_for_the_caution_at_small_numbers(design, rng):
    for drop, what in ((0.0, "passed"), (2 * design.margin, "failed")):
        rates = RATES["whole_runs"](design, drop, RATES["measured"], RUNS, rng)
        predicted = max(RATES["predicted"](design, drop))
        share = getattr(rates, what)
        assert least(predicted - CAUTION, RUNS) <= share <= most(predicted, RUNS)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_looking_after_every_round_keeps_the_rate_and_saves_tries(design, rng):
    stopped = RATES["stopped_runs"]
    at_margin = stopped(design, design.margin, RATES["exact"], LOOKED_AT, rng)
    assert at_margin.passed <= most(0.05, LOOKED_AT)
    assert at_margin.failed <= most(0.05, LOOKED_AT)
    healthy = stopped(design, 0.0, RATES["measured"], LOOKED_AT, rng)
    assert healthy.failed == 0
    assert healthy.passed >= least(0.9, LOOKED_AT)
    assert healthy.used < 0.75


def test_the_bounds_of_a_single_look_would_not_keep_the_rate(rng, monkeypatch):
    monkeypatch.setitem(
        RATES["_stopped"].__globals__, "always_valid_tail", lambda rounds, planned: 0.05
    )
    naive = RATES["stopped_runs"](AIME, AIME.margin, RATES["exact"], LOOKED_AT, rng, 3)
    assert naive.passed + naive.failed > most(0.1, LOOKED_AT)


@pytest.mark.parametrize("design", [AIME, GPQA], ids=["aime", "gpqa"])
def test_intervals_hold(design, rng):
    low, high = RATES["misses"](design.chances(), design.tries, RUNS, rng)
    assert max(low, high) <= most(0.05, RUNS)
    assert RATES["coverage"](design, RUNS, rng) >= least(0.93, RUNS)


def test_intervals_of_graded_scores_hold(rng):
    graded = RATES["Design"]("graded", 40, 1, 0.4, 0.3, 0.04)
    assert RATES["coverage"](graded, RUNS, rng, graded=True) >= least(0.94, RUNS)
