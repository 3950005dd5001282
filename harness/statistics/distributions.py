"""Normal, Student's and beta distributions, computed by scipy.

scipy and numpy take 30 MB and some tenths of a second to load. A process that samples judges
nothing until it is done, so they are loaded when the first figure is asked for.
"""

from __future__ import annotations


def normal_below(value: float) -> float:
    """Share of the standard normal distribution below `value`."""
    from scipy.special import ndtr

    return float(ndtr(value))


def normal_quantile(share: float) -> float:
    """The value with `share` of the standard normal distribution below it."""
    from scipy.special import ndtri

    return float(ndtri(share))


def student_below(value: float, freedom: float) -> float:
    """Share of Student's t distribution below `value`."""
    from scipy.special import stdtr

    return float(stdtr(freedom, value))


def student_quantile(share: float, freedom: float) -> float:
    """The value with `share` of Student's t distribution below it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def beta_quantile(share: float, a: float, b: float) -> float:
    """The value with `share` of the beta distribution of shapes `a` and `b` below it."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, share))
