"""pass@k, pass^k, their intervals, and percentiles. Pure; nothing here is random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

from harness.records.analysis import Estimate, Percentiles
from harness.statistics.distributions import beta_quantile, student_quantile

CONFIDENCE = 0.95


def pass_at_k(tries: int, successes: int, k: int) -> float:
    """Probability that at least one of `k` tries succeeds: 1 - C(n-c, k) / C(n, k).

    Unbiased (Chen et al. 2021, arXiv 2107.03374).

    Raises:
        ValueError: If not 0 <= successes <= tries or not 1 <= k <= tries.
    """
    _require(tries, successes, k)
    return 1.0 - comb(tries - successes, k) / comb(tries, k)


def pass_hat_k(tries: int, successes: int, k: int) -> float:
    """Probability that `k` tries all succeed: C(c, k) / C(n, k).

    Unbiased (Yao et al. 2024, arXiv 2406.12045).

    Raises:
        ValueError: If not 0 <= successes <= tries or not 1 <= k <= tries.
    """
    _require(tries, successes, k)
    return comb(successes, k) / comb(tries, k)


def clustered_estimate(values: Sequence[float], repeats: int) -> Estimate:
    """Mean of one value per case, each in [0, 1], with a 95 % interval that holds at small n.

    The interval is Korn and Graubard's (1998), the one the US National Center for Health
    Statistics uses for proportions from clustered samples: Clopper-Pearson with the number of
    trials replaced by an effective one, mean * (1 - mean) / variance of the mean between cases.
    `repeats` is the number of disjoint groups of tries that one value rests on (tries // k): the
    effective number of trials never exceeds cases * repeats, and is exactly that where all cases
    agree on 0 or 1. So a perfect run gets the exact bound of that many trials, never [1, 1].

    Args:
        values: One value per case; cases are the clusters.
        repeats: Independent trials behind each value, at least 1.

    Raises:
        ValueError: If there are no values or no repeats.
    """
    if not values or repeats < 1:
        raise ValueError("an estimate needs at least one value and one repeat")
    cases = len(values)
    mean = min(1.0, max(0.0, math.fsum(values) / cases))
    squares = math.fsum((value - mean) ** 2 for value in values)
    return _estimate(mean, cases, float(cases * repeats), squares / cases**2)


def clustered_rate(counts: Sequence[tuple[int, int]]) -> Estimate:
    """Share of hits among trials that come in clusters of any size, with its 95 % interval.

    The interval is that of `clustered_estimate`, with the variance of a ratio (Cochran, Sampling
    Techniques, 1977, section 2.11) in place of that of a mean; for clusters of one size both agree.

    Args:
        counts: For each cluster its hits and its trials.

    Raises:
        ValueError: If there are no trials, or more hits than trials.
    """
    trials = sum(size for _, size in counts)
    if trials < 1 or any(not 0 <= hits <= size for hits, size in counts):
        raise ValueError("a rate needs at least one trial, and no more hits than trials")
    share = sum(hits for hits, _ in counts) / trials
    squares = math.fsum((hits - share * size) ** 2 for hits, size in counts)
    return _estimate(share, len(counts), float(trials), squares / trials**2)


def exact_bounds(hits: float, trials: float, tail: float) -> tuple[float, float]:
    """Bounds of a share, each wrong with a chance of at most `tail` (Clopper and Pearson 1934).

    Neither number need be whole: an effective number of trials will do.
    """
    low = 0.0 if hits <= 0 else beta_quantile(tail, hits, trials - hits + 1)
    high = 1.0 if hits >= trials else beta_quantile(1 - tail, hits + 1, trials - hits)
    return low, high


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Nearest-rank percentiles, so that every figure was really measured; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)

    def rank(share: float) -> float:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    return Percentiles(count=len(ordered), p50=rank(0.5), p90=rank(0.9), p99=rank(0.99))


def _estimate(mean: float, clusters: int, most: float, between: float) -> Estimate:
    """Korn and Graubard's interval of `mean`.

    Args:
        mean: A share.
        clusters: How many clusters it was taken over.
        most: Trials behind it, were they all independent.
        between: Its variance as seen between clusters, without the factor n / (n - 1).
    """
    trials = most
    if clusters > 1 and between > 0.0 and 0.0 < mean < 1.0:
        tail = 1 - (1 - CONFIDENCE) / 2
        few = (student_quantile(tail, max(most - 1, 1)) / student_quantile(tail, clusters - 1)) ** 2
        variance = between * clusters / (clusters - 1)
        trials = float(min(most, max(1.0, mean * (1 - mean) / variance * few)))
    hits = mean * trials
    low, high = exact_bounds(hits, trials, (1 - CONFIDENCE) / 2)
    return Estimate(value=mean, low=min(low, mean), high=max(high, mean))


def _require(tries: int, successes: int, k: int) -> None:
    if not 0 <= successes <= tries:
        raise ValueError(f"{successes} successes in {tries} tries")
    if not 1 <= k <= tries:
        raise ValueError(f"k must be between 1 and {tries}, not {k}")
