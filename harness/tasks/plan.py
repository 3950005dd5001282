"""Which attempts a run makes, and in which order: first tries at every sample come first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.records.runs import TaskInfo
from harness.run.attempts import Attempt
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling

T = TypeVar("T")
Shard = tuple[int, int]  # `(i, n)`: the i-th of n parts, counted from 1
FIRST_PORTION = 16  # attempts after which `until_fail` first checks the verdict
FEW_CASES = 6  # cases that are attempted first: one for each shipped tool
DECISIVE_GROUPS = (
    "logprobs", "tools.types", "errors.overflow", "prompt", "limits", "state", "numerics",
    "errors", "structured", "tools.choice", "options", "sampling", "tools.loop", "echo",
)  # fmt: skip
"""Probe groups, ordered by the number of further faults that each of their requests can show.

The order is greedy: only faults of the catalogue that no earlier group can show are counted.
"""


@dataclass(frozen=True)
class Stage:
    """Tasks that are sampled together: `burst` attempts in flight, or the run's concurrency.

    `patient` is as in `Task`.
    """

    tasks: tuple[Task, ...]
    burst: int | None = None
    patient: bool = False


@dataclass(frozen=True)
class Plan:
    """The tasks of a run, or the part of them that one shard samples."""

    tasks: tuple[Task, ...]
    shard: Shard | None = None

    @property
    def stages(self) -> Iterator[Stage]:
        """Tasks without a burst first, patient ones last among them; then one stage per burst."""
        steady = [task for task in self.tasks if task.burst is None]
        for patient in (False, True):
            tasks = tuple(task for task in steady if task.patient is patient)
            if tasks:
                yield Stage(tasks, patient=patient)
        for task in self.tasks:
            if task.burst is not None:
                yield Stage((task,), task.burst, task.patient)

    @property
    def rounds(self) -> int:
        """The largest number of tries of any task."""
        return max((task.info.tries for task in self.tasks), default=0)

    def attempts(self, stage: Stage | None = None) -> Iterator[Attempt]:
        """All attempts, or those of one stage; only this shard's, if the plan is for a shard."""
        wanted = {task.name for task in (stage.tasks if stage else self.tasks)}
        for attempt in _part(self._every_attempt(), self.shard):
            if attempt.task in wanted:
                yield attempt

    def infos(self) -> tuple[TaskInfo, ...]:
        """The tasks as `run.json` describes them, with the attempts planned for this shard."""
        if self.shard is None:
            return tuple(task.info for task in self.tasks)
        planned = Counter(attempt.task for attempt in self.attempts())
        return tuple(
            task.info.model_copy(update={"planned": planned[task.name]}) for task in self.tasks
        )

    def _every_attempt(self) -> Iterator[Attempt]:
        for number in range(1, self.rounds + 1):
            for task in self.tasks:
                yield from task.attempts(number)


def _part(attempts: Iterable[Attempt], shard: Shard | None) -> Iterator[Attempt]:
    part, parts = shard or (1, 1)
    for place, attempt in enumerate(attempts):
        if place % parts == part - 1:
            yield attempt


def portions(attempts: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the attempts in portions, each of half as many as came before."""
    made = 0
    while made < len(attempts):
        end = made + max(FIRST_PORTION, made // 2)
        yield attempts[made:end]
        made = end


def decisive_first(attempts: Iterable[Attempt], tasks: Sequence[Task]) -> list[Attempt]:
    """First a few cases once, then probes, most decisive groups first, then all other attempts."""
    ranks = {name: number for number, name in enumerate(DECISIVE_GROUPS, 1)}
    probes = {task.name for task in tasks if task.info.kind == "probes"}
    few = {
        (task.name, case.id)
        for task in tasks
        if isinstance(task, ToolCalling)
        for case in task.suite.spread(FEW_CASES).cases
    }

    def rank(attempt: Attempt) -> int:
        if attempt.task in probes:
            return ranks.get(attempt.task, len(ranks) + 1)
        early = attempt.number == 1 and (attempt.task, attempt.sample.id) in few
        return 0 if early else len(ranks) + 2

    return sorted(attempts, key=rank)
