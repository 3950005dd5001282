"""What a run of a given size can see, and what size it takes to see something.

The smallest drop that is seen with 80 % power at a one-sided error of 5 % is

    (1.645 + 0.842) standard errors of the difference.

With a fixed baseline the error is that of the run, sqrt(p (1 - p) (1 - r) / (n m)), see
`evals.statistics.noise`; with a baseline that is itself a run of the same size it is sqrt(2) times
as large. For questions of equal difficulty (r = 0, the noisiest case) that makes, in points:

    AIME 2025, high (p = 0.925, n = 30):   m = 8: 4.2 / 6.0    m = 16: 3.0 / 4.2
    GPQA Diamond, high (p = 0.801, n = 198):  m = 1: 7.1 / 10.0   m = 8: 2.5 / 3.5
"""

from __future__ import annotations

import math

from evals.statistics.levels import POWER, TAIL, distance
from harness.statistics.distributions import normal_below


def run_error(mean: float, questions: int, tries: int, between: float = 0.0) -> float:
    """Standard error of a mean of right-or-wrong scores over fixed questions.

    Args:
        mean: Chance of a right answer, over all questions.
        questions: Number of questions.
        tries: Tries per question.
        between: Share of the variance that lies between questions, 0 where all are equally hard.
    """
    return math.sqrt(mean * (1 - mean) * (1 - between) / (questions * tries))


def detectable_drop(error: float, tail: float = TAIL, power: float = POWER) -> float:
    """Smallest true drop that is seen with `power`, for a difference with this standard error."""
    return (distance(tail) + distance(1 - power)) * error


def chance_to_see(drop: float, error: float, tail: float = TAIL) -> float:
    """Power: the chance that a drop of this size is seen."""
    return normal_below(drop / error - distance(tail))


def tries_needed(gap: float, error: float, tries: float, fixed_error: float) -> int | None:
    """Tries per question after which a difference this far from the margin is settled.

    Settled with 80 % power, if the difference is what it now seems to be.

    Args:
        gap: Distance of the difference from the margin; its sign does not matter.
        error: The run's own standard error, at `tries` per question; it falls with more of them.
        tries: Tries per question so far.
        fixed_error: The baseline's standard error, which more tries do not lower.

    Returns:
        None if no number of tries would do: the baseline itself is too uncertain.
    """
    allowed = (gap / (distance(TAIL) + distance(1 - POWER))) ** 2 - fixed_error**2
    if allowed <= 0:
        return None
    return max(1, math.ceil(error**2 * tries / allowed))
