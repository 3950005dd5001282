"""What is to be graded: answers taken apart into one task for each rubric item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evals.healthbench.answers import Answer
from evals.healthbench.bench import HealthBench
from harness.api.conversation import Message


@dataclass(frozen=True)
class GradingTask:
    """One rubric item of one answer. `id` is `<answer>/<item>`."""

    id: str
    conversation: tuple[Message, ...]
    answer: str
    item: str


def grading_tasks(bench: HealthBench, answers: Iterable[Answer]) -> Iterator[GradingTask]:
    """Every rubric item of every answer, made one at a time."""
    for answer in answers:
        row = bench.rows[answer.question]
        for item in row.items:
            yield GradingTask(f"{answer.id}/{item.id}", row.messages, answer.text, item.text)
