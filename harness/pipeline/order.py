"""The order of attempts that shows most defects soonest, for runs with --until-fail. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.sampling.attempts import Attempt
from harness.tasks.base import Task
from harness.tasks.tool_calling import ToolCalling

FEW_CASES = 6
"""Cases at which the first attempts are made: one for each shipped tool."""
GROUPS = (
    "logprobs", "tools.types", "errors.overflow", "prompt", "limits", "state", "numerics",
    "errors", "structured", "tools.choice", "options", "sampling", "tools.loop", "echo",
)  # fmt: skip
"""Probe groups by how many further faults of the catalogue each of their requests can show.

The order is greedy: a group counts the faults that no earlier one can show.
"""


def decisive_first(attempts: Iterable[Attempt], tasks: Sequence[Task]) -> list[Attempt]:
    """A few cases once, then probes, the most decisive groups first, then all other attempts."""
    ranks = {name: number for number, name in enumerate(GROUPS, 1)}
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
