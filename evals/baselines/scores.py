"""The scores of one eval under one condition: what is compared with a baseline."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from harness.records.base import Record
from harness.records.conditions import Api
from harness.records.runs import DatasetInfo, Sampling


class EvalScores(Record):
    """All scores of one eval of one model at one effort.

    `scores` has every planned question by its id, with the values of its finished attempts in the
    order of their numbers. `planned` is the number of attempts at each question. `grader` is the
    model that graded; None where answers are right or wrong by themselves.
    """

    eval: str
    model: str
    effort: str
    dataset: DatasetInfo
    api: Api
    sampling: Sampling
    grader: str | None = None
    planned: int = Field(ge=1)
    scores: Mapping[str, tuple[float, ...]] = Field(min_length=1)

    @property
    def name(self) -> str:
        """`aime25, gpt-oss-20b, high effort`."""
        return f"{self.eval}, {self.model}, {self.effort} effort"

    @property
    def missing(self) -> int:
        """Planned attempts that were not made."""
        return sum(max(0, self.planned - len(tries)) for tries in self.scores.values())
