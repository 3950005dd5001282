"""Answers that the rules cannot read, and a grader that may read them.

A grader is asked only on request (`grade RUN --grader NAME --unread`). It gets the question, the
answer and one rubric item, which says what the right answer is, as in HealthBench; its replies are
recorded in its own log. What it reads is counted separately: outcomes and scores do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evals.base import AnswerEval
from evals.healthbench.answers import final_answer
from evals.healthbench.grader import GradingTask
from harness.records.rollouts import Rollout
from harness.records.runs import PromptsInfo

ITEM = "final-answer"
"""The id of the only rubric item."""


def unread_tasks(
    test: AnswerEval, rollouts: Iterable[Rollout], prompts: PromptsInfo | None
) -> Iterator[GradingTask]:
    """A grading task for every answer among the rollouts of an eval that the rules cannot read."""
    for rollout in rollouts:
        text = final_answer(rollout)
        if text is None:
            continue
        question, number = rollout.sample, rollout.presentation
        if test.mark(question, number, text).marking == "no_answer":
            item = f"[1] Gives exactly one final answer, and it is {test.right(question, number)}."
            asked = test.prompt(question, number).messages
            yield GradingTask(f"{rollout.id}/{ITEM}", asked, text, item, prompts)
