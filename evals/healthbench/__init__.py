"""HealthBench (arXiv 2505.08775): health conversations, and the rubrics for their answers."""

from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from evals.datasets import DataRow
from evals.datasets import Loaded as Loaded
from evals.declaration import declared
from evals.grading.graded_eval import GradedEval, RubricItem
from harness.api.items import Message, Role
from harness.records.runs import PromptsInfo as PromptsInfo


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
    """A physician's answer, and the model answers that some groups were shown."""

    ideal_completion: str
    ideal_completions_group: str
    ideal_completions_ref_completions: tuple[str, ...] | None = None


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
    def question_id(self) -> str:
        """The published id."""
        return self.prompt_id

    @property
    def question_tags(self) -> tuple[str, ...]:
        """The tags of the conversation."""
        return self.example_tags

    def meaning(self) -> object:
        """Return the conversation, and the rubric in any order."""
        items = sorted((f"{rubric.points:g}", rubric.criterion) for rubric in self.rubrics)
        return [(turn.role, turn.text) for turn in self.prompt], items

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation for the model to continue."""
        return tuple(Message(turn.role, turn.text) for turn in self.prompt)

    @cached_property
    def items(self) -> tuple[RubricItem, ...]:
        """The rubric, each item with its id."""
        return tuple(
            RubricItem.of(place, rubric.criterion, rubric.points, rubric.tags)
            for place, rubric in enumerate(self.rubrics)
        )


EVALS = declared(
    __name__,
    HealthBenchRow,
    lambda data, _seed, prompts: GradedEval(data.info, data.rows, prompts),
    needs_grader=True,
)
