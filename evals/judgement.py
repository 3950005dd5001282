"""What a comparison of scores starts from and ends in: the types that reports and files share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from evals.base import DatasetInfo
from evals.records import Cell
from harness.records.analysis import Decision
from harness.records.base import Record
from harness.records.rollouts import Api
from harness.statistics.noninferiority import Comparison

SourceKind = Literal["card", "reproduction", "third_party", "measured"]


class Sampling(Record):
    """How the answers of a cell were asked for, as far as it can move a score.

    `grader` is the model that graded, None where answers are right or wrong by themselves.
    """

    api: Api
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    grader: str | None = None


class CellScores(Record):
    """All scores of one cell: what is compared, and what a measured baseline is made of.

    `scores` has every planned question by its id, with the score of each finished try in the order
    of their numbers; a question without a finished try has none. `planned` is tries per question.
    """

    cell: Cell
    dataset: DatasetInfo
    sampling: Sampling
    planned: int = Field(ge=1)
    scores: Mapping[str, tuple[float, ...]] = Field(min_length=1)

    @property
    def missing(self) -> int:
        """Planned tries that are not there."""
        return sum(max(0, self.planned - len(tries)) for tries in self.scores.values())


class Figure(Record):
    """One published or measured score, on the scale 0 to 1. `tries` is None where not stated."""

    source: str
    where: str
    kind: SourceKind
    value: float
    tries: int | None = None
    hardware: str | None = None
    note: str | None = None


class BaselineInfo(Record):
    """The baseline of one cell: the figures it rests on, and why these, in one sentence."""

    name: str
    explanation: str
    figures: tuple[Figure, ...]

    @property
    def low(self) -> float:
        """The lowest of its figures."""
        return min(figure.value for figure in self.figures)

    @property
    def high(self) -> float:
        """The highest of its figures."""
        return max(figure.value for figure in self.figures)


class CellVerdict(Record):
    """One cell held to its baseline; `decision` is None where there is nothing to hold it to."""

    cell: Cell
    decision: Decision | None
    reason: str
    comparison: Comparison | None = None
    baseline: BaselineInfo | None = None
    warnings: tuple[str, ...] = ()


class EvalVerdict(Record):
    """Whether the provider is as good as its baseline; reasons most important first."""

    decision: Decision
    reasons: tuple[str, ...]
    cells: tuple[CellVerdict, ...]
