"""The grading phase of an eval run: every answer in its log that has no grade yet is graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from evals.healthbench.answers import run_answers
from evals.healthbench.bench import HealthBench
from evals.healthbench.grader import grades_file
from evals.healthbench.grading import grade_with
from evals.healthbench.ledger import read_verdicts
from evals.healthbench.tasks import GradingTask, grading_tasks
from evals.plan import Plan
from harness.providers.entries import Provider
from harness.records.rollouts import Rollout
from harness.sampling.budget import Budget
from harness.sampling.watching import Watcher
from harness.storage.run_log import read_rollouts


def graded_evals(plan: Plan) -> Mapping[str, HealthBench]:
    """The evals of a plan whose answers are graded, by name."""
    return {name: test for name, test in plan.evals.items() if isinstance(test, HealthBench)}


async def grade_run(
    plan: Plan, folder: Path, grader: Provider, watcher: Watcher, budget: Budget
) -> None:
    """Grade what a run has answered, as far as the budget goes.

    Raises:
        ProviderUnavailableError: The grader could not be asked at all.
        RunLogError: A log could not be read or written.
    """
    watcher.stage(f"grading with {grader.name}")
    watcher.begin(sum(1 for _ in _tasks(plan, folder)), _grades(folder, grader), "grades")
    await grade_with(grader, lambda: _tasks(plan, folder), folder, watcher, budget)


def _tasks(plan: Plan, folder: Path) -> Iterator[GradingTask]:
    for name, bench in graded_evals(plan).items():
        answers = run_answers(read_rollouts(folder), partial(_question, plan, name))
        yield from grading_tasks(bench, answers)


def _question(plan: Plan, name: str, rollout: Rollout) -> str | None:
    one = plan.find(rollout)
    return one.question if one is not None and one.cell.eval == name else None


def _grades(folder: Path, grader: Provider) -> int:
    """How many grades there are already."""
    name = grades_file(grader.name, grader.model)
    if not (folder / name).exists():
        return 0
    return sum(map(len, read_verdicts(read_rollouts(folder, name)).values()))
