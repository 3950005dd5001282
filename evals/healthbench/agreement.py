"""Do two graders say the same of the same answers? Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from evals.healthbench.ledger import Verdicts
from evals.healthbench.rows import HealthBenchRow
from harness.records.base import Record


class Agreement(Record):
    """How often two graders agree on a set of items, as a table of four counts.

    `first_only` counts the items that the first grader calls met and the second unmet.
    """

    both_met: int = 0
    first_only: int = 0
    second_only: int = 0
    neither: int = 0

    @property
    def items(self) -> int:
        """Items that both have graded."""
        return self.both_met + self.first_only + self.second_only + self.neither

    @property
    def rate(self) -> float | None:
        """Share of the items on which they agree; None without items."""
        return (self.both_met + self.neither) / self.items if self.items else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance, 1 at best (Cohen 1960).

        None without items, and where both say the same of all: then there is nothing beyond chance.
        """
        if self.rate is None:
            return None
        first = (self.both_met + self.first_only) / self.items
        second = (self.both_met + self.second_only) / self.items
        chance = first * second + (1 - first) * (1 - second)
        return None if chance == 1 else (self.rate - chance) / (1 - chance)


class AgreementReport(Record):
    """Two graders on the same answers: over all items, and over those of each tag.

    `first_ungraded` counts items that only the second grader graded, and the other way round.
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
    """Hold the grades of two graders against each other.

    Args:
        answers: The id of each graded answer, with its question.
        first: The grades of one grader.
        second: Those of the other.
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
    """Counts of pairs of grades; None stands for no grade."""

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
