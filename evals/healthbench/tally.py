"""Counts of a grading phase so far, for the display to show."""

from __future__ import annotations

from evals.healthbench.grade import grade_of
from harness.records.rollouts import Rollout


class GradingTally:
    """Counts the replies of a grader; what is no grade is asked for again.

    Attributes:
        finished: Items that have a grade now.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._met = 0
        self._unmet = 0
        self._others = 0
        self.finished = 0

    def add(self, rollout: Rollout) -> None:
        """Count one more reply."""
        grade = grade_of(rollout)
        self._met += grade is not None and grade.met
        self._unmet += grade is not None and not grade.met
        self._others += grade is None
        self.finished += grade is not None

    def __str__(self) -> str:
        return f"{self._met:,} met · {self._unmet:,} not met · {self._others:,} without a grade"
