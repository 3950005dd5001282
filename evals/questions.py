"""The rows of AIME 2025, GPQA Diamond and your own files, as questions with right answers.

AIME 2025 has thirty competition problems whose answers are integers from 0 to 999. GPQA Diamond
(Rein et al. 2023, arXiv 2311.12022) has 198 four-choice questions; its authors ask that they not
be published. An eval of your own has the name of its file; docs/evals.md describes the columns.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from evals.answer_eval import LETTERS, Item
from evals.datasets import HUB_PREFIX, DataRow, Loaded, text_id
from harness.text import strict_json

_PROBLEMS_IN_A_CONTEST = 15
_FILES = (".jsonl", ".csv")


def _leading_integer(value: object) -> object:
    """Return the integer at the start of a text; one published answer ends in a degree sign."""
    match = re.match(r"\d+(?![.,/]?\d)", value.strip()) if isinstance(value, str) else None
    return int(match[0]) if match else value


class QuestionRow(DataRow, ABC):
    """A row of an eval whose answers are integers or letters."""

    @abstractmethod
    def identity(self, place: int, *, sample: bool) -> str:
        """Return the id of the question; the row is at `place` (from 0), perhaps of a sample."""

    @abstractmethod
    def item(self) -> Item:
        """Return the question and its answer."""


class AimeRow(QuestionRow):
    """A problem and its answer, in the published columns."""

    question: str = Field(min_length=1, validation_alias=AliasChoices("question", "problem"))
    answer: Annotated[int, BeforeValidator(_leading_integer), Field(ge=0, le=999)]

    def identity(self, place: int, *, sample: bool) -> str:
        """Return `I-01` to `II-15` in the published set, `S-01` and so on in others."""
        if sample:
            return f"S-{place + 1:02d}"
        contest, problem = divmod(place, _PROBLEMS_IN_A_CONTEST)
        return f"{'I' * (contest + 1)}-{problem + 1:02d}"

    def item(self) -> Item:
        """Return the problem."""
        return Item(self.question, str(self.answer))


class GpqaRow(QuestionRow):
    """A question with its four choices, in the published columns."""

    record_id: str | None = Field(default=None, alias="Record ID")
    question: str = Field(min_length=1, alias="Question")
    correct: str = Field(min_length=1, alias="Correct Answer")
    incorrect_1: str = Field(min_length=1, alias="Incorrect Answer 1")
    incorrect_2: str = Field(min_length=1, alias="Incorrect Answer 2")
    incorrect_3: str = Field(min_length=1, alias="Incorrect Answer 3")

    @property
    def choices(self) -> tuple[str, str, str, str]:
        """The texts of the choices, the right one first."""
        return (self.correct, self.incorrect_1, self.incorrect_2, self.incorrect_3)

    def identity(self, place: int, *, sample: bool) -> str:
        """Return the published id, or one from the text: some copies have no id column."""
        return self.record_id or text_id(self.question)

    def content(self) -> object:
        """Return the question and its choices, because some copies have no id column."""
        return (self.question, *self.choices)

    def item(self) -> Item:
        """Return the question."""
        return Item(self.question, self.correct, self.choices)


class OwnRow(QuestionRow):
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
        texts = [str(text).strip() for text in given] if isinstance(given, list | tuple) else []
        optional = {name: values.get(name) or None for name in ("id", "prompt")}
        return {**values, **optional, "choices": tuple(texts)}

    @model_validator(mode="after")
    def _answerable(self) -> "OwnRow":
        if not self.choices:
            if not re.fullmatch(r"[+-]?\d{1,40}", self.answer):
                raise ValueError(f"the answer {self.answer!r} is no integer, and has no choices")
        elif len(self.choices) != len(LETTERS) or len(set(self.choices)) != len(LETTERS):
            raise ValueError(f"there must be four different choices, not {len(set(self.choices))}")
        elif self.answer not in (*self.choices, *LETTERS):
            raise ValueError(f"the answer {self.answer!r} is neither a choice nor its letter")
        return self

    def identity(self, place: int, *, sample: bool) -> str:
        """Return the given id, or one from the text."""
        return self.id or text_id(self.prompt or self.question)

    def item(self) -> Item:
        """Return the question; an integer is written as it is extracted."""
        if not self.choices:
            return Item(self.question, str(int(self.answer)), prompt=self.prompt)
        named = self.answer in self.choices
        right = self.answer if named else self.choices[LETTERS.index(self.answer)]
        return Item(self.question, right, self.choices, self.prompt)


def items(data: Loaded[Any]) -> Mapping[str, Item]:
    """Return the questions of rows by their ids. Raises ConfigurationError for equal ids."""
    sample = data.info.sample
    ids = [row.identity(place, sample=sample) for place, row in enumerate(data.rows)]
    return {name: row.item() for name, row in data.by_id(ids).items()}


def own_name(spec: str) -> str | None:
    """Return the name of the eval in a file or a dataset of the hub; None for other names."""
    if spec.startswith(HUB_PREFIX):
        stem = spec.removeprefix(HUB_PREFIX).partition("@")[0].rpartition("/")[2]
    elif Path(spec).suffix.lower() in _FILES:
        stem = Path(spec).stem
    else:
        return None
    return re.sub(r"[^\w.-]+", "-", stem) or "own"
