"""The rows of HealthBench (arXiv 2505.08775): a conversation and the rubric for its answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from evals.datasets.rows import DataRow
from harness.api.base import Message, Role


def _no_repeats(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(tags)) != len(tags):
        raise ValueError("names a tag twice")
    return tags


Tags = Annotated[tuple[str, ...], AfterValidator(_no_repeats)]


class Verbatim(DataRow):
    """A row whose texts keep their leading and trailing white space."""

    model_config = ConfigDict(str_strip_whitespace=False)


class Turn(Verbatim):
    """One message of a conversation."""

    role: Role
    text: str = Field(alias="content")


class Rubric(Verbatim):
    """A criterion and its points, which are negative for a fault."""

    criterion: str = Field(min_length=1)
    points: float = Field(allow_inf_nan=False)
    tags: Tags = ()


class IdealCompletions(Verbatim):
    """A physician's answer, and the model's answers that were shown in some groups."""

    ideal_completion: str
    ideal_completions_group: str
    ideal_completions_ref_completions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RubricItem:
    """One item of a row's rubric. `id` is unique in the row.

    The id has the item's position and a hash of its text, so that a grade for another wording or
    another edition of the data is not used for this item.
    """

    id: str
    criterion: str
    points: float
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """The item in the grader's prompt: points and criterion, as in OpenAI's script."""
        return f"[{self.points:g}] {self.criterion}"


class HealthBenchRow(Verbatim):
    """One conversation; the columns are those of the published files."""

    prompt_id: str = Field(min_length=1)
    prompt: tuple[Turn, ...] = Field(min_length=1)
    rubrics: tuple[Rubric, ...] = Field(min_length=1)
    example_tags: Tags = ()
    ideal_completions_data: IdealCompletions | None = None

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if not any(rubric.points > 0 for rubric in self.rubrics):
            raise ValueError("no rubric item has positive points, so the row cannot be scored")
        return self

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation for the model to continue."""
        return tuple(Message(turn.role, turn.text) for turn in self.prompt)

    @cached_property
    def items(self) -> tuple[RubricItem, ...]:
        """The rubric, each item with its id."""
        return tuple(
            RubricItem(f"{index}-{_digest(rubric)}", rubric.criterion, rubric.points, rubric.tags)
            for index, rubric in enumerate(self.rubrics)
        )


def _digest(rubric: Rubric) -> str:
    text = f"{rubric.points:g} {rubric.criterion}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
