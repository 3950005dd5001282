"""Differences of scores and rates, tests of them, and corrections for many tests."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean
from typing import Literal

from harness.records.record import Record
from harness.records.scores import Estimate
from harness.statistics.distributions import hypergeometric, root
from harness.statistics.estimators import Scores, question_means
from harness.statistics.intervals import ALPHA, critical_value
from harness.statistics.mean_scores import UNSEEN, Mean, clustered_error, run_mean
from harness.statistics.question import Counts

TAIL = 0.05  # one-sided error probability of a bound
POWER = 0.8  # probability that a run detects the drop that is reported as detectable
_TAILS = (1e-9, 0.49)  # range of one-sided p-values; at 0.5 a bound is the mean for any noise
_STEPS = 4096
"""Resolution of the smallest detectable worsening, as a fraction of the largest possible one."""

Seen = Literal["better", "worse", "none"]


@dataclass(frozen=True)
class Pair:
    """A run and the reference that it is compared with; `cases` counts the shared questions."""

    run: Mean
    reference: Mean
    cases: int | None
    higher_is_better: bool = True


class Difference(Record):
    """A run minus the reference, paired if the row is about cases or questions.

    `low` and `high` are the 95% interval of this difference alone, between -1 and 1 where the
    difference is. `p` is its two-sided p-value and `adjusted` the p-value after Holm's correction
    for all differences of the comparison; `seen` is "better" or "worse" only if `adjusted` is below
    5%. `detectable` is the smallest true worsening that these runs detect with a probability of 80%
    after correction; None if they cannot detect any. `pairs` counts the shared cases or questions;
    None for unpaired rates.
    """

    value: float
    low: float
    high: float
    p: float
    adjusted: float
    seen: Seen
    detectable: float | None
    pairs: int | None = None


def difference(
    run: Mean, baseline: Mean, run_tail: float = TAIL, baseline_tail: float = TAIL
) -> Estimate:
    """Return the difference of two independent means, from the bounds of each.

    Newcombe (1998, method 10), generalized as MOVER by Zou and Donner (2008). It keeps the
    asymmetry of bounds near 0 and 1. Each tail is the probability that a bound is wrong.
    """
    low, high = run.bounds(run_tail)
    baseline_low, baseline_high = baseline.bounds(baseline_tail)
    value = run.value - baseline.value
    return Estimate(
        value=value,
        low=value - math.hypot(run.value - low, baseline_high - baseline.value),
        high=value + math.hypot(high - run.value, baseline.value - baseline_low),
    )


def paired_means(run: Scores, baseline: Scores) -> tuple[Mean, Mean]:
    """Return two mean scores over the same questions in the same order.

    If both have repeated tries of every question, each gets its own noise, enlarged if the
    differences per question vary more than it explains: short replies from a cache are copies that
    nothing shows. Otherwise the variance of the differences per question is divided equally
    between the two. It is free of the difficulty of the questions and can only overestimate the
    noise.

    Raises ValueError if the numbers of questions differ, or a question has no tries.
    """
    if len(run) != len(baseline):
        raise ValueError(f"{len(run)} questions cannot be paired with {len(baseline)}")
    first, second = run_mean(run), run_mean(baseline)
    ours, theirs = question_means(run), question_means(baseline)
    error = clustered_error([a - b for a, b in zip(ours, theirs, strict=True)])
    noise = math.hypot(first.error, second.error)
    if not error:
        return first, second
    if noise and min(map(len, run)) > 1 < min(map(len, baseline)):
        larger = max(1.0, error / noise)
        first = replace(first, error=first.error * larger)
        return first, replace(second, error=second.error * larger)
    half, freedom = error / math.sqrt(2), len(run) - 1
    return (
        Mean(fmean(ours), half, min(map(len, run)), freedom),
        Mean(fmean(theirs), half, min(map(len, baseline)), freedom),
    )


def differences(pairs: Sequence[Pair]) -> list[Difference]:
    """Test several differences together.

    The p-values are corrected by Holm's method (1979): if no run differs from its reference, the
    probability that any difference is reported as better or worse is at most 5%.
    """
    values = [p_value(pair.run, pair.reference) for pair in pairs]
    return [
        _tested(pair, p, adjusted, len(pairs))
        for pair, p, adjusted in zip(pairs, values, holm(values), strict=True)
    ]


def p_value(run: Mean, reference: Mean) -> float:
    """Return a two-sided p-value: twice the smallest tail whose interval excludes 0."""
    gap = run.value - reference.value
    if gap == 0:
        return 1.0

    def nearest_bound(log_tail: float) -> float:
        tail = math.exp(log_tail)
        interval = difference(run, reference, tail, tail)
        return interval.low if gap > 0 else -interval.high

    least, most = map(math.log, _TAILS)
    if nearest_bound(most) <= 0:
        return 1.0
    if nearest_bound(least) > 0:
        return 2 * _TAILS[0]
    return 2 * math.exp(root(nearest_bound, least, most, precision=1e-12))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction (1979), in the given order."""
    adjusted = [1.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted


def detectable_worsening(
    pair: Pair, tail: float, *, reference_tail: float | None = None, margin: float = 0.0
) -> float | None:
    """Return the smallest true worsening that a pair like this detects with at least 80% power.

    The estimate of such a run is assumed to be better than its true value by as much as occurs in
    one of five runs, and its interval must still exclude `margin`, which is tolerated. The noise
    of the worse run is that of questions of equal difficulty, which is the largest possible. `tail`
    and `reference_tail` are the probabilities that a bound of the run or the reference is wrong.

    The worsening is rounded up to 1/4096 of the largest possible one; None if even that one is not
    detected.
    """
    most = pair.reference.value if pair.higher_is_better else 1 - pair.reference.value
    tails = tail, tail if reference_tail is None else reference_tail

    def detected(step: int) -> bool:
        return _detected(pair, most * step / _STEPS, tails, margin)

    if not detected(_STEPS):
        return None
    index = bisect_left(range(1, _STEPS), True, key=detected)
    return most * (index + 1) / _STEPS


@lru_cache(maxsize=4096)
def fisher_exact(run: Counts, reference: Counts) -> float:
    """Return the two-sided p-value of Fisher's exact test of two shares.

    The sum over all tables that are at most as probable as this one, given the totals (Agresti,
    Categorical Data Analysis, 2013, section 3.5.1).
    """
    hits = run[0] + reference[0]
    chances = list(hypergeometric(hits, run[1] + reference[1] - hits, run[1]))
    observed = chances[run[0] - max(0, hits - reference[1])]
    return min(1.0, math.fsum(chance for chance in chances if chance <= observed))


def significant_cases(tables: Sequence[tuple[Counts, Counts]]) -> list[bool]:
    """Return whether the shares of each case differ, with a false discovery rate of at most 5%.

    Benjamini and Hochberg (1995), applied to the cases that can be significant given the total
    number of hits (Tarone 1990). A case that always passes in both runs, for example, cannot.
    """
    chosen = [fisher_exact(*table) for table in tables if _least_p(*table) <= ALPHA]
    ranked = enumerate(sorted(chosen), 1)
    bound = max((p for rank, p in ranked if p <= ALPHA * rank / len(chosen)), default=-1.0)
    return [_least_p(*table) <= ALPHA and fisher_exact(*table) <= bound for table in tables]


def share_larger(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the share of pairs in which the value of `second` is larger; ties count one half.

    This is the statistic of Mann and Whitney (1947) divided by the number of pairs: 0.5 for equal
    distributions, 1 if every value of `second` is larger.
    """
    larger = sum((there > here) + (there == here) / 2 for here in first for there in second)
    return larger / (len(first) * len(second))


def _tested(pair: Pair, p: float, adjusted: float, count: int) -> Difference:
    interval = difference(pair.run, pair.reference, ALPHA / 2, ALPHA / 2)
    seen: Seen = "none"
    if adjusted < ALPHA:
        seen = "better" if (interval.value > 0) == pair.higher_is_better else "worse"
    return Difference(
        value=interval.value,
        low=max(interval.low, min(-1.0, interval.value)),
        high=min(interval.high, max(1.0, interval.value)),
        p=p,
        adjusted=adjusted,
        seen=seen,
        detectable=detectable_worsening(pair, ALPHA / 2 / count),
        pairs=pair.cases,
    )


def _detected(pair: Pair, worsening: float, tails: tuple[float, float], margin: float) -> bool:
    sign = -1 if pair.higher_is_better else 1
    true = _with_value(pair.run, pair.reference.value + sign * worsening)
    luck = critical_value(1 - POWER) * math.hypot(true.error, pair.reference.error)
    interval = difference(_with_value(pair.run, true.value - sign * luck), pair.reference, *tails)
    return interval.high < -margin if pair.higher_is_better else interval.low > margin


def _with_value(mean: Mean, value: float) -> Mean:
    """Return a run of the same size with another mean."""
    if mean.trials is None:
        return Mean(value, mean.error, mean.tries)
    value = min(1.0, max(0.0, value))
    noise = math.sqrt(max(value * (1 - value) / mean.trials, UNSEEN / mean.trials**2))
    return Mean(value, noise, mean.tries, trials=mean.trials)


def _least_p(run: Counts, reference: Counts) -> float:
    """Return the smallest p-value that Fisher's test can give for these totals."""
    hits = run[0] + reference[0]
    extremes = max(0, hits - reference[1]), min(run[1], hits)
    return min(fisher_exact((count, run[1]), (hits - count, reference[1])) for count in extremes)
