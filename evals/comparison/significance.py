"""Which of many differences are more than chance. Pure.

A difference of two means gets the interval of `evals.statistics.comparison` and, by inverting that
interval, a p-value. One page tests many differences, so the p-values are corrected by Holm (1979):
if no entry differed from the reference at all, the chance that the page says better or worse even
once is at most 5 %. Single cases are tested by Fisher's exact test, and named so that few of those
named are luck (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from evals.comparison.records import Difference, Seen
from evals.statistics.comparison import difference
from evals.statistics.levels import POWER, distance
from evals.statistics.noise import UNSEEN, BinomialMean, Mean, NormalMean
from harness.records.analysis import Estimate
from harness.statistics.metrics import CONFIDENCE, exact_bounds

ALPHA = 1 - CONFIDENCE
_HALVINGS = 40
_STEPS = 12
_TAILS = (1e-9, 0.49)
"""Tails that p-values are looked for between; at 0.5 a bound is the mean, whatever its noise."""


@dataclass(frozen=True)
class Pair:
    """An entry and the reference, to be tested; `cases` counts what is paired."""

    here: Mean
    there: Mean
    cases: int | None
    higher_is_better: bool = True


def rate_mean(rate: Estimate, trials: int) -> Mean:
    """A share with a clustered interval as a mean with noise, for `difference`.

    The effective number of trials is the one for which Clopper and Pearson's lower bound is that of
    the interval; at 0 and 1, where the interval has no clusters in it, it is all of them.

    Args:
        rate: The share and its interval, as `harness.statistics.metrics.clustered_rate` gives them.
        trials: How many trials there were.
    """
    share = rate.value
    count = float(trials) if share in {0.0, 1.0} else _effective(rate, trials)
    noise = max(share * (1 - share) / count, UNSEEN / count**2)
    return BinomialMean(share, math.sqrt(noise), 1.0, count, math.inf)


def p_value(here: Mean, there: Mean) -> float:
    """Two-sided p-value: twice the smallest tail whose bounds of the difference leave out 0."""
    if here.value == there.value:
        return 1.0
    if not _excludes_zero(here, there, _TAILS[1]):
        return 1.0
    low, high = map(math.log, _TAILS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _excludes_zero(here, there, math.exp(middle)):
            high = middle
        else:
            low = middle
    return min(1.0, 2 * math.exp(high))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the given order (Holm 1979)."""
    adjusted = [1.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = highest
    return adjusted


def differences(pairs: Sequence[Pair]) -> list[Difference]:
    """Test many differences together."""
    values = [p_value(pair.here, pair.there) for pair in pairs]
    return [
        _difference(pair, p, adjusted, len(pairs))
        for pair, p, adjusted in zip(pairs, values, holm(values), strict=True)
    ]


def fisher(here: tuple[int, int], there: tuple[int, int]) -> float:
    """Fisher's exact test of two shares, two-sided: all tables no likelier than the one seen.

    Args:
        here: Hits and trials of one side.
        there: Those of the other.
    """
    ways = _tables(here, there)
    seen = ways[here[0]]
    return sum(count for count in ways.values() if count <= seen) / sum(ways.values())


def beyond_chance(tables: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> list[bool]:
    """Which of many pairs of shares differ; of those named, 5 % are luck on average, at most.

    Benjamini and Hochberg (1995) among the pairs that could be significant at all, given how many
    hits there are on both sides together: two that are always solved, say, could not be.
    """
    chosen = [index for index, pair in enumerate(tables) if _least_p(*pair) <= ALPHA]
    values = {index: fisher(*tables[index]) for index in chosen}
    limit = 0.0
    for rank, p in enumerate(sorted(values.values()), start=1):
        if p <= ALPHA * rank / len(values):
            limit = p
    return [values.get(index, 1.0) <= limit for index in range(len(tables))]


def smallest_seen(pair: Pair, tail: float) -> float | None:
    """The smallest true worsening that a pair like this shows with 80 % power.

    It is the one whose interval still leaves out 0 when luck is kinder to it than in four of five
    runs. The noise of the worse run is taken to be that of cases equally hard, the most it can be.

    Args:
        pair: An entry and the reference; only the noise of the entry counts, not its mean.
        tail: Chance that a bound is wrong.

    Returns:
        None if not even the worst possible run would show.
    """
    most = pair.there.value if pair.higher_is_better else 1 - pair.there.value
    if not _would_show(pair, most, tail):
        return None
    small, large = 0.0, most
    for _ in range(_STEPS):
        middle = (small + large) / 2
        if _would_show(pair, middle, tail):
            large = middle
        else:
            small = middle
    return large


def _would_show(pair: Pair, drop: float, tail: float) -> bool:
    sign = -1 if pair.higher_is_better else 1
    worse = _with_value(pair.here, pair.there.value + sign * drop)
    luck = distance(1 - POWER) * math.hypot(worse.error, pair.there.error)
    lucky = worse.value - sign * luck
    if (lucky - pair.there.value) * sign <= 0:
        return False
    return _excludes_zero(_with_value(pair.here, lucky), pair.there, tail)


def _with_value(mean: Mean, value: float) -> Mean:
    """The mean of a run of the same size that came to another value."""
    if not isinstance(mean, BinomialMean):
        return NormalMean(value, mean.error, mean.tries)
    value = min(1.0, max(0.0, value))
    noise = math.sqrt(max(value * (1 - value) / mean.trials, UNSEEN / mean.trials**2))
    return BinomialMean(value, noise, mean.tries, mean.trials, math.inf)


def _difference(pair: Pair, p: float, adjusted: float, count: int) -> Difference:
    interval = difference(pair.here, pair.there, ALPHA / 2, ALPHA / 2)
    return Difference(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        p=p,
        adjusted=adjusted,
        seen=_seen(interval.value, adjusted, upwards=pair.higher_is_better),
        detectable=smallest_seen(pair, ALPHA / 2 / count),
        pairs=pair.cases,
    )


def _excludes_zero(here: Mean, there: Mean, tail: float) -> bool:
    between = difference(here, there, tail, tail)
    return between.low > 0 or between.high < 0


def _effective(rate: Estimate, trials: int) -> float:
    few, many = 1.0, float(trials)
    for _ in range(_HALVINGS):
        middle = (few + many) / 2
        if exact_bounds(rate.value * middle, middle, ALPHA / 2)[0] < rate.low:
            few = middle
        else:
            many = middle
    return many


def _seen(value: float, adjusted: float, *, upwards: bool) -> Seen:
    if adjusted >= ALPHA:
        return "none"
    return "better" if (value > 0) == upwards else "worse"


def _tables(here: tuple[int, int], there: tuple[int, int]) -> dict[int, int]:
    """The number of ways to get each count of hits here, both margins given."""
    hits = here[0] + there[0]
    least, most = max(0, hits - there[1]), min(here[1], hits)
    return {
        count: comb(here[1], count) * comb(there[1], hits - count)
        for count in range(least, most + 1)
    }


def _least_p(here: tuple[int, int], there: tuple[int, int]) -> float:
    ways = _tables(here, there)
    rarest = min(ways.values())
    return sum(count for count in ways.values() if count == rarest) / sum(ways.values())
