"""A file of your own questions as an eval: integers, or four choices.

The eval has the name of the file. The columns are documented in docs/evals.md.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from evals.answer_eval import AnswerEval, Prompt, Question
from evals.datasets import (
    HUB_PREFIX,
    DataRow,
    Loaded,
    load_own_rows,
    text_id,
)
from evals.extraction import openai_script
from evals.gpqa import ChoiceOrders, GpqaRow
from evals.prompts import fill, our_prompts
from harness.api.items import Message
from harness.records.runs import PromptsInfo
from harness.text import strict_json

_FILES = (".jsonl", ".csv")
_LETTERS = "ABCD"
_AS_GIVEN = (0, 1, 2, 3)


def own_name(spec: str) -> str | None:
    """Return the name of the eval in a file or a dataset of the hub; None for other names."""
    if spec.startswith(HUB_PREFIX):
        stem = spec.removeprefix(HUB_PREFIX).partition("@")[0].rpartition("/")[2]
    elif Path(spec).suffix.lower() in _FILES:
        stem = Path(spec).stem
    else:
        return None
    return re.sub(r"[^\w.-]+", "-", stem) or "own"


class OwnRow(DataRow):
    """A question with an integer as its answer, or with four choices.

    With choices, `answer` is the text of one of them or its letter; the published columns of GPQA
    are accepted too. A `prompt` is sent instead of a template, with the choices in the given order.
    """

    id: str | None = None
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    choices: tuple[str, ...] = ()
    prompt: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _columns(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        if "Question" in values and "Correct Answer" in values:
            row = GpqaRow.model_validate(values)
            named = {"id": row.record_id, "question": row.question, "answer": row.correct}
            return {**named, "choices": row.choices}
        given = values.get("choices")
        if isinstance(given, str):  # a CSV file has no lists
            listed = given.strip().startswith("[")
            given = strict_json(given) if listed else [part for part in given.split("|") if part]
        texts = [str(each).strip() for each in given] if isinstance(given, list | tuple) else []
        optional = {name: values.get(name) or None for name in ("id", "prompt")}
        return {**values, **optional, "choices": tuple(texts)}

    @model_validator(mode="after")
    def _answerable(self) -> "OwnRow":
        if not self.choices:
            if not re.fullmatch(r"[+-]?\d{1,40}", self.answer):
                raise ValueError(f"the answer {self.answer!r} is no integer, and has no choices")
        elif len(self.choices) != len(_LETTERS) or len(set(self.choices)) != len(_LETTERS):
            raise ValueError(f"there must be four different choices, not {len(set(self.choices))}")
        elif self.answer not in (*self.choices, *_LETTERS):
            raise ValueError(f"the answer {self.answer!r} is neither a choice nor its letter")
        return self

    @property
    def right(self) -> int:
        """The place of the right choice."""
        if self.answer in self.choices:
            return self.choices.index(self.answer)
        return _LETTERS.index(self.answer)


class Own(AnswerEval):
    """Your own questions as an eval, with one try each by default.

    Raises ConfigurationError if two questions have one id.
    """

    tries = 1

    def __init__(
        self, data: Loaded[OwnRow], seed: int = 0, prompts: PromptsInfo | None = None
    ) -> None:
        from evals.extraction.integer import integer_answer  # slow
        from evals.extraction.letter import letter_answer

        self._integer_in, self._letter_in = integer_answer, letter_answer
        self._templates = (prompts or our_prompts()).templates
        self.name, self.info = data.info.eval, data.info
        ids = [row.id or text_id(row.prompt or row.question) for row in data.rows]
        self._rows = data.by_id(ids)
        self._places = {name: place for place, name in enumerate(ids)}
        self._orders = ChoiceOrders(seed, len(ids))
        self.questions = tuple(Question(name, row.question) for name, row in self._rows.items())

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the row's prompt, or its question in the template of AIME or GPQA."""
        row = self._rows[question]
        choices = dict(zip(_LETTERS, self._choices(question, number), strict=False))
        template = self._templates["gpqa" if row.choices else "aime25"]
        text = row.prompt or fill(template, question=row.question, **choices)
        return Prompt((Message("user", text),), self._order(question, number))

    def key(self, question: str, number: int) -> str:
        """Return the right integer, or the right letter in the order of this try."""
        row = self._rows[question]
        if not row.choices:
            return str(int(row.answer))
        return _LETTERS[self._choices(question, number).index(row.choices[row.right])]

    def answer(self, question: str, number: int, text: str) -> str | None:
        """Return the integer or the letter that a text declares."""
        if choices := self._choices(question, number):
            return self._letter_in(text, choices)
        return self._integer_in(text)

    def openai_answer(self, question: str, number: int, text: str) -> str | None:
        """Return what OpenAI's script for AIME or GPQA reads."""
        if self._rows[question].choices:
            return openai_script.letter(text)
        return str(openai_script.integer(text))

    def _order(self, question: str, number: int) -> tuple[int, ...] | None:
        row = self._rows[question]
        if not row.choices:
            return None
        return _AS_GIVEN if row.prompt else self._orders.of(self._places[question], number)

    def _choices(self, question: str, number: int) -> list[str]:
        row = self._rows[question]
        return [row.choices[place] for place in self._order(question, number) or ()]


def load_own(spec: str) -> Loaded[OwnRow]:
    """Return the questions of a file or of a dataset of the hub. Raises ConfigurationError."""
    return load_own_rows(own_name(spec) or spec, spec, OwnRow)
