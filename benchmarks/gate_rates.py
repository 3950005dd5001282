"""Simulated error rates of the tool-calling gate, as Markdown tables for docs/gate.md.

    python benchmarks/gate_rates.py [--runs N] [--seed N]

A run has 36 cases, 4 conditions and k tries. The success rates of the cases are equal, or they
differ (beta distributed, 30 % of the variance between cases) and are the same in all runs, or they
differ and are drawn for every run, so that the mean over the cases of a run deviates from the
stated rate. Single cases are compared with a reference run of the same provider with 5 tries. It
takes about four minutes on one core.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from harness.records.runs import Thresholds
from harness.statistics.two_rates import (
    case_level,
    chance_of_failures,
    chance_of_worse,
    evidence,
    fail_level,
    further_tries,
    guide_false_alarm,
    pass_level,
    spread_failures,
)
from harness.text import percentage
from harness.verdict.reference_rate import DEFAULT_REFERENCE

CASES, CONDITIONS, BETWEEN = 36, 4, 0.3
LOWER = Thresholds().lower_rate
TESTS = CONDITIONS + 1
LEVEL = case_level(CASES * TESTS)
KNOWN_TRIES = 5 * CONDITIONS
Counts = NDArray[np.int64]
"""Passed tries; axes: run, condition, case."""


@dataclass(frozen=True)
class Rates:
    """Shares of runs that pass and fail, and that fail because of a single case."""

    passed: float
    failed: float
    by_case: float


def case_rates(mean: float, kind: str, runs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Success rates of the cases; axes: run, condition, case."""
    strength = 1 / BETWEEN - 1
    a, b = mean * strength, (1 - mean) * strength
    if kind == "equal":
        rates = np.full((1, CASES), mean)
    elif kind == "fixed":
        rates = betaincinv(a, b, (np.arange(CASES) + 0.5) / CASES)[None]
        for _ in range(50):
            rates = np.clip(rates + mean - rates.mean(), 0, 1)
    else:
        rates = rng.beta(a, b, (runs, CASES))
    return np.broadcast_to(rates[:, None, :], (runs, CONDITIONS, CASES))


def decisions(passed: Counts, tries: int, reference: float) -> tuple[Counts, Counts]:
    """Whether the rates of each run pass, and whether they fail."""
    every = CASES * tries
    table = np.array([evidence(n, every, reference, LOWER) for n in range(every + 1)])
    shown = table[passed.sum(axis=2)]
    good = shown.min(axis=1) >= pass_level()
    level = fail_level(TESTS)
    low = np.zeros(len(passed), dtype=bool)
    for run in np.nonzero(np.minimum(shown.min(axis=1), shown.sum(axis=1)) <= level)[0]:
        good[run] = False
        together = [passed[run].sum(axis=0) / tries / CONDITIONS] * int(shown[run].sum() <= level)
        weak = [*together, *(passed[run, shown[run] <= level] / tries)]
        low[run] = any(spread_failures(each.tolist(), reference, TESTS) for each in weak)
    return good, low


def broken_cases(passed: Counts, known: Counts, tries: int) -> Counts:
    """Whether each run has a case that fails too often and that the reference passes."""
    found = np.zeros(len(passed), dtype=bool)
    for counts, most in ((passed, tries), (passed.sum(axis=1, keepdims=True), tries * CONDITIONS)):
        table = np.zeros((most + 1, KNOWN_TRIES + 1), dtype=bool)
        for n in range(most + 1):
            if chance_of_failures(most - n, most, LOWER) <= LEVEL:
                chances = [chance_of_worse(n, most, k, KNOWN_TRIES) for k in range(KNOWN_TRIES + 1)]
                table[n] = np.array(chances) <= LEVEL
        found |= table[counts, known].any(axis=(1, 2))
    return found


def simulate(
    rates: NDArray[np.float64], tries: int, rng: np.random.Generator, reference: float
) -> Rates:
    """Verdicts of runs with these success rates."""
    passed = rng.binomial(tries, rates)
    known = rng.binomial(5, rates).sum(axis=1, keepdims=True)
    good, low = decisions(passed, tries, reference)
    broken = broken_cases(passed, known, tries)
    return Rates(float((good & ~broken).mean()), float((low | broken).mean()), float(broken.mean()))


def growing(
    rates: NDArray[np.float64], most: int, rng: np.random.Generator, reference: float
) -> Rates:
    """The first decision of runs that are judged after every round."""
    passed = np.zeros(rates.shape, dtype=np.int64)
    ever_good, ever_low = np.zeros(len(rates), bool), np.zeros(len(rates), bool)
    for tries in range(1, most + 1):
        passed += rng.random(rates.shape) < rates
        good, low = decisions(passed, tries, reference)
        ever_good |= good & ~ever_low
        ever_low |= low & ~ever_good
    return Rates(float(ever_good.mean()), float(ever_low.mean()), 0.0)


def error_table(runs: int, rng: np.random.Generator) -> Iterator[str]:
    """Pass and fail by rate, kind of cases and number of tries."""
    kinds = {"equal": "equal", "fixed": "differ", "redrawn": "differ, drawn for each run"}
    yield "| rate | cases | k = 1 | k = 5 | k = 10 | k = 20 |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: |"
    for mean in (0.995, 0.99, DEFAULT_REFERENCE, 0.95, LOWER, 0.85):
        for kind, name in kinds.items():
            found = (
                simulate(case_rates(mean, kind, runs, rng), tries, rng, DEFAULT_REFERENCE)
                for tries in (1, 5, 10, 20)
            )
            cells = " | ".join(f"{percentage(x.passed)} / {percentage(x.failed)}" for x in found)
            yield f"| {percentage(mean)} | {name} | {cells} |"


def special_table(runs: int, rng: np.random.Generator) -> Iterator[str]:
    """Runs with one weak condition, judged after every round, or with a broken case."""
    yield "| run | passes | fails |"
    yield "| --- | ---: | ---: |"
    one_weak = case_rates(1.0, "equal", runs, rng).copy()
    one_weak[:, 0] = LOWER
    for name, found in (
        (
            f"one condition at {percentage(LOWER, 0)}, k = 5",
            simulate(one_weak, 5, rng, DEFAULT_REFERENCE),
        ),
        (
            f"rate {percentage(DEFAULT_REFERENCE, 0)}, judged after each of 20 rounds",
            growing(case_rates(DEFAULT_REFERENCE, "fixed", runs, rng), 20, rng, DEFAULT_REFERENCE),
        ),
        (
            f"rate {percentage(LOWER, 0)}, judged after each of 20 rounds",
            growing(case_rates(LOWER, "fixed", runs, rng), 20, rng, DEFAULT_REFERENCE),
        ),
    ):
        yield f"| {name} | {percentage(found.passed)} | {percentage(found.failed)} |"


def guide_table() -> Iterator[str]:
    """How often the rule of OpenAI's guide fails good providers."""
    yield "| rate of every try | k = 5 | k = 10 | k = 20 |"
    yield "| ---: | ---: | ---: | ---: |"
    for rate in (0.98, 0.99, 0.995, 0.999):
        cells = " | ".join(
            percentage(guide_false_alarm(CASES, tries, CONDITIONS, rate, 0.9, 0.9))
            for tries in (5, 10, 20)
        )
        yield f"| {percentage(rate)} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated error rates of the gate.")
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs per figure")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    for title, rows in (
        ("passes / fails", error_table(options.runs, rng)),
        ("special runs", special_table(options.runs, rng)),
        ("the guide's rule fails", guide_table()),
    ):
        print(f"\n{title}\n")
        for row in rows:
            print(row, flush=True)
    perfect = further_tries(1, 1, DEFAULT_REFERENCE, LOWER, TESTS) + 1
    print(f"\na condition without a failure passes after {perfect} tries")


if __name__ == "__main__":
    main()
