"""How many tries tell that a defect is gone, and not only rarer than before. Pure.

A run shows a finding in some of its tries. It is fixed if so few tries show it again that this has
a probability of at most `MISSED` at half of its former rate (exact binomial test). Where a rule
tolerates a share, because the model itself causes the problem, half of what exceeds it counts, and
the finding remains if more tries show it than the model causes.
"""

from collections.abc import Callable

from harness.statistics.intervals import exact_bounds
from harness.statistics.rates import FALSE_ALARM, at_least

MISSED = 0.05
"""Probability that a defect at half of its former rate is called fixed."""
MOST_TRIES = 200
"""Tries of one finding, unless stated: they tell whether a defect in 3% of replies is fixed."""
SPARE = 1.05  # tries, as a multiple of what is needed: a few replies are truncated
MOST_STATED = 1_000  # tries that are recommended
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


def remains(failures: int, tries: int, tolerated: float) -> bool:
    """Return whether the model alone would hardly cause so many failures: the defect remains."""
    return failures > 0 and at_least(failures, tries, tolerated) <= FALSE_ALARM


def fewest_tries(half: float, tolerated: float = 0.0) -> int:
    """Return the fewest tries that exclude a rate if only the tolerated share of them fails.

    `MOST` means that many or more.
    """
    return _smallest(lambda tries: excludes(half, int(tries * tolerated), tries))


def enough_tries(half: float, tolerated: float = 0.0) -> int:
    """Return the tries that tell a fixed defect from a half-fixed one, both with small errors.

    They exclude the rate as above, and at this rate, the finding `remains` with a probability of
    at least 1 - `MISSED`.
    """
    if not tolerated:
        return fewest_tries(half)
    return _smallest(lambda tries: _power(half, tries, tolerated) >= 1 - MISSED)


def _power(half: float, tries: int, tolerated: float) -> float:
    """Return the probability that the finding `remains` in so many tries at a rate."""
    low, high = 1, tries + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if remains(middle, tries, tolerated) else (middle + 1, high)
    return at_least(low, tries, half)


def _smallest(holds: Callable[[int], bool]) -> int:
    """Return the smallest number that a property, which larger numbers have too, holds for."""
    low, high = 0, 1
    while high < MOST and not holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return min(high, MOST)
