"""AIME 2025: thirty competition problems whose answers are integers from 0 to 999."""

import re
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from evals.answer_eval import AnswerEval, Prompt, Question
from evals.datasets import DataRow, Loaded
from evals.extraction import openai_script
from evals.prompts import fill, our_prompts
from harness.api.items import Message
from harness.records.runs import DatasetInfo, PromptsInfo

_PROBLEMS_IN_A_CONTEST = 15


def _leading_integer(value: object) -> object:
    """Return the integer at the start of a text; one published answer ends in a degree sign."""
    match = re.match(r"\d+(?![.,/]?\d)", value.strip()) if isinstance(value, str) else None
    return int(match[0]) if match else value


class AimeRow(DataRow):
    """A problem and its answer, in the published columns."""

    question: str = Field(min_length=1, validation_alias=AliasChoices("question", "problem"))
    answer: Annotated[int, BeforeValidator(_leading_integer), Field(ge=0, le=999)]


class Aime(AnswerEval):
    """AIME 2025 as an eval; 16 tries by default, as in published reproductions."""

    name = "aime25"
    tries = 16

    def __init__(self, data: Loaded[AimeRow], prompts: PromptsInfo | None = None) -> None:
        from evals.extraction.integer import integer_answer  # slow

        self._answer_in = integer_answer
        self._template = (prompts or our_prompts()).templates[self.name]
        self.info = data.info
        self._rows = {_id(index, data.info): row for index, row in enumerate(data.rows)}
        self.questions = tuple(Question(name, row.question) for name, row in self._rows.items())

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the prompt, which is the same in every try."""
        text = fill(self._template, question=self._rows[question].question)
        return Prompt((Message("user", text),))

    def key(self, question: str, number: int) -> str:
        """Return the correct integer."""
        return str(self._rows[question].answer)

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the integer that a text declares, without leading zeros."""
        return self._answer_in(text)

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Return the last box or the last number, as OpenAI's script reads it."""
        return str(openai_script.integer(text))


def _id(index: int, info: DatasetInfo) -> str:
    """Return `I-01` to `II-15` in the published set, `S-01` and so on in others."""
    if info.sample:
        return f"S-{index + 1:02d}"
    contest, problem = divmod(index, _PROBLEMS_IN_A_CONTEST)
    return f"{'I' * (contest + 1)}-{problem + 1:02d}"
