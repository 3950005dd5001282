"""What a cell of scores is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from evals.judgement import BaselineInfo, CellScores
from harness.statistics.mean_scores import Mean

MAKE_ONE = "measure one with `gpt-oss-verify baseline create RUN`"


@dataclass(frozen=True)
class Reference:
    """A cell's own score and what it is held to, with the noise of each."""

    run: Mean
    baseline: Mean
    info: BaselineInfo
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoReference:
    """Why a cell is held to nothing, in one sentence."""

    reason: str


class Baseline(Protocol):
    """Something to hold cells to."""

    def reference(self, scores: CellScores) -> Reference | NoReference:
        """What this cell is held to; every question of it has at least one try."""
        ...
