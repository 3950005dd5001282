"""AIME 2025: thirty competition problems whose answers are integers from 0 to 999."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from evals.answer_eval import AnswerEval
from evals.datasets import DataRow, Loaded
from evals.declaration import declared
from evals.identity import known_ids
from evals.kinds import IntegerItem
from harness.records.runs import PromptsInfo

_PROBLEMS_IN_A_CONTEST = 15


def _leading_integer(value: object) -> object:
    """Return the integer at the start of a text; one published answer ends in a degree sign."""
    match = re.match(r"\d+(?![.,/]?\d)", value.strip()) if isinstance(value, str) else None
    return int(match[0]) if match else value


class AimeRow(DataRow):
    """A problem and its answer, in the published columns."""

    question: str = Field(min_length=1, validation_alias=AliasChoices("question", "problem"))
    answer: Annotated[int, BeforeValidator(_leading_integer), Field(ge=0, le=999)]

    def meaning(self) -> object:
        """Return the problem and its answer."""
        return self.question, str(self.answer)

    def identity(self, place: int, known: Mapping[str, str], *, sample: bool) -> str:
        """Return `I-01` to `II-15` in the published set, `S-01` and so on in others."""
        if published := known.get(self.fingerprint):
            return published
        if sample:
            return f"S-{place + 1:02d}"
        contest, problem = divmod(place, _PROBLEMS_IN_A_CONTEST)
        return f"{'I' * (contest + 1)}-{problem + 1:02d}"


def _make(data: Loaded[AimeRow], seed: int, prompts: PromptsInfo | None) -> AnswerEval:
    known, sample = known_ids("aime25", data.info), data.info.sample
    ids = [row.identity(place, known, sample=sample) for place, row in enumerate(data.rows)]
    items = {
        name: IntegerItem(row.question, str(row.answer), template="aime25")
        for name, row in data.by_id(ids).items()
    }
    return AnswerEval(data.info, items, seed=seed, prompts=prompts)


EVALS = declared(__name__, AimeRow, _make)
