"""The error rates behind every verdict, and the distances that belong to them."""

from __future__ import annotations

import math

from harness.statistics.distributions import (
    normal_below,
    normal_quantile,
    student_below,
    student_quantile,
)

TAIL = 0.05
"""One-sided chance that a bound is wrong; PASS and FAIL each rest on one bound."""

POWER = 0.8
"""Chance that a run sees the drop that it is said to be able to see."""


def distance(tail: float, freedom: float = math.inf) -> float:
    """Standard errors that leave `tail` above them: Student's t, the normal without a limit."""
    if math.isinf(freedom):
        return normal_quantile(1 - tail)
    return student_quantile(1 - tail, max(freedom, 1.0))


def tail_beyond(errors: float, freedom: float = math.inf) -> float:
    """Share of the distribution more than `errors` standard errors above its middle."""
    if math.isinf(freedom):
        return 1 - normal_below(errors)
    return 1 - student_below(errors, max(freedom, 1.0))
