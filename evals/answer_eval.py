"""The interface of an eval: its questions, the prompt of each try, and how answers are marked.

`Basic` is the smallest one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from evals.datasets.data_rows import rows_sha256
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


class AnswerEval(Protocol):
    """Questions with right and wrong answers; `tries` is the default number per question."""

    name: str
    info: DatasetInfo
    questions: Sequence[Question]
    tries: int

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the prompt of try `number`, counted from 1."""
        ...

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Mark the final answer of a try; its CoT is not part of `text`."""
        ...

    def openai_score(self, question: str, number: int, text: str) -> float:
        """Return the score that OpenAI's script gives the final answer of a try."""
        ...

    def right(self, question: str, number: int) -> str:
        """Return the right answer of a try, as text for a grader."""
        ...


_GREETING = "hi"
_SHOWN = 80


class Basic:
    """One greeting; any answer that is not empty is correct."""

    name = "basic"
    tries = 1
    questions: Sequence[Question] = (Question("greeting", _GREETING),)

    def __init__(self) -> None:
        digest = rows_sha256([_GREETING])
        self.info = DatasetInfo(
            eval=self.name, source="built in", rows=1, sha256=digest, sample=True
        )

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the greeting."""
        return Prompt((Message("user", _GREETING),))

    def right(self, question: str, number: int) -> str:
        """Return any answer."""
        return "any greeting"

    def mark(self, question: str, number: int, text: str) -> Mark:
        """Correct if the text is not blank."""
        openai_score = self.openai_score(question, number, text)
        if not text.strip():
            return Mark("no_answer", None, openai_score)
        return Mark("correct", text.strip()[:_SHOWN], openai_score)

    def openai_score(self, question: str, number: int, text: str) -> float:
        """1, because OpenAI's script accepts any answer, even a blank one."""
        return float(bool(text))
