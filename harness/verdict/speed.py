"""Decide whether the streams of tool calls are as fast as the gate requires. No I/O.

Each limit is judged over each API with one-sided bounds of the quantile, for any distribution
(`quantile_bound`); the tries of one case are a cluster.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.records.conditions import Api
from harness.records.figures import Decision
from harness.records.scores import Score
from harness.records.settings import Speed, Thresholds
from harness.statistics.intervals import ALPHA, quantile_bound

FAIL_ERROR = 0.01
"""Upper bound on the probability that a server that meets all limits fails by one of them."""
_SHARES = {"p50": 0.5, "p90": 0.9}


class _Measure(NamedTuple):
    name: str  # member of `Speed` and of `Timing`
    title: str
    unit: str
    slow: int  # 1 if high values are slow, -1 if low ones are


_MEASURES = (
    _Measure("first_token", "time to the first token", " s", 1),
    _Measure("tokens_per_second", "tokens per second", "", -1),
)


class _Limit(NamedTuple):
    measure: _Measure
    quantile: str
    value: float


class SpeedResult(NamedTuple):
    """A decision about a limit over an API, in a sentence."""

    decision: Decision
    reason: str
    measured: float = math.inf  # the slower, the higher


def judge(
    scores: Iterable[Score], thresholds: Thresholds, concurrency: int
) -> Sequence[SpeedResult]:
    """Judge the limits of a gate by the attempts at tool calls of a complete run.

    The results of a limit begin with the slowest API, which stands for the others if all meet it.
    """
    speed, where = thresholds.speed or Speed(), thresholds.where("speed")
    limits = [
        _Limit(measure, quantile, value)
        for measure in _MEASURES
        for quantile, value in getattr(speed, measure.name).stated.items()
    ]
    if limits and speed.concurrency not in (None, concurrency):
        asked = f"--concurrency {speed.concurrency}"
        reason = (
            f"The gate{where} limits the speed at {asked}, but this run had --concurrency "
            f"{concurrency}: start a run with {asked}."
        )
        return (SpeedResult("inconclusive", reason),)
    streams = _attempts(scores)
    if limits and not streams:
        reason = f"The gate{where} limits the speed of tool calls, but the run has none."
        return (SpeedResult("inconclusive", reason),)
    tests = len(limits) * len(streams)
    return tuple(result for limit in limits for result in _results(limit, streams, tests, where))


def _results(
    limit: _Limit, streams: Mapping[Api, dict[str, list[Score]]], tests: int, where: str
) -> Sequence[SpeedResult]:
    results = [_judged(limit, api, samples, tests, where) for api, samples in streams.items()]
    results.sort(key=lambda result: -result.measured)
    return results[:1] if all(result.decision == "pass" for result in results) else results


def _attempts(scores: Iterable[Score]) -> dict[Api, dict[str, list[Score]]]:
    """Return the attempts that were made by API and case."""
    attempts: dict[Api, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        if score.finished:
            attempts[score.condition.api][score.sample].append(score)
    return attempts


def _judged(
    limit: _Limit, api: Api, samples: dict[str, list[Score]], tests: int, where: str
) -> SpeedResult:
    _, title, unit, slow = measure = limit.measure
    clusters = [list(_values(measure, scores)) for scores in samples.values()]
    ordered = sorted(value for values in clusters for value in values)
    required = f"required: {_bound(slow, limit.value, unit)}{where}"
    what = f"{api}: {limit.quantile} of the {title}"
    if not ordered:
        reason = f"{what} was not measured, because no stream of a tool call allows it; {required}."
        return SpeedResult("inconclusive", reason)
    share = _SHARES[limit.quantile]
    worst = quantile_bound(clusters, share, ALPHA)
    best = -quantile_bound([[-v for v in case] for case in clusters], 1 - share, FAIL_ERROR / tests)
    measured = slow * ordered[max(0, math.ceil(share * len(ordered)) - 1)]
    fact = f"{what} is {measured:.3g}{unit}"
    streams = f"{len(ordered)} streams"
    if worst <= slow * limit.value:
        bound = _bound(slow, slow * worst, unit)
        reason = f"{fact} ({bound} with 95% confidence, {streams}); {required}."
        return SpeedResult("pass", reason, slow * measured)
    if best > slow * limit.value:
        bound = _bound(-slow, slow * best, unit)
        reason = f"{fact} ({bound} with 99% confidence, {streams}); {required}."
        return SpeedResult("fail", reason, slow * measured)
    reason = f"{fact} ({streams}); {required}. Only more tries (-k) can tell."
    return SpeedResult("inconclusive", reason, slow * measured)


def _values(measure: _Measure, scores: Iterable[Score]) -> Iterator[float]:
    """Yield the measured values, negative ones if low values are slow."""
    for score in scores:
        for timing in score.timing:
            value = getattr(timing, measure.name)
            if value is not None:
                yield measure.slow * value


def _bound(side: int, value: float, unit: str) -> str:
    return f"{'at most' if side > 0 else 'at least'} {value:.3g}{unit}"
