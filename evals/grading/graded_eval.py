"""Questions whose answers are graded against rubrics, as an eval."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from evals.answer_eval import Prompt, Question
from evals.prompts import our_prompts
from harness.api.items import Message
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo, PromptsInfo


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

    @classmethod
    def of(cls, place: int, criterion: str, points: float, tags: tuple[str, ...]) -> "RubricItem":
        """Return the item at a place in a rubric, from 0."""
        digest = sha256(f"{points:g} {criterion}".encode("utf-8", "surrogatepass")).hexdigest()
        return cls(f"{place}-{digest[:8]}", criterion, points, tags)

    @property
    def text(self) -> str:
        """The item in the grader's prompt: points and criterion, as in OpenAI's script."""
        return f"[{self.points:g}] {self.criterion}"


class GradedQuestion(Protocol):
    """A conversation to continue, and the rubric for the answer."""

    @property
    def question_id(self) -> str:
        """The id of the question."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation for the model to continue."""

    @property
    def items(self) -> tuple[RubricItem, ...]:
        """The rubric."""

    @property
    def question_tags(self) -> tuple[str, ...]:
        """The tags of the conversation."""


class GradedEval:
    """An eval with a grader; `rows` by question."""

    def __init__(
        self,
        info: DatasetInfo,
        rows: Sequence[GradedQuestion],
        prompts: PromptsInfo | None = None,
    ) -> None:
        """Use the loaded rows. Raises ConfigurationError if two rows have the same id."""
        self.name, self.info = info.eval, info
        self.prompts = prompts or our_prompts()
        self.rows: Mapping[str, GradedQuestion] = {row.question_id: row for row in rows}
        if len(self.rows) < len(rows):
            first, count = Counter(row.question_id for row in rows).most_common(1)[0]
            raise ConfigurationError(
                f"{info.source}: the question {first} occurs {count} times; keep one row."
            )
        self.questions: Sequence[Question] = tuple(
            Question(name, "\n\n".join(f"{turn.role}: {turn.text}" for turn in row.messages))
            for name, row in self.rows.items()
        )

    def prompt(self, question: str, number: int) -> Prompt:
        """Return the conversation, which is the same in every try."""
        return Prompt(self.rows[question].messages)
