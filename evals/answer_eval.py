"""The interface of an eval: its questions, the prompt of each try, and how answers are marked.

`Basic` is the smallest one.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evals.datasets import rows_sha256
from harness.api.items import Message
from harness.records.runs import DatasetInfo

Marking = Literal["correct", "wrong", "no_answer"]


@dataclass(frozen=True)
class Question:
    """One row; `id` is unique in its eval and stable between runs, `text` is for reports."""

    id: str
    text: str


@dataclass(frozen=True)
class Prompt:
    """The messages of one try; `order` is the order of the choices (GPQA)."""

    messages: tuple[Message, ...]
    order: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Mark:
    """The marking of one answer.

    `answer` is the answer extracted from the text, None for `no_answer`; `openai_score` is the
    score that OpenAI's own script gives the same text.
    """

    marking: Marking
    answer: str | None
    openai_score: float


class AnswerEval(ABC):
    """Questions with right and wrong answers; `tries` is the default number per question."""

    name: str
    info: DatasetInfo
    questions: Sequence[Question]
    tries: int

    @abstractmethod
    def prompt(self, question: str, number: int) -> Prompt:
        """Return the prompt of try `number`, counted from 1."""

    @abstractmethod
    def key(self, question: str, number: int) -> str:
        """Return the right answer of a try, in the form in which answers are extracted."""

    @abstractmethod
    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the answer that the final text of a try gives; None without one."""

    @abstractmethod
    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Return the answer that OpenAI's script reads from the same text."""

    def right(self, question: str, number: int) -> str:
        """Return the right answer of a try, as text for a grader."""
        return self.key(question, number)

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark the final answer of a try; its CoT is not part of `text`."""
        openai_score = self.openai_score(question, number, text)
        answer = self.answer(question, number, text)
        if answer is None:
            return Mark("no_answer", None, openai_score)
        right = answer == self.key(question, number)
        return Mark("correct" if right else "wrong", answer, openai_score)

    def openai_score(self, question: str, number: int, text: str) -> float:
        """Return the score that OpenAI's script gives the final answer of a try."""
        return float(self.openai_answer(question, number, text) == self.key(question, number))


_GREETING = "hi"
_ANY = "any greeting"
_SHOWN = 80  # characters of an answer


class Basic(AnswerEval):
    """One greeting; any answer that is not empty is correct."""

    name = "basic"
    tries = 1
    questions = (Question("greeting", _GREETING),)
    info = DatasetInfo(
        eval=name, source="built in", rows=1, sha256=rows_sha256([_GREETING]), sample=True
    )

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the greeting."""
        return Prompt((Message("user", _GREETING),))

    def key(self, question: str, number: int) -> str:
        """Return what every answer counts as."""
        return _ANY

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the beginning of any text that is not blank."""
        return text.strip()[:_SHOWN] or None

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark every answer as correct."""
        mark = super().mark(question, number, text)
        return replace(mark, marking="correct") if mark.answer else mark

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Accept any text, even a blank one, as OpenAI's script does."""
        return _ANY if text else None
