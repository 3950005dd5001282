"""Simulated error rates of the tool-calling gate, as Markdown tables for docs/statistics.md.

    python benchmarks/gate_rates.py [--runs N] [--seed N]

A run has 36 cases, two APIs, and k tries of each case over each API, which alternate between
streaming and non-streaming. The success rates of the cases are equal, or they differ (beta
distributed, 30% of the variance between cases) and are the same in all runs, or they differ and
are drawn for every run, so that the mean over the cases of a run deviates from the stated rate.
Single cases are compared with a reference run of the same provider with 5 tries. The runs of the
table of looks are planned, scored and decided by the functions of the product. It takes about ten
minutes on one core.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from gpt_oss_verify.planning import DEFAULT_TRIES, FIRST_TRIES, MOST_FURTHER
from harness.records.conditions import BOTH_APIS, Condition
from harness.records.figures import Decision, ExchangeCounts
from harness.records.scores import Outcome
from harness.records.settings import Sampling, Thresholds
from harness.run.cases import load_suite
from harness.statistics.rates import at_least
from harness.statistics.two_rates import (
    above,
    case_level,
    chance_of_worse,
    evidence,
    fail_level,
    further_tries,
    guide_false_alarm,
    pass_level,
    spread_failures,
)
from harness.tasks.task import not_run
from harness.tasks.tool_calling import ToolCalling
from harness.text import percentage
from harness.verdict import success_rate
from harness.verdict.gate import server_errors
from harness.verdict.reference_rate import DEFAULT_REFERENCE

REQUESTS, BURST = (720, 1_700), 5  # requests of the suites tools and standard
CASES, APIS, MODES, BETWEEN = 36, 2, 2, 0.3
LOWER = Thresholds().lower_rate
TESTS = APIS + APIS * MODES + 1
LEVEL = case_level(CASES * (APIS + 1))
KNOWN_TRIES = 5 * APIS
Counts = NDArray[np.int64]
"""Passed tries; axes: run, API, mode, case."""


@dataclass(frozen=True)
class Rates:
    """Shares of runs that pass and fail, and that fail because of a single case."""

    passed: float
    failed: float
    by_case: float


def case_rates(mean: float, kind: str, runs: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Success rates of the cases; axes: run, API, mode, case."""
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
    return np.broadcast_to(rates[:, None, None, :], (runs, APIS, MODES, CASES))


def tries_of(number: int) -> Counts:
    """The tries that are made in each mode; axes: mode, case. Every second case starts with the
    other mode.
    """
    first = (np.arange(CASES) + np.arange(MODES)[:, None]) % MODES == 0
    return np.where(first, (number + 1) // 2, number // 2)


def decisions(passed: Counts, tries: Counts, reference: float) -> tuple[Counts, Counts]:
    """Whether each run passes, and whether its rates fail it; the axes of `tries`: mode, case."""
    number = int(tries.sum(axis=0)[0])
    shown = _evidence(passed.sum(axis=(2, 3)), CASES * number, reference)
    in_mode = np.stack(
        [_evidence(passed[:, :, m].sum(axis=2), int(each.sum()), reference)
         for m, each in enumerate(tries)], axis=2,
    )  # fmt: skip
    clear = np.stack(
        [np.array([above(n, int(each.sum()), LOWER) for n in range(int(each.sum()) + 1)])[
            passed[:, :, m].sum(axis=2)] for m, each in enumerate(tries)], axis=2,
    )  # fmt: skip
    good = (shown.min(axis=1) >= pass_level()) & clear.all(axis=(1, 2))
    level = fail_level(TESTS)
    lowest = np.minimum(np.minimum(shown.min(axis=1), shown.sum(axis=1)), in_mode.min(axis=(1, 2)))
    low = np.zeros(len(passed), dtype=bool)
    for run in np.nonzero(lowest <= level)[0]:
        good[run] = False
        by_api = passed[run].sum(axis=1) / number
        weak = [by_api.mean(axis=0)] if shown[run].sum() <= level else []
        weak += [rates for rates, each in zip(by_api, shown[run], strict=True) if each <= level]
        weak += [
            passed[run, api, mode, tries[mode] > 0] / tries[mode, tries[mode] > 0]
            for api, mode in np.argwhere(in_mode[run] <= level)
        ]
        low[run] = any(spread_failures(each.tolist(), reference, TESTS) for each in weak)
    return good, low


def _evidence(passed: Counts, tries: int, reference: float) -> NDArray[np.float64]:
    table = np.array([evidence(n, tries, reference, LOWER) for n in range(tries + 1)])
    found: NDArray[np.float64] = table[passed]
    return found


def broken_cases(passed: Counts, known: Counts, tries: int) -> Counts:
    """Whether each run has a case that fails too often and that the reference passes."""
    found = np.zeros(len(passed), dtype=bool)
    by_api = passed.sum(axis=2)
    for counts, most in ((by_api, tries), (by_api.sum(axis=1, keepdims=True), tries * APIS)):
        table = np.zeros((most + 1, KNOWN_TRIES + 1), dtype=bool)
        for n in range(most + 1):
            if at_least(most - n, most, 1 - LOWER) <= LEVEL:
                chances = [chance_of_worse(n, most, k, KNOWN_TRIES) for k in range(KNOWN_TRIES + 1)]
                table[n] = np.array(chances) <= LEVEL
        found |= table[counts, known].any(axis=(1, 2))
    return found


def simulate(
    rates: NDArray[np.float64], number: int, rng: np.random.Generator, reference: float
) -> Rates:
    """Verdicts of runs with these success rates and this number of tries over each API."""
    tries = tries_of(number)
    passed = rng.binomial(tries, rates)
    known = rng.binomial(5, rates[:, :, 0]).sum(axis=1, keepdims=True)
    good, low = decisions(passed, tries, reference)
    broken = broken_cases(passed, known, number)
    return Rates(float((good & ~broken).mean()), float((low | broken).mean()), float(broken.mean()))


def growing(
    rates: NDArray[np.float64], most: int, rng: np.random.Generator, reference: float
) -> Rates:
    """The first decision of runs that are judged after every round."""
    passed = np.zeros(rates.shape, dtype=np.int64)
    ever_good, ever_low = np.zeros(len(rates), bool), np.zeros(len(rates), bool)
    made = tries_of(0)
    for number in range(1, most + 1):
        tries = tries_of(number)
        passed += rng.binomial(tries - made, rates)
        made = tries
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
    one_mode = case_rates(1.0, "equal", runs, rng).copy()
    one_mode[:, 0, 0] = LOWER
    for name, found in (
        (
            f"one API at {percentage(LOWER, 0)}, k = 5",
            simulate(one_weak, 5, rng, DEFAULT_REFERENCE),
        ),
        (
            f"one mode of one API at {percentage(LOWER, 0)}, the rest perfect, k = 5",
            simulate(one_mode, 5, rng, DEFAULT_REFERENCE),
        ),
        (
            "the same, judged after each of 20 rounds",
            growing(one_mode, 20, rng, DEFAULT_REFERENCE),
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


def looked_at(
    rates: NDArray[np.float64], rng: np.random.Generator, *, tries: int
) -> tuple[Decision | None, int]:
    """The decision on one run, and its attempts; with `FIRST_TRIES`, it gets what is undecided.

    `rates` are those of one run of `case_rates`; a case that is never passed adds nothing here.
    """
    suite, thresholds = load_suite(), Thresholds()
    conditions = [Condition(model="", api=api, mode=None) for api in BOTH_APIS]
    places = {case.id: place for place, case in enumerate(suite.cases)}
    passed: dict[str, bool] = {}
    further: Counter[str] = Counter()
    while True:
        task = ToolCalling(suite, conditions, tries=tries, sampling=Sampling(), further=further)
        scores = []
        for attempt in task.all_attempts():
            api, mode = BOTH_APIS.index(attempt.condition.api), int(attempt.condition.streaming)
            chance = rates[api, mode, places[attempt.sample.id]]
            good = passed.setdefault(attempt.id, bool(rng.random() < chance))
            outcome: Outcome = "success" if good else "no_tool_call"
            scores.append(replace(not_run(attempt), outcome=outcome, value=float(good)))
        results = list(task.results(scores))
        left = MOST_FURTHER * CASES * APIS - further.total()
        looks = tries == FIRST_TRIES
        more = success_rate.further_tries(results, thresholds, left) if looks else {}
        if not more:
            decided = success_rate.decide(results, thresholds, sequential=looks)
            return decided.decision, len(passed)
        further += Counter(more)


def table_of_looks(runs: int, rng: np.random.Generator) -> Iterator[str]:
    """Runs in which undecided modes alone get further tries, beside runs with five tries."""
    yield "| rate | looks: passes / fails | attempts, mean and 90% | k = 5: passes / fails |"
    yield "| --- | ---: | ---: | ---: |"
    for mean, kind, bad in (
        (0.995, "equal", None), (0.99, "equal", None), (DEFAULT_REFERENCE, "equal", None),
        (DEFAULT_REFERENCE, "redrawn", None), (0.97, "equal", None), (0.95, "equal", None),
        (LOWER, "equal", None), (LOWER, "redrawn", None), (0.85, "equal", None),
        (0.995, "equal", LOWER), (0.995, "equal", 0.85),
    ):  # fmt: skip
        rates = case_rates(mean, kind, runs, rng).copy()
        rates[:, 0, 0] = rates[:, 0, 0] if bad is None else bad
        rates = np.broadcast_to(rates, (runs, APIS, MODES, CASES))
        every = {
            tries: [looked_at(each, rng, tries=tries) for each in rates]
            for tries in (FIRST_TRIES, DEFAULT_TRIES)
        }
        shown = [
            " / ".join(
                percentage(float(np.mean([decision == wanted for decision, _ in found])))
                for wanted in ("pass", "fail")
            )
            for found in every.values()
        ]
        made = [attempts for _, attempts in every[FIRST_TRIES]]
        name = percentage(mean) + (", differ" if kind == "redrawn" else "")
        name += "" if bad is None else f", one mode of one API {percentage(bad, 0)}"
        attempts = f"{np.mean(made):.0f}, {np.quantile(made, 0.9):.0f}"
        yield f"| {name} | {shown[0]} | {attempts} | {shown[1]} |"


def guide_table() -> Iterator[str]:
    """How often the rule of OpenAI's guide fails good providers."""
    yield "| rate of every try | k = 5 | k = 10 | k = 20 |"
    yield "| ---: | ---: | ---: | ---: |"
    for rate in (0.98, 0.99, 0.995, 0.999):
        cells = " | ".join(
            percentage(guide_false_alarm(CASES, tries, APIS, rate, 0.9, 0.9))
            for tries in (5, 10, 20)
        )
        yield f"| {percentage(rate)} | {cells} |"


def server_error_table(runs: int, rng: np.random.Generator) -> Iterator[str]:
    """Runs that fail because too many requests succeeded only after a failure of the server.

    In a burst, five requests in a row fail; a request fails with the stated probability.
    """
    yield "| share of requests | " + " | ".join(f"{n:,} requests" for n in REQUESTS) + " |"
    yield "| ---: |" + " ---: |" * len(REQUESTS)
    for share in (0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
        for burst in (1, BURST):
            rates = [
                np.mean(
                    [
                        any(server_errors(counts, Thresholds()))
                        for failed in rng.binomial(served // burst, share, runs) * burst
                        for counts in [ExchangeCounts(served=served, after_failures=int(failed))]
                    ]
                )
                for served in REQUESTS
            ]
            name = percentage(share) + (f", in bursts of {burst}" if burst > 1 else "")
            yield f"| {name} | " + " | ".join(percentage(float(rate)) for rate in rates) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated error rates of the gate.")
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs per figure")
    parser.add_argument("--looks", type=int, default=400, help="runs of the table of looks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    for title, rows in (
        ("passes / fails", error_table(options.runs, rng)),
        ("special runs", special_table(options.runs, rng)),
        ("looks", table_of_looks(options.looks, rng)),
        ("the guide's rule fails", guide_table()),
        ("failures before a success", server_error_table(options.runs, rng)),
    ):
        print(f"\n{title}\n")
        for row in rows:
            print(row, flush=True)
    perfect = further_tries(1, 1, DEFAULT_REFERENCE, LOWER, TESTS) + 1
    print(f"\na condition without a failure passes after {perfect} tries")


if __name__ == "__main__":
    main()
