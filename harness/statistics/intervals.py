"""Confidence intervals of rates and medians, with cases as clusters.

The functions call `scipy.special` and not `scipy.stats`: 1,000 exact bounds take 6 ms with
`betaincinv`, 117 ms with `stats.beta.ppf` and 5 s with `stats.binomtest`, which accepts only whole
numbers of trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from harness.records.analysis import Estimate
from harness.statistics.estimators import Scores

ALPHA = 0.05
"""Error probability of two-sided intervals and tests."""


def critical_value(tail: float, freedom: float = math.inf) -> float:
    """Number of standard errors above which Student's t distribution has the share `tail`.

    Degrees of freedom below 1 count as 1; infinity gives the normal distribution.
    """
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1.0), 1 - tail))


def exact_bounds(hits: float, trials: float, tail: float) -> tuple[float, float]:
    """Lower and upper bound of a share, each wrong with probability at most `tail`.

    Clopper and Pearson (1934). `hits` and `trials` may be fractions: effective numbers.
    """
    from scipy.special import betaincinv

    low = 0.0 if hits <= 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits >= trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def clustered_estimate(values: Sequence[float], repeats: int) -> Estimate:
    """Mean of one value per case, each in [0, 1], with a 95 % interval for small numbers of cases.

    Korn and Graubard (1998), as used by the US National Center for Health Statistics for
    proportions from clustered samples: Clopper and Pearson's interval with an effective number of
    trials, mean * (1 - mean) / (variance of the mean between cases). The effective number is at
    most cases * repeats, and equal to it if all cases are 0 or all are 1. A run without failures
    therefore gets the exact bound of that many trials and never the interval [1, 1].

    Args:
        values: One value per case; cases are the clusters.
        repeats: Independent trials behind each value: the number of disjoint groups of k tries,
            tries // k; at least 1.

    Raises:
        ValueError: If there are no values, or `repeats` is below 1.
    """
    if not values or repeats < 1:
        raise ValueError("an estimate needs at least one value and one repeat")
    cases = len(values)
    mean = min(1.0, max(0.0, math.fsum(values) / cases))
    squares = math.fsum((value - mean) ** 2 for value in values)
    return _korn_graubard(mean, cases, float(cases * repeats), squares / cases**2)


def clustered_rate(counts: Sequence[tuple[int, int]]) -> Estimate:
    """Share of hits among trials in clusters of any size, with a 95 % interval.

    The interval is that of `clustered_estimate` with the variance of a ratio (Cochran, Sampling
    Techniques, 1977, section 2.11); the two are equal if all clusters have the same size.

    Args:
        counts: Hits and trials of each cluster.

    Raises:
        ValueError: If there are no trials, or a cluster has more hits than trials.
    """
    trials = sum(size for _, size in counts)
    if trials < 1 or any(not 0 <= hits <= size for hits, size in counts):
        raise ValueError("a rate needs at least one trial, and no more hits than trials")
    share = sum(hits for hits, _ in counts) / trials
    squares = math.fsum((hits - share * size) ** 2 for hits, size in counts)
    return _korn_graubard(share, len(counts), float(trials), squares / trials**2)


def pass_estimate(estimator: Callable[[int, int, int], float], scores: Scores, k: int) -> Estimate:
    """Mean over questions of `pass_at_k` or `pass_hat_k`, with its interval.

    Args:
        estimator: `pass_at_k` or `pass_hat_k`.
        scores: Binary scores.
        k: Tries per group.

    Raises:
        ValueError: If a question has fewer than `k` tries.
    """
    return clustered_estimate(
        [estimator(len(tries), round(sum(tries)), k) for tries in scores],
        min(map(len, scores)) // k,
    )


def median_interval(values: Sequence[float]) -> Estimate:
    """Median with a 95 % interval, for any distribution; all three are measured values.

    The number of values below the true median is binomial with probability 1/2, so the bounds are
    order statistics (David and Nagaraja, Order Statistics, 2003, section 7.1). They are at most
    one rank wider than those of `scipy.stats.quantile_test`, which takes 0.85 s to import.

    Args:
        values: At least one value, in any order and unit.
    """
    ordered = sorted(values)
    count = len(ordered)
    low, high = exact_bounds(count / 2, count, ALPHA / 2)
    return Estimate(
        value=ordered[(count - 1) // 2],
        low=ordered[max(0, math.floor(low * count) - 1)],
        high=ordered[min(count - 1, math.ceil(high * count))],
    )


def _korn_graubard(mean: float, clusters: int, most: float, between: float) -> Estimate:
    """Korn and Graubard's interval.

    Args:
        mean: The observed share.
        clusters: Number of clusters.
        most: Number of trials, all taken as independent.
        between: Variance of the mean between clusters, without the factor n / (n - 1).
    """
    trials = most
    if clusters > 1 and between > 0.0 and 0.0 < mean < 1.0:
        few = critical_value(ALPHA / 2, max(most - 1, 1)) / critical_value(ALPHA / 2, clusters - 1)
        variance = between * clusters / (clusters - 1)
        trials = float(min(most, max(1.0, mean * (1 - mean) / variance * few**2)))
    low, high = exact_bounds(mean * trials, trials, ALPHA / 2)
    return Estimate(value=mean, low=min(low, mean), high=max(high, mean))
