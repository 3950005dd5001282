"""Runs as they are compared: read once, judged already, small enough to hold ten of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from evals.baselines.choice import PublishedBaseline
from evals.baselines.measured import MeasuredBaseline
from evals.baselines.published import known_model
from evals.comparison.records import Entry
from evals.judgement import CellScores
from evals.records import Cell
from evals.results import EvalAnalysis
from harness.records.analysis import Analysis
from harness.records.scores import OutcomeKind
from harness.tasks.cases import Case


class Attempt(NamedTuple):
    """How one attempt at a case ended, and whether a reply in it was invalid."""

    kind: OutcomeKind
    invalid: bool


Attempts: TypeAlias = Mapping[str, Mapping[str, Sequence[Attempt]]]
"""By group and case, the attempts that were made."""

Times: TypeAlias = Mapping[str, Mapping[str, Sequence[float]]]
"""By measure and group, one value for each request."""


@dataclass(frozen=True)
class SmokeRun:
    """A smoke test with its cases, which are the same in two runs where they are equal."""

    entry: Entry
    analysis: Analysis
    cases: Mapping[str, Case]
    attempts: Attempts
    times: Times


@dataclass(frozen=True)
class ScoredRun:
    """An eval run or a baseline file; `analysis` is None for the latter."""

    entry: Entry
    measured: MeasuredBaseline
    analysis: EvalAnalysis | None = None

    def find(self, key: CellKey) -> CellScores | None:
        """Its scores of one eval, model and effort."""
        return next((one for one in self.measured.cells if cell_key(one.cell) == key), None)


@dataclass(frozen=True)
class PublishedFigures:
    """Published figures as a column."""

    entry: Entry
    baseline: PublishedBaseline


CellKey: TypeAlias = tuple[str, str, str]
Compared: TypeAlias = SmokeRun | ScoredRun | PublishedFigures


def cell_key(cell: Cell) -> CellKey:
    """Eval, model and effort; providers call the same model by different names."""
    return cell.eval, known_model(cell.model) or cell.model, cell.effort
