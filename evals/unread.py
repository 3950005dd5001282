"""Answers that the rules cannot read, and a grader that may read them.

A grader is asked only on request (`grade RUN --grader NAME --unread`). It gets the question, the
answer and one rubric item, which says what the right answer is, as in HealthBench; its replies are
recorded in its own log. What it reads is counted separately: outcomes and scores do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evals.base import AnswerEval
from evals.healthbench.answers import final_answer
from evals.healthbench.grader import GradingTask
from evals.healthbench.grading import grade_with
from harness.providers.entries import Provider
from harness.records.rollouts import Rollout
from harness.records.runs import PromptsInfo
from harness.sampling.budget import Budget
from harness.sampling.watching import Watcher
from harness.storage.run_log import read_rollouts

ITEM = "final-answer"
"""The id of the only rubric item."""


def unread_tasks(
    test: AnswerEval, rollouts: Iterable[Rollout], prompts: PromptsInfo | None
) -> Iterator[GradingTask]:
    """A grading task for every answer of an eval that the rules cannot read."""
    for rollout in rollouts:
        text = final_answer(rollout) if rollout.task == test.name else None
        if text is None:
            continue
        question, number = rollout.sample, rollout.presentation
        if test.mark(question, number, text).marking == "no_answer":
            item = f"[1] Gives exactly one final answer, and it is {test.right(question, number)}."
            asked = test.prompt(question, number).messages
            yield GradingTask(f"{rollout.id}/{ITEM}", asked, text, item, prompts)


async def grade_unread(
    test: AnswerEval,
    prompts: PromptsInfo | None,
    folder: Path,
    grader: Provider,
    watcher: Watcher,
    budget: Budget,
) -> None:
    """Ask a grader about every answer in a run folder that the rules cannot read.

    Raises:
        ProviderUnavailableError: The grader could not be used at all.
        RunLogError: A log could not be read or written.
    """

    def tasks() -> Iterator[GradingTask]:
        return unread_tasks(test, read_rollouts(folder), prompts)

    watcher.stage(f"reading answers with {grader.name}")
    watcher.begin(sum(1 for _ in tasks()), 0, "answers")
    await grade_with(grader, tasks, folder, watcher, budget)
