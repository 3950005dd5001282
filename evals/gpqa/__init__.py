"""GPQA Diamond (Rein et al. 2023, arXiv 2311.12022): 198 four-choice questions.

Its authors ask that they not be published.
"""

from pydantic import Field

from evals.answer_eval import AnswerEval
from evals.datasets import DataRow, Loaded, text_id
from evals.declaration import declared
from evals.identity import known_ids
from evals.kinds import ChoiceItem
from evals.noted import withheld
from harness.records.runs import PromptsInfo


class GpqaRow(DataRow):
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

    def content(self) -> object:
        """Return the question and its choices, because some copies have no id column."""
        return (self.question, *self.choices)

    def meaning(self) -> object:
        """Return the question, the right choice, and the others in any order."""
        return self.question, self.correct, sorted(self.choices[1:])

    def withheld(self, identity: str) -> "GpqaRow":
        """Return the row without its texts."""
        texts = (f"{number} {withheld(text)}" for number, text in enumerate(self.choices, start=1))
        columns = ("correct", "incorrect_1", "incorrect_2", "incorrect_3")
        choices = dict(zip(columns, texts, strict=True))
        return GpqaRow(record_id=identity, question=withheld(self.question), **choices)


def _make(data: Loaded[GpqaRow], seed: int, prompts: PromptsInfo | None) -> AnswerEval:
    known = known_ids("gpqa", data.info)
    ids = [
        row.record_id or known.get(row.fingerprint) or text_id(row.question) for row in data.rows
    ]
    items = {
        name: ChoiceItem(row.question, row.correct, choices=row.choices, template="gpqa")
        for name, row in data.by_id(ids).items()
    }
    return AnswerEval(data.info, items, seed=seed, prompts=prompts)


EVALS = declared(__name__, GpqaRow, _make)
