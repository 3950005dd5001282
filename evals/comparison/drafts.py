"""Rows on their way into a comparison: with what is to be tested, before all tests are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from evals.comparison.records import Measured, Row, Unit
from harness.records.analysis import Decision
from harness.statistics.differences import Difference, Pair

VERDICTS = "Verdict"
JUDGED = frozenset({"passed", "warned", "failed", "declared"})
"""Statuses of a check that had something to judge."""


@dataclass(frozen=True)
class DraftRow:
    """A row without its differences; `pairs` has one for each cell that is to be tested."""

    section: str
    name: str
    unit: Unit
    cells: tuple[Measured | None, ...]
    group: str | None = None
    about: str = ""
    pairs: tuple[Pair | None, ...] = ()

    def testing(self, pairs: Sequence[Pair | None]) -> Self:
        """The same row, with what is to be tested."""
        return replace(self, pairs=tuple(pairs))

    def finished(self, differences: Sequence[Difference | None], against: int) -> Row:
        """The row with its differences.

        It differs where a difference was seen, or where a verdict or the status of a check is
        another than the reference's.
        """
        seen = any(one is not None and one.seen != "none" for one in differences)
        return Row(
            section=self.section,
            name=self.name,
            group=self.group,
            unit=self.unit,
            about=self.about,
            cells=self.cells,
            differences=tuple(differences),
            differs=seen or self._states_differ(against),
        )

    def _states_differ(self, against: int) -> bool:
        base = self.cells[against]
        if base is None:
            return False
        return any(cell is not None and _states_differ(cell, base) for cell in self.cells)


def verdict_row(name: str, decisions: Sequence[Decision | None]) -> DraftRow:
    """The row of what the gate said."""
    cells = tuple(None if one is None else Measured(decision=one) for one in decisions)
    return DraftRow(VERDICTS, name, "decision", cells)


def _states_differ(cell: Measured, base: Measured) -> bool:
    if cell.decision != base.decision:
        return True
    judged = cell.status in JUDGED and base.status in JUDGED
    return judged and cell.status != base.status
