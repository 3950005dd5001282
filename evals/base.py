"""What an eval is: questions, how each try at one is put, and how its answer is marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.api.base import Message
from harness.records.runs import DatasetInfo

Marking = Literal["correct", "wrong", "no_answer"]


@dataclass(frozen=True)
class Question:
    """One row. `id` is unique in its eval and stable between runs; `text` is for reports."""

    id: str
    text: str


@dataclass(frozen=True)
class Put:
    """How a question is put in one try; `order` says which choice stands where (GPQA)."""

    messages: tuple[Message, ...]
    order: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Mark:
    """What an answer is worth.

    `answer` is what was found in the text, None with `no_answer`; `openai_score` is what OpenAI's
    own script would give for the same text.
    """

    marking: Marking
    answer: str | None
    openai_score: float


class Eval(Protocol):
    """A set of questions. `tries` is how often each is asked by default."""

    name: str
    info: DatasetInfo
    questions: Sequence[Question]
    tries: int

    def put(self, question: str, number: int) -> Put:
        """How the question is put in try `number`, counted from 1."""
        ...


class AnswerEval(Eval, Protocol):
    """An eval whose answers are right or wrong."""

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark the final answer of a try; its CoT is not part of `text`."""
        ...
