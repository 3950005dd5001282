"""The data of HealthBench (arXiv 2505.08775): conversations, and the rubrics for their answers."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from evals.answer_eval import Prompt, Question
from evals.datasets import DataRow, Loaded
from evals.prompts import our_prompts
from harness.api.items import Message, Role
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo, PromptsInfo


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


@dataclass(frozen=True, slots=True)
class RubricItem:
    """One item of a row's rubric. `id` is unique in the row.

    The id contains the item's position and a hash of its text, so that grades for a different
    wording or edition of the data are not used for this item.
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


NAMES = ("healthbench", "healthbench_hard", "healthbench_consensus")


class HealthBench:
    """One of the three HealthBench evals; `rows` by question, `tries` as in OpenAI's script."""

    tries = 1

    def __init__(
        self, loaded: Loaded[HealthBenchRow], *, name: str, prompts: PromptsInfo | None = None
    ) -> None:
        """Use the loaded rows. Raises ConfigurationError if two rows have the same prompt_id."""
        self.name = name
        self.prompts = prompts or our_prompts()
        self.info: DatasetInfo = loaded.info
        self.rows: Mapping[str, HealthBenchRow] = {row.prompt_id: row for row in loaded.rows}
        if len(self.rows) < len(loaded.rows):
            first, count = Counter(row.prompt_id for row in loaded.rows).most_common(1)[0]
            raise ConfigurationError(
                f"{loaded.info.source}: the prompt_id {first} occurs {count} times; keep one row."
            )
        self.questions: Sequence[Question] = tuple(
            Question(row.prompt_id, "\n\n".join(f"{turn.role}: {turn.text}" for turn in row.prompt))
            for row in loaded.rows
        )

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the conversation, which is the same in every try."""
        return Prompt(self.rows[question].messages)
