"""The results of testing a grader, as records on disk; reports read only these."""

from __future__ import annotations

from typing import Literal

from evals.healthbench.agreement import AgreementReport
from harness.records.analysis import RubricSummary
from harness.records.base import Record
from harness.records.runs import DatasetInfo, ProviderInfo


class Concord(Record):
    """Counts of pairs of a rater's verdict and another rater's label."""

    both_met: int = 0
    rater_only: int = 0
    other_only: int = 0
    neither: int = 0

    @property
    def macro_f1(self) -> float | None:
        """Mean of F1 for "met" and for "not met"; None if either never occurs."""
        met = _f1(self.both_met, self.rater_only + self.other_only)
        unmet = _f1(self.neither, self.rater_only + self.other_only)
        return None if met is None or unmet is None else (met + unmet) / 2

    @property
    def rater_met(self) -> float | None:
        """Share of the pairs in which the rater's verdict is "met"."""
        return self._share(self.both_met + self.rater_only)

    @property
    def others_met(self) -> float | None:
        """Share of the pairs in which the other label is "met"."""
        return self._share(self.both_met + self.other_only)

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return self.both_met + self.rater_only + self.other_only + self.neither

    def _share(self, part: int) -> float | None:
        return part / self.pairs if self.pairs else None


class MetaFigure(Record):
    """A grader compared with physicians, over all rows or one category.

    Attributes:
        concord: The grader's verdicts against the physicians' labels.
        physicians: Macro F1 of each physician against the others, in ascending order;
            physicians without enough labels are omitted.
    """

    concord: Concord
    physicians: tuple[float, ...]

    @property
    def macro_f1(self) -> float | None:
        """The grader's macro F1."""
        return self.concord.macro_f1

    @property
    def physician_mean(self) -> float | None:
        """Mean macro F1 of the physicians."""
        return sum(self.physicians) / len(self.physicians) if self.physicians else None

    @property
    def share_reached(self) -> float | None:
        """Share of the physicians whose macro F1 the grader reaches."""
        if self.macro_f1 is None or not self.physicians:
            return None
        return sum(one <= self.macro_f1 for one in self.physicians) / len(self.physicians)


class MetaReport(Record):
    """A grader's results; the `ungraded` rows have no verdict and are not counted."""

    overall: MetaFigure
    categories: dict[str, MetaFigure]
    rows: int
    ungraded: int


class PhysicianTrial(Record):
    """A grader's agreement with physicians, as a file."""

    kind: Literal["physicians-agreement"] = "physicians-agreement"
    grader: ProviderInfo
    dataset: DatasetInfo
    report: MetaReport


class CompletionScores(Record):
    """HealthBench scores of physicians' answers or of the answers they were shown, as a file."""

    kind: Literal["physicians-scores"] = "physicians-scores"
    grader: ProviderInfo
    dataset: DatasetInfo
    references: bool
    groups: dict[str, RubricSummary]


class GraderComparison(Record):
    """Two graders on the answers of one run; `first` and `second` are the names of their logs."""

    kind: Literal["graders-agreement"] = "graders-agreement"
    run_id: str
    first: str
    second: str
    report: AgreementReport


def _f1(right: int, wrong: int) -> float | None:
    """F1 from the numbers of pairs with the class on both sides and on one side."""
    return 2 * right / (2 * right + wrong) if right or wrong else None
