"""How long the attempts that are left will take, estimated from those that have ended."""

import math
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Final

_FEWEST = 20  # ended attempts that an estimate rests on
_KEPT = 100  # the last attempts of a task whose durations are kept
_USUAL = 1  # attempts of usual length that are added to those of each task
_HALVINGS = 20  # of an interval in which a duration is searched


class TimeLeft:
    """The attempts that are left, by task, and how long others of the same task took.

    The attempts of one task take about equally long, and tasks follow each other: a pace over all
    of them says little. A task of which few have ended is taken for a usual one. All times are in
    seconds.
    """

    def __init__(self, left: Mapping[str, int], now: float) -> None:
        """Count `left` attempts, by task; they begin `now`."""
        self._left: Final = Counter(left)
        self._began = now
        self._under_way: dict[str, tuple[str, float]] = {}
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._ended, self._busy = 0, 0.0  # attempts, and seconds of all together

    def started(self, attempt: str, task: str, now: float) -> None:
        """An attempt begins `now`."""
        self._under_way[attempt] = task, now

    def stopped(self, attempt: str) -> None:
        """An attempt waits for nothing more."""
        self._under_way.pop(attempt, None)

    def before(self, task: str, took: float) -> None:
        """One attempt of a task was done in an earlier session, and counts as an example."""
        self._took[task].append(took)

    def ended(self, task: str, took: float) -> None:
        """One attempt of a task is done."""
        self._left[task] -= 1
        self._took[task].append(took)
        self._ended += 1
        self._busy += took

    def estimate(self, now: float) -> float | None:
        """Return the seconds until all attempts have ended; None if too few have.

        Those that have not begun are made as many at once as the others were. The last to end
        takes longer than a usual one: as long as the longest of so many, with even odds.
        """
        if self._ended < _FEWEST:
            return None
        ages = [now - began for _, began in self._under_way.values()]
        waiting = self._left - Counter(task for task, _ in self._under_way.values())
        durations = self._durations()
        rest = [_rest(durations, age) for age in ages]
        if not waiting:
            return _longest_rest(durations, ages)
        late: dict[str, list[float]] = defaultdict(list)
        for task, began in self._under_way.values():
            if now - began > self._mean(task):
                late[task].append(now - began)
        at_once = (self._busy + sum(ages)) / max(now - self._began, 1e-9)
        work = sum(count * self._mean(task, late[task]) for task, count in waiting.items())
        others = (work + sum(rest)) / max(1.0, at_once) + _last_wait(durations, max(1.0, at_once))
        return max(others, _longest_rest(durations, ages))

    def _mean(self, task: str, late: Sequence[float] = ()) -> float:
        took, usual = self._took.get(task, ()), self._busy / self._ended
        return (sum(took) + sum(late) + _USUAL * usual) / (len(took) + len(late) + _USUAL)

    def _durations(self) -> Sequence[float]:
        """Return the durations of the tasks that are left, sorted; all, if those are few."""
        of_these = [took for task, took in self._took.items() if self._left[task] > 0]
        durations = sorted(chain.from_iterable(of_these))
        return durations or sorted(chain(*self._took.values()))


def _rest(durations: Sequence[float], age: float) -> float:
    """Return how much longer an attempt of an age takes, in the mean of those that took longer."""
    longer = durations[bisect_right(durations, age) :]
    return sum(longer) / len(longer) - age if longer else age / 2


def _longest_rest(durations: Sequence[float], ages: Sequence[float]) -> float:
    """Return the time within which attempts of these ages have all ended, with even odds."""

    def even(seconds: float) -> bool:
        odds = 1.0
        for age in ages:
            longer = len(durations) - bisect_right(durations, age)
            even_longer = len(durations) - bisect_right(durations, age + seconds)
            unknown = age / (age + 2 * seconds) if age else 0.0  # no other took so long
            odds *= 1 - (even_longer / longer if longer else unknown)
        return odds >= 1 / 2

    return _least(even, max([*durations, *ages]))


def _last_wait(durations: Sequence[float], at_once: float) -> float:
    """Return how much longer than a usual one the last to end takes, of so many at once.

    At any time, an attempt under way takes more than x seconds longer with the probability
    sum(max(d - x, 0)) / sum(d) over all durations d, and sum(d²) / 2 sum(d) in the mean (renewal
    theory: the residual life).
    """
    total = sum(durations)
    if not total:
        return 0.0

    def even(seconds: float) -> bool:
        longer = sum(d - seconds for d in durations if d > seconds)
        return longer / total <= 1 - math.pow(0.5, 1 / at_once)

    usual = sum(d * d for d in durations) / 2 / total
    return max(0.0, _least(even, durations[-1]) - usual)


def _least(holds: Callable[[float], bool], most: float) -> float:
    """Return the least number up to `most` for which a condition holds, which holds above it."""
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
