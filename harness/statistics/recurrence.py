"""How many tries tell that a defect is gone, and not only rarer than before. Pure.

A run shows a finding in some of its tries. If it is not found again in `enough` tries, the defect
is gone or less than half as frequent: one at half its former rate is found in so few tries with a
probability of at most `MISSED`. With a tolerated share, which the model itself causes, half of
what exceeds it remains.
"""

import math

from harness.statistics.intervals import exact_bounds
from harness.statistics.rates import LEVEL, at_least

MISSED = 0.05
"""Probability that a defect at half its former rate is called fixed."""
_MEDIAN = 0.5
_REPEATED = 0.05
MOST_TRIES = 300
"""Tries of one finding, unless stated: they tell whether a defect in 2% of replies is fixed."""
MOST = 100_000  # tries beyond which a number is not computed


def likely_rate(failures: int, tries: int) -> float:
    """Return the rate at which as many failures as these have a probability of one half.

    1 of 1 gives 50%, 6 of 6 gives 89%, and 36 of 360 gives 9.9%: few failures alone do not show
    that a defect affects all tries.
    """
    return exact_bounds(failures, tries, _MEDIAN)[0]


def repeated_rate(failures: int, tries: int) -> float:
    """Return the lower bound (95%) of the rate at samples that failed once, in their other tries.

    The try that shows that a sample fails says nothing about its rate, and is left out.
    """
    return exact_bounds(failures, tries, _REPEATED)[0] if tries else 0.0


def enough_tries(rate: float, tolerated: float = 0.0) -> int:
    """Return the tries without a finding that show that a defect at `rate` is fixed.

    With a tolerated share, a rule fails by the exact test of `harness.statistics.rates`. `MOST`
    means that many or more.
    """
    half = tolerated + (rate - tolerated) / 2
    if half <= tolerated:
        return MOST
    if not tolerated:
        return 1 if half >= 1 else min(MOST, math.ceil(math.log(MISSED) / math.log1p(-half)))
    tries = 1
    while tries < MOST and _power(tries, half, tolerated) < 1 - MISSED:
        tries += max(1, tries // 20)
    return min(tries, MOST)


def _power(tries: int, rate: float, tolerated: float) -> float:
    """Return the probability that a rule fails if this share of its tries has the finding."""
    low, high = 0, tries + 1
    while low < high:  # the fewest findings that exceed the tolerated share
        middle = (low + high) // 2
        if at_least(middle, tries, tolerated) <= LEVEL:
            high = middle
        else:
            low = middle + 1
    return at_least(low, tries, rate)
