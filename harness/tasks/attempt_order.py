"""Which attempts a run makes, and in which order: first tries at every sample come first."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from harness.run.attempts import Attempt
from harness.tasks.probing import ProbeTask
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling

T = TypeVar("T")
FEW_CASES = 6  # cases that are attempted first: one for each shipped tool
SHORT = 96  # most tokens of a reply that is not waited for long
LONG = 256  # tokens of a limit; a request that sets one of so many expects a long reply
EARLY_LOOK = 160
"""Attempts before the early look at a run: with the default suite, a few cases and half of the
probes with short replies; 8 requests in flight that take a second each need 20 seconds."""
FEWEST_IN_PORTION = 16  # attempts between two looks at a run that ends once it fails


@dataclass(frozen=True)
class Stage:
    """Tasks that are sampled together: `burst` attempts in flight, or the run's concurrency.

    `long_replies` is as in `Task`.
    """

    tasks: tuple[Task, ...]
    burst: int | None = None
    long_replies: bool = False


def stages(tasks: Iterable[Task]) -> Iterator[Stage]:
    """Yield tasks without a burst first, long replies last among them; then one stage per burst."""
    tasks = tuple(tasks)
    for long_replies in (False, True):
        steady = tuple(t for t in tasks if t.burst is None and t.long_replies is long_replies)
        if steady:
            yield Stage(steady, long_replies=long_replies)
    for task in tasks:
        if task.burst is not None:
            yield Stage((task,), task.burst, task.long_replies)


def planned_attempts(tasks: Sequence[Task]) -> Iterator[Attempt]:
    """Yield all attempts."""
    for number in range(1, max((task.last_try for task in tasks), default=0) + 1):
        for task in tasks:
            yield from task.attempts(number)


def portions(attempts: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the attempts in portions, each of half as many as came before."""
    made = 0
    while made < len(attempts):
        end = made + max(FEWEST_IN_PORTION, made // 2)
        yield attempts[made:end]
        made = end


def decisive_first(attempts: Iterable[Attempt], tasks: Sequence[Task]) -> list[Attempt]:
    """Sort attempts: a few cases once, then probes, those with short replies first, then others.

    Groups of probes begin with those that have the most probes for each of their requests. Among
    the first tries of a group, and so on, attempts that may be long begin first.

    Probes without a limit, or with one of at least `LONG` tokens that is not the run's, begin right
    after the early look, the longest first: one that began late would keep the run waiting when all
    others have ended.
    """
    probes = {
        task.name: len(task.probes) / max(1, task.info.planned)
        for task in tasks
        if isinstance(task, ProbeTask)
    }
    few = {
        (task.name, case.id)
        for task in tasks
        if isinstance(task, ToolCalling)
        for case in task.suite.spread(FEW_CASES).cases
    }

    def rank(attempt: Attempt) -> tuple[int, float, int, int]:
        if attempt.task in probes:
            tokens = attempt.max_turns * (attempt.settings.max_tokens or 0)
            place = 1 if 0 < tokens <= SHORT else 2
            return place, -probes[attempt.task], attempt.number, -tokens
        early = attempt.number == 1 and (attempt.task, attempt.sample.id) in few
        return 0 if early else 3, 0.0, 0, 0

    limits = {task.name: task.info.sampling.max_tokens for task in tasks}

    def longest(attempt: Attempt) -> bool:
        limit = attempt.settings.max_tokens
        of_its_own = limit is None or (limit >= LONG and limit != limits[attempt.task])
        return attempt.task in probes and of_its_own

    ordered = sorted(attempts, key=rank)
    others = [attempt for attempt in ordered if not longest(attempt)]
    long = sorted(filter(longest, ordered), key=lambda each: -(each.settings.max_tokens or inf))
    return [*others[:EARLY_LOOK], *long, *others[EARLY_LOOK:]]
