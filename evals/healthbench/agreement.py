"""Agreement between two graders on the same answers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from evals.healthbench.grades import Verdicts
from evals.healthbench.rows import HealthBenchRow
from harness.records.base import Record
from harness.statistics.estimators import cohens_kappa


class Agreement(Record):
    """How often two graders agree on a set of items: a 2 × 2 table.

    `first_only` counts the items that only the first grader considers met.
    """

    both_met: int = 0
    first_only: int = 0
    second_only: int = 0
    neither: int = 0

    @property
    def items(self) -> int:
        """Items that both graders graded."""
        return self.both_met + self.first_only + self.second_only + self.neither

    @property
    def rate(self) -> float | None:
        """Share of the items on which they agree; None without items."""
        return (self.both_met + self.neither) / self.items if self.items else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None without items, or if both graders gave all items the same grade."""
        return cohens_kappa(self.both_met, self.first_only, self.second_only, self.neither)


class AgreementReport(Record):
    """Agreement of two graders on the same answers, over all items and by tag.

    `first_ungraded` counts the items that only the second grader graded, `second_ungraded` those
    that only the first graded.
    """

    overall: Agreement
    tags: dict[str, Agreement]
    first_ungraded: int
    second_ungraded: int

    @property
    def axes(self) -> dict[str, Agreement]:
        """Agreement by axis."""
        return {
            tag.removeprefix("axis:"): found
            for tag, found in self.tags.items()
            if tag.startswith("axis:")
        }


def agreement(
    answers: Iterable[tuple[str, HealthBenchRow]], first: Verdicts, second: Verdicts
) -> AgreementReport:
    """Compare the grades of two graders.

    Args:
        answers: The id of each graded answer, and its question.
        first: The grades of one grader.
        second: The grades of the other grader.
    """
    overall = _Table()
    tags: dict[str, _Table] = defaultdict(_Table)
    nothing: Mapping[str, bool] = {}
    for answer, row in answers:
        ours, theirs = first.get(answer, nothing), second.get(answer, nothing)
        for item in row.items:
            pair = ours.get(item.id), theirs.get(item.id)
            for table in (overall, *(tags[tag] for tag in item.tags)):
                table.add(*pair)
    return AgreementReport(
        overall=overall.agreement(),
        tags={tag: tags[tag].agreement() for tag in sorted(tags)},
        first_ungraded=overall.counts[None, True] + overall.counts[None, False],
        second_ungraded=overall.counts[True, None] + overall.counts[False, None],
    )


class _Table:
    """Counts of pairs of grades; None is a missing grade."""

    def __init__(self) -> None:
        self.counts: dict[tuple[bool | None, bool | None], int] = defaultdict(int)

    def add(self, first: bool | None, second: bool | None) -> None:
        self.counts[first, second] += 1

    def agreement(self) -> Agreement:
        return Agreement(
            both_met=self.counts[True, True],
            first_only=self.counts[True, False],
            second_only=self.counts[False, True],
            neither=self.counts[False, False],
        )
