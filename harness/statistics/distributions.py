"""The distributions behind tests and intervals, without scipy.

scipy takes 115 MB on the disk and up to 0.85 s to import, for these few functions. Tests compare
each with scipy's.
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from statistics import NormalDist

_EPSILON = 2.0**-52
_SMALLEST = 1e-300


def normal_cdf(x: float) -> float:
    """Return the probability that a standard normal variable is at most `x`."""
    return math.erfc(-x / math.sqrt(2)) / 2


@lru_cache(maxsize=4096)
def t_quantile(freedom: float, tail: float) -> float:
    """Return the value above which Student's t distribution has the probability `tail`.

    At most 1/2. Infinite degrees of freedom give the normal distribution. The square of t has
    Fisher's distribution, so freedom / (freedom + t²) has a beta distribution (Abramowitz and
    Stegun, Handbook of Mathematical Functions, 1964, 26.5.27).
    """
    if math.isinf(freedom):
        return -NormalDist().inv_cdf(tail)
    near = beta_quantile(freedom / 2, 0.5, 2 * tail) if tail < 1 / 2 else 1.0
    return math.sqrt(freedom * (1 - near) / near)


def beta_cdf(a: float, b: float, x: float) -> float:
    """Return the probability that a beta variable is at most `x`: the incomplete beta function.

    For whole numbers it is the probability of at least `a` hits in `a` + `b` - 1 trials with the
    rate `x`. `a` and `b` are above 0. The continued fraction (NIST Digital Library of Mathematical
    Functions, 8.17.22) is evaluated with Lentz's method as modified by Thompson and Barnett (1986).
    """
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(b, a, 1 - x)
    numerator, denominator = 1.0, 1.0 / (1 - (a + b) / (a + 1) * x)
    fraction = denominator
    for m in range(1, 100_000):
        at = a + 2 * m
        for factor in (
            m * (b - m) * x / ((at - 1) * at),
            -(a + m) * (a + b + m) * x / (at * (at + 1)),
        ):
            denominator = 1 / (1 + factor * denominator or _SMALLEST)
            numerator = 1 + factor / numerator or _SMALLEST
            change = numerator * denominator
            fraction *= change
        if abs(change - 1) < _EPSILON:
            break
    return math.exp(_log_beta_density(a, b, x) + math.log(x * (1 - x))) * fraction / a


@lru_cache(maxsize=65_536)
def beta_quantile(a: float, b: float, p: float) -> float:
    """Return the value below which a beta variable is with the probability `p`, in (0, 1).

    Newton's method for the logarithm of the probability, which is nearly straight in the tail; a
    step that leaves the known bounds halves them instead.
    """
    low, high, x = 0.0, 1.0, a / (a + b)
    for _ in range(200):
        reached = beta_cdf(a, b, x)
        low, high = (x, high) if reached < p else (low, x)
        following = x
        if reached > 0:
            slope = math.exp(_log_beta_density(a, b, x)) / reached
            following = x - math.log(reached / p) / slope if slope > 0 else -1.0
        if not low < following < high:
            following = (low + high) / 2
        if abs(following - x) <= 2 * _EPSILON * x:
            return following
        x = following
    return x


def hypergeometric(hits: int, others: int, drawn: int) -> Iterator[float]:
    """Yield the probability of each possible number of hits among those drawn, the least first.

    `hits` and `others` are in the urn. Whole numbers are divided last, so equal probabilities are
    equal numbers.
    """
    least, most = max(0, drawn - others), min(hits, drawn)
    ways = math.comb(hits, least) * math.comb(others, drawn - least)
    total = math.comb(hits + others, drawn)
    for count in range(least, most + 1):
        yield ways / total
        ways = ways * (hits - count) * (drawn - count)
        ways //= (count + 1) * (others - drawn + count + 1)


def root(function: Callable[[float], float], low: float, high: float, precision: float) -> float:
    """Return where a function is zero, given two places where it has opposite signs.

    Chandrupatla (1997, Advances in Engineering Software 28): inverse quadratic interpolation where
    it is safe, else halving. The result is at most `precision` from the root.
    """
    at, value = high, function(high)
    other, opposite = low, function(low)
    share = 0.5
    while True:
        middle = at + share * (other - at)
        found = function(middle)
        if (found > 0) == (value > 0):
            last, before = at, value
        else:
            last, before, other, opposite = other, opposite, at, value
        at, value = middle, found
        best = at if abs(value) < abs(opposite) else other
        least = (2 * _EPSILON * abs(best) + precision / 2) / abs(other - at) if at != other else 1.0
        if least > 0.5 or 0.0 in (value, opposite):
            return best
        xi, phi = (at - other) / (last - other), (value - opposite) / (before - opposite)
        share = 0.5
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            near = value / (opposite - value) * before / (opposite - before)
            far = value / (before - value) * opposite / (before - opposite)
            share = near + (last - at) / (other - at) * far
        share = min(1 - least, max(least, share))


def _log_beta_density(a: float, b: float, x: float) -> float:
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
