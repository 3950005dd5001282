"""Your own questions: choices, numbers, quantities, short texts, or texts that a grader marks.

The eval has the name of its file; docs/evals.md describes the columns.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from pydantic import Field, model_validator

from evals.answer_eval import AnswerEval, Item
from evals.datasets import HUB_PREFIX, DataRow, Loaded, text_id
from evals.declaration import AnyEval, Eval, Facts
from evals.grading.graded_eval import GradedEval, RubricItem
from evals.kinds import ChoiceItem, IntegerItem
from evals.own.numbers import DecimalItem, QuantityItem, is_number, is_quantity, tolerance_of
from evals.own.texts import TextItem
from harness.api.items import Message
from harness.errors import ConfigurationError
from harness.records.runs import PromptsInfo
from harness.text import strict_json

LIMIT = 32_768
"""Default token limit of a reply to own questions: three times the tokens that are assumed at high
effort. A model that repeats itself reaches it in a quarter of the time of the published 131,072."""
_FILES = (".jsonl", ".csv", ".py")
_GPQA = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_NEW = ("tolerance", "pattern", "rubric")
_MOST_CHOICES = len(ascii_uppercase)
_POINTS = re.compile(r"\[([+-]?\d+(?:\.\d+)?)\]\s*(?=\S)")


class OwnRow(DataRow):
    """A question; its other columns decide how answers are marked.

    A `rubric` has criteria for a grader, each worth a point unless it begins with its points in
    brackets. With `choices`, `answer` is the text of one of them or its letter; the published
    columns of GPQA are accepted too. A number may have a unit; `tolerance` is a number, or a share
    such as 1%. Any other answer is a short text; a `pattern` is a regular expression for it. A
    `prompt` is sent instead of a template, with the choices in the given order.
    """

    id: str | None = None
    question: str = Field(min_length=1)
    answer: str = ""
    choices: tuple[str, ...] = ()
    prompt: str | None = None
    tolerance: str | None = None
    pattern: str | None = None
    rubric: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _columns(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        if "Question" in values and "Correct Answer" in values:
            choices = tuple(values.get(name) for name in _GPQA)
            named = {"id": values.get("Record ID"), "question": values["Question"]}
            values = {**named, "answer": choices[0], "choices": choices}
        lists = {name: _listed(values.get(name)) for name in ("choices", "rubric")}
        optional = ("id", "prompt", "tolerance", "pattern")
        return {**values, **{name: _given(values.get(name)) for name in optional}, **lists}

    @model_validator(mode="after")
    def _answerable(self) -> "OwnRow":
        problem = next(filter(None, (check(self) for check in _CHECKS)), None)
        if problem:
            raise ValueError(problem)
        return self

    def content(self) -> object:
        """Return the columns; those that earlier versions did not have only if they are given."""
        dump = self.model_dump(mode="json")
        return {name: value for name, value in dump.items() if name not in _NEW or value}

    @property
    def question_id(self) -> str:
        """The given id, or one from the text."""
        return self.id or text_id(self.prompt or self.question)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The question of a free text, which has no template."""
        return (Message("user", self.prompt or self.question),)

    @property
    def question_tags(self) -> tuple[str, ...]:
        """No tags."""
        return ()

    @property
    def items(self) -> tuple[RubricItem, ...]:
        """The criteria with their points."""
        listed = []
        for place, text in enumerate(self.rubric):
            points = _POINTS.match(text)
            criterion = text[points.end() :] if points else text
            listed.append(RubricItem.of(place, criterion, float(points[1]) if points else 1.0, ()))
        return tuple(listed)

    def item(self) -> Item:
        """Return the question with its right answer, as it is read."""
        if self.choices:
            named = self.answer in self.choices
            right = self.answer if named else self.choices[ascii_uppercase.index(self.answer)]
            return ChoiceItem(
                self.question, right, self.prompt, choices=self.choices, template="own_choice"
            )
        if not self.pattern and is_quantity(self.answer):
            return QuantityItem(self.question, self.answer, self.prompt, tolerance=self.tolerance)
        if self.pattern or not is_number(self.answer):
            return TextItem(self.question, self.answer, self.prompt, pattern=self.pattern)
        if self.tolerance is None and re.fullmatch(r"[+-]?\d+", self.answer):
            return IntegerItem(
                self.question, str(int(self.answer)), self.prompt, template="own_number"
            )
        return DecimalItem(self.question, self.answer, self.prompt, tolerance=self.tolerance)


def _given(value: object) -> object:
    return None if value is None or value == "" else value


def _listed(value: object) -> tuple[str, ...]:
    """Return a list; a CSV file has one as JSON, or as texts separated by `|`."""
    if isinstance(value, str):
        json = value.strip().startswith("[") and not _POINTS.match(value.strip())
        value = strict_json(value) if json else [part for part in value.split("|") if part.strip()]
    return tuple(str(text).strip() for text in value) if isinstance(value, list | tuple) else ()


def _rubric_problem(row: OwnRow) -> str | None:
    if row.rubric and (row.choices or row.pattern or row.tolerance):
        return "a row with a rubric has no choices, pattern or tolerance; remove them"
    if row.rubric and not any(item.points > 0 for item in row.items):
        return "no criterion of the rubric has positive points; give one at least 1 point"
    return None


def _answer_problem(row: OwnRow) -> str | None:
    if row.rubric or row.pattern or row.answer:
        return None
    return "column 'answer' is empty; give an answer, a pattern or a rubric"


def _choices_problem(row: OwnRow) -> str | None:
    choices, different = row.choices, len(set(row.choices))
    if not choices:
        return None
    if not 2 <= len(choices) <= _MOST_CHOICES or different < len(choices):
        return f"there must be 2 to {_MOST_CHOICES} different choices, not {different}"
    if row.answer not in (*choices, *ascii_uppercase[: len(choices)]):
        return f"the answer {row.answer!r} is neither a choice nor its letter"
    if row.pattern or row.tolerance:
        return "a row with choices has no pattern or tolerance; remove it"
    return None


def _tolerance_problem(row: OwnRow) -> str | None:
    if row.tolerance is None:
        return None
    if not is_number(row.answer) and not is_quantity(row.answer):
        return f"the answer {row.answer!r} is not a number, so it has no tolerance"
    if tolerance_of(row.tolerance, 1.0) is None:
        return f"the tolerance {row.tolerance!r} is neither a number nor a share such as 1%"
    return None


def _pattern_problem(row: OwnRow) -> str | None:
    try:
        re.compile(row.pattern or "")
    except re.error as error:
        return f"the pattern {row.pattern!r} is not a regular expression: {error}"
    return None


_CHECKS = (
    _rubric_problem,
    _answer_problem,
    _choices_problem,
    _tolerance_problem,
    _pattern_problem,
)


def _make(data: Loaded[OwnRow], seed: int, prompts: PromptsInfo | None) -> AnyEval:
    """Return the eval; a file has a rubric in all rows or in none. Raises ConfigurationError."""
    graded = [bool(row.rubric) for row in data.rows]
    if all(graded):
        return GradedEval(data.info, data.rows, prompts)
    if any(graded):
        raise ConfigurationError(
            f"{data.info.source}: question {graded.index(False) + 1} has no rubric, but others do; "
            "put the questions for a grader into a file of their own."
        )
    rows = data.by_id([row.question_id for row in data.rows])
    items = {name: row.item() for name, row in rows.items()}
    return AnswerEval(data.info, items, seed=seed, prompts=prompts)


OWN = Eval(
    "own",
    Facts(
        output_tokens={"low": 800, "medium": 2_500, "high": 10_000},
        max_tokens=LIMIT,
        templates={"own_number": None, "own_text": None, "own_choice": None},
    ),
    OwnRow,
    _make,
)


def own_name(spec: str) -> str | None:
    """Return the name of the eval in a file or a dataset of the hub; None for other names."""
    if spec.startswith(HUB_PREFIX):
        stem = spec.removeprefix(HUB_PREFIX).partition("@")[0].rpartition("/")[2]
    elif Path(spec).suffix.lower() in _FILES:
        stem = Path(spec).stem
    else:
        return None
    return re.sub(r"[^\w.-]+", "-", stem) or "own"
