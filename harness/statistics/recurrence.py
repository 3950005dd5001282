"""How many tries tell that a defect is gone, and not only rarer than before. Pure.

A run shows a finding in some of its tries. It is fixed if so few tries show it again that this has
a probability of at most `MISSED` at half of its former rate (exact binomial test). Where a rule
tolerates a share, because the model itself causes the problem, half of what exceeds it counts.
"""

from harness.statistics.intervals import exact_bounds
from harness.statistics.rates import at_least

MISSED = 0.05
"""Probability that a defect at half of its former rate is called fixed."""
MOST_TRIES = 200
"""Tries of one finding, unless stated: they tell whether a defect in 3% of replies is fixed."""
MOST = 100_000  # tries beyond which a number is not computed
_MEDIAN = 0.5
_REPEATED = 0.05


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


def half_rate(rate: float, tolerated: float = 0.0) -> float:
    """Return the rate of a defect that is half fixed."""
    return max(tolerated, tolerated + (rate - tolerated) / 2)


def excludes(half: float, failures: int, tries: int) -> bool:
    """Return whether so few failures are improbable at a rate: the defect is fixed."""
    return tries > 0 and 1 - at_least(failures + 1, tries, half) <= MISSED


def enough_tries(half: float, tolerated: float = 0.0) -> int:
    """Return the fewest tries that exclude a rate if only the tolerated share of them fails.

    `MOST` means that many or more.
    """
    low, high = 0, 1
    while high < MOST and not excludes(half, int(high * tolerated), high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fixed = excludes(half, int(middle * tolerated), middle)
        low, high = (low, middle) if fixed else (middle, high)
    return min(high, MOST)
