"""Simulated false alarms and detection times of `watch`, for docs/monitoring.md.

    python benchmarks/monitoring.py [--runs N] [--seed N]

Rounds are hourly, with 8 of 36 tool calls and, in turn, one of 16 parts of the rules of all APIs.
Requests include those of tool calls (two each) and probes (23 per round), and two before the round.
A round is examined if something failed in it. The simulation takes about a minute on one core.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from statistics import median
from typing import TypeVar

from harness.probes.rule_results import RULES
from harness.records.conditions import BOTH_APIS
from harness.statistics.change_points import Change, Counts, increase
from harness.watching.records import TOOL_CALLS
from harness.watching.signals import chance, signals

V = TypeVar("V")
HOUR, MONTH = 3600.0, 720
CASES, EACH, PARTS = 36, 8, 16
REQUESTS = 2 + 2 * EACH + 23
ALARMS = 0.05
RARE = 0.0005
SIGNALS = signals((rule.about for rule in RULES.values()), BOTH_APIS)
CALLS = next(signal for signal in SIGNALS if signal.name == TOOL_CALLS)
STREAMS = sorted(name for signal in SIGNALS[2:] for name in signal.streams)


def switching(before: V, after: V, start: int = 0) -> Callable[[int], V]:
    """The value of each round: `before`, then `after` from round `start` on."""
    return lambda number: after if number >= start else before


def case_rates(mean: float, differ: bool, rng: random.Random) -> list[float]:
    """Failure rates of the cases with this mean; if they differ, a few cases fail most often."""
    if not differ:
        return [mean] * CASES
    hard = max(1, round(mean * CASES * 2))
    rates = [min(0.9, mean * CASES / hard) if case < hard else 0.0 for case in range(CASES)]
    rng.shuffle(rates)
    return rates


def tool_calls(rounds: int, rates: Callable[[int], list[float]], rng: random.Random) -> int | None:
    """The round that notices a drop of the success rate of tool calls."""
    step = -(-CASES // EACH)
    observed: list[Counts] = []
    for number in range(rounds):
        block, now = range(number % step, CASES, step), rates(number)
        failed = sum(rng.random() < now[case] for case in block)
        observed.append(Counts(number * HOUR, failed, len(block)))
        change = increase(observed) if failed else None
        if change is not None and chance(CALLS, {TOOL_CALLS: change}) <= ALARMS:
            return number
    return None


def probes(
    rounds: int, failing: Callable[[int], float], broken: Collection[str], rng: random.Random
) -> int | None:
    """The round that notices failing probes; every second round repeats those that failed."""
    parts = [STREAMS[first::PARTS] for first in range(PARTS)]
    series: dict[str, list[Counts]] = defaultdict(list)
    changes: dict[str, Change] = {}
    suspect: set[str] = set()
    turn = 0
    for number in range(rounds):
        again = bool(suspect) and number % 2 == 1
        chosen, turn = (sorted(suspect), turn) if again else (parts[turn % PARTS], turn + 1)
        for name in chosen:
            failed = int(rng.random() < (failing(number) if name in broken else RARE))
            series[name].append(Counts(number * HOUR, failed, 1))
            (suspect.add if failed else suspect.discard)(name)
            if any(each.failures for each in series[name]):
                change = increase(series[name])
                changes.pop(name, None)
                changes |= {} if change is None else {name: change}
        for signal in SIGNALS if suspect.intersection(chosen) else ():
            mine = {name: changes[name] for name in signal.streams & changes.keys()}
            if mine and chance(signal, mine) <= ALARMS:
                return number
    return None


def false_alarms(runs: int, rng: random.Random) -> Iterator[str]:
    """Simulated months without a change."""
    yield "| provider | months | with a false alarm |"
    yield "| --- | ---: | ---: |"
    for name, mean, differ in (
        ("tool calls succeed 99 % of the time", 0.01, False),
        ("95 %, all cases alike", 0.05, False),
        ("95 %, a few cases fail most", 0.05, True),
        ("70 %, a few cases fail most", 0.3, True),
    ):
        rates = case_rates(mean, differ, rng)
        found = [tool_calls(MONTH, switching(rates, rates), rng) for _ in range(runs)]
        yield f"| {name} | {runs} | {sum(each is not None for each in found) / runs:.1%} |"
    few = max(1, runs // 5)
    flaky = STREAMS[::20]
    for name, rate in (
        ("probes fail 1 of 2,000 times", RARE),
        (f"and {len(flaky)} of {len(STREAMS)} fail 1 of 10 times", 0.1),
    ):
        found = [probes(MONTH, switching(rate, rate), flaky, rng) for _ in range(few)]
        yield f"| {name} | {few} | {sum(each is not None for each in found) / few:.1%} |"


def drops(runs: int, rng: random.Random) -> Iterator[str]:
    """Detection of tool calls that succeed less often after some days."""
    yield "| success rate | noticed | hours, median | 90 % within | requests, median |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for days, before, after in (
        *((2, 0.01, after) for after in (0.1, 0.3)),
        *((14, 0.01, after) for after in (0.05, 0.1, 0.3, 1.0)),
        (14, 0.05, 0.15),
    ):
        start = days * 24
        rates = switching([before] * CASES, [after] * CASES, start)
        found = [tool_calls(start + MONTH, rates, rng) for _ in range(runs)]
        yield row(f"{1 - before:.0%} to {1 - after:.0%}, after {days} days", found, start)


def defects(runs: int, rng: random.Random) -> Iterator[str]:
    """Detection of probes that begin to fail after two weeks."""
    yield "| probes that fail | noticed | hours, median | 90 % within | requests, median |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    start = 14 * 24
    families = {signal.name: sorted(signal.streams) for signal in SIGNALS}
    for name, broken, rate in (
        ("all of numerics", families["numerics"], 1.0),
        ("one of numerics", families["numerics"][:1], 1.0),
        ("all of numerics, one time in three", families["numerics"], 0.33),
        ("all of cot", families["cot"], 1.0),
        ("one of prompt", families["prompt"][:1], 1.0),
    ):
        failing = switching(RARE, rate, start)
        found = [probes(start + 480, failing, broken, rng) for _ in range(runs)]
        yield row(name, found, start)


def row(name: str, noticed: Sequence[int | None], start: int) -> str:
    """The time to detection in the runs that noticed the defect after it began."""
    hours = sorted(each - start + 1 for each in noticed if each is not None and each >= start)
    if not hours:
        return f"| {name} | 0 % | – | – | – |"
    most = hours[min(len(hours) - 1, int(0.9 * len(hours)))]
    middle = median(hours)
    share = f"{len(hours) / len(noticed):.0%}"
    return f"| {name} | {share} | {middle:.0f} | {most} | {middle * REQUESTS:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated rates of `watch`.")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    few = max(1, options.runs // 5)
    for rows in (drops(few, rng), defects(few, rng), false_alarms(options.runs, rng)):
        print()
        for each in rows:
            print(each, flush=True)


if __name__ == "__main__":
    main()
