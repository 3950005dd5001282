"""Confidence intervals of rates and medians, with cases as clusters."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from harness.records.figures import AtK
from harness.records.scores import Estimate
from harness.statistics.distributions import beta_cdf, beta_quantile, root, t_quantile
from harness.statistics.estimators import pass_at_k, pass_hat_k

ALPHA = 0.05  # error probability of two-sided intervals and tests


def critical_value(tail: float, freedom: float = math.inf) -> float:
    """Return the standard errors above which Student's t distribution has the share `tail`.

    Degrees of freedom below 1 count as 1; infinity gives the normal distribution.
    """
    return t_quantile(max(freedom, 1.0), tail)


def exact_bounds(hits: float, trials: float, tail: float) -> tuple[float, float]:
    """Return the lower and upper bound of a share, each wrong with probability at most `tail`.

    Clopper and Pearson (1934). `hits` and `trials` may be fractions: effective numbers.
    """
    low = 0.0 if hits <= 0 else beta_quantile(hits, trials - hits + 1, tail)
    high = 1.0 if hits >= trials else 1 - beta_quantile(trials - hits, hits + 1, tail)
    return low, high


def clustered_rate(counts: Sequence[tuple[float, int]]) -> Estimate:
    """Return the share of hits among trials in clusters of any size, with a 95% interval.

    Korn and Graubard (1998), as used by the US National Center for Health Statistics for
    proportions from clustered samples: Clopper and Pearson's interval with `effective_trials`. A
    run without failures gets the exact bound of that many trials and never the interval [1, 1].

    `counts` has hits, perhaps fractions, and trials. Raises ValueError without trials, or if a
    cluster has more hits than trials.
    """
    trials = effective_trials(counts)
    share = _share(counts)
    low, high = exact_bounds(share * trials, trials, ALPHA / 2)
    return Estimate(value=share, low=min(low, share), high=max(high, share))


def effective_trials(counts: Sequence[tuple[float, int]]) -> float:
    """Return the number of independent trials that clusters of hits and trials are worth.

    share * (1 - share) / (variance of the share between clusters), where the variance is that of a
    ratio (Cochran, Sampling Techniques, 1977, section 2.11), with Korn and Graubard's correction
    for few clusters. At most the number of trials, and equal to it for a share of 0 or 1.
    Raises the errors of `clustered_rate`.
    """
    share = _share(counts)
    most = sum(size for _, size in counts)
    clusters, trials = len(counts), float(most)
    squares = math.fsum((hits - share * size) ** 2 for hits, size in counts)
    if clusters > 1 and squares > 0.0 and 0.0 < share < 1.0:
        few = critical_value(ALPHA / 2, most - 1) / critical_value(ALPHA / 2, clusters - 1)
        variance = squares / most**2 * clusters / (clusters - 1)
        trials = min(trials, max(1.0, share * (1 - share) / variance * few**2))
    return trials


def independent_trials(counts: Sequence[tuple[int, int]]) -> float:
    """Return `effective_trials`, and the number of clusters if all agree.

    Six failures of one request say no more than one: the request may cause them. If all tries of
    all clusters agree, their variance says nothing about how dependent they are, so each cluster
    counts once. Raises the errors of `clustered_rate`.
    """
    agree = _share(counts) in (0, 1)
    return float(len(counts)) if agree else effective_trials(counts)


def _share(counts: Sequence[tuple[float, int]]) -> float:
    most = sum(size for _, size in counts)
    if most < 1 or any(not 0 <= hits <= size for hits, size in counts):
        raise ValueError("a rate needs at least one trial, and no more hits than trials")
    return min(1.0, math.fsum(hits for hits, _ in counts) / most)


def mean_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of one value per case, each in [0, 1], with a 95% interval.

    The interval is for other cases of the kind; its bounds are those of `lower_mean`. Tests
    simulate their coverage. Raises ValueError without values, or if one is not in [0, 1].
    """
    if not values or not all(0 <= value <= 1 for value in values):
        raise ValueError("a mean needs at least one value, and every value must be in [0, 1]")
    mean = math.fsum(values) / len(values)
    low = lower_mean(values, ALPHA / 2)
    high = 1 - lower_mean([1 - value for value in values], ALPHA / 2)
    return Estimate(value=mean, low=min(low, mean), high=max(high, mean))


def lower_mean(values: Sequence[float], tail: float) -> float:
    """Return the lower bound of the mean over all cases, wrong with probability at most `tail`.

    Gaffke's bound (2005; Learned-Miller and Thomas, arXiv 1905.06208), which assumes nothing about
    the distribution of the values except that they are in [0, 1]. It is the quantile `tail` of
    sum(x_i E_i) / sum(E_i), where the E_i are independent and exponential, and the x_i are the
    values and one further value of 0. For values of 0 and 1 it is Clopper and Pearson's bound with
    one trial per case: cases that all agree count once each, however often each was tried.

    The quantile is at most t if sum((x_i - t) E_i) <= 0. The probability of that follows from the
    characteristic function prod(1 - i u (x_i - t)) ** -1 (Gil-Pelaez 1951). The integral is taken
    over log u, where the trapezoidal rule converges exponentially; its error is below 1e-6.
    """
    if all(value in (0, 1) for value in values):
        return exact_bounds(math.fsum(values), len(values), tail)[0]
    import numpy as np

    distinct, counts = np.unique(np.asarray([*values, 0.0]), return_counts=True)
    step = 0.04
    grid = np.exp(np.arange(-18.0, 10.0, step))

    def excess(bound: float) -> float:
        weights = distinct - bound
        scaled = np.outer(grid / math.sqrt(counts @ weights**2), weights)
        angles = np.arctan(scaled) @ counts
        sizes = np.exp(-0.5 * np.log1p(scaled**2) @ counts)
        return float(0.5 - step / math.pi * (np.sin(angles) @ sizes) - tail)

    most = float(distinct[-1])
    return root(excess, 1e-9 * most, (1 - 1e-9) * most, precision=1e-9)


def at_k(counts: Sequence[tuple[int, int]], k: int) -> AtK:
    """Return pass@k and pass^k: means over questions, with intervals.

    `counts` has the tries and successes of each question. Raises ValueError if a question has
    fewer than `k` tries.
    """
    return AtK(
        k=k,
        pass_at=mean_interval([pass_at_k(*tried, k) for tried in counts]),
        pass_hat=mean_interval([pass_hat_k(*tried, k) for tried in counts]),
    )


def quantile_bound(clusters: Sequence[Sequence[float]], share: float, tail: float) -> float:
    """Return the upper bound of a quantile, wrong with probability at most `tail`; maybe infinite.

    It is the smallest measured value for which it is too improbable that so many are below the true
    quantile: their number is binomial (David and Nagaraja, Order Statistics, 2003, section 7.1),
    for any distribution. Values in clusters count as fewer independent ones (Woodruff 1952,
    Confidence Intervals for Medians and Other Position Measures): `effective_trials` of being
    below the measured quantile. The lower bound is minus that of the negative values, at
    1 - `share`. Raises ValueError without values.
    """
    ordered = sorted(value for cluster in clusters for value in cluster)
    measured = ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
    counts = [(sum(v <= measured for v in values), len(values)) for values in clusters if values]
    trials = effective_trials(counts)
    ranks = [rank * trials / len(ordered) for rank in range(1, len(ordered) + 1)]
    at = bisect_left(ranks, True, key=lambda rank: beta_cdf(rank, trials - rank + 1, share) <= tail)
    return ordered[at] if at < len(ordered) else math.inf


def median_interval(values: Sequence[float]) -> Estimate:
    """Return the median with a 95% interval, for any distribution; all three are measured values.

    The number of values below the true median is binomial with probability 1/2, so the bounds are
    order statistics (David and Nagaraja, Order Statistics, 2003, section 7.1). They are at most
    one rank wider than those of `scipy.stats.quantile_test`, which takes 0.85 s to import.
    """
    ordered = sorted(values)
    count = len(ordered)
    low, high = exact_bounds(count / 2, count, ALPHA / 2)
    return Estimate(
        value=ordered[(count - 1) // 2],
        low=ordered[max(0, math.floor(low * count) - 1)],
        high=ordered[min(count - 1, math.ceil(high * count))],
    )
