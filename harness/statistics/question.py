"""Whether hits go with a part of the rows by more than chance: an exact test, within strata. Pure.

The account asks it of APIs and modes within a request, a condition of features within a run, a
probe of streams within a prompt or of one kind of requests, the diagnosis of APIs within a case, a
tolerance of a run and its reference.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeAlias, TypeVar

from harness.statistics.distributions import hypergeometric

Stratum = TypeVar("Stratum", bound=Hashable)
Counts: TypeAlias = tuple[int, int]  # hits and rows
Table: TypeAlias = tuple[Counts, Counts]  # of the part, and of the other rows


@dataclass(frozen=True)
class Association(Generic[Stratum]):
    """The hits in a part of the rows and in the others, by stratum.

    Exact and conditional on the hits of each stratum: those of the part are hypergeometric, and the
    test statistic is their sum over the strata (the exact test of Mantel and Haenszel; Agresti,
    Categorical Data Analysis, 2013, section 7.3.5). With one stratum it is Fisher's exact test.
    `statsmodels` has only the chi-squared approximation, which needs more than the two rows of a
    stratum that probes have.
    """

    tables: Mapping[Stratum, Table]

    @property
    def part(self) -> Counts:
        """Hits and rows of the part, in all strata."""
        return self._total(0)

    @property
    def others(self) -> Counts:
        """Hits and rows of the rest."""
        return self._total(1)

    @property
    def telling(self) -> frozenset[Stratum]:
        """The strata that can tell: with rows on both sides, of which some are hits."""
        return frozenset(
            key
            for key, ((hits, rows), (others, rest)) in self.tables.items()
            if rows and rest and 0 < hits + others < rows + rest
        )

    @property
    def more(self) -> frozenset[Stratum]:
        """The strata in which the part has the larger share of hits."""
        return frozenset(
            key
            for key, ((hits, rows), (others, rest)) in self.tables.items()
            if rows and rest and hits * rest > others * rows
        )

    @property
    def p_more(self) -> float:
        """The probability of at least as many hits in the part by chance."""
        return self._tails[1]

    @property
    def p_fewer(self) -> float:
        """The probability of at most as many."""
        return self._tails[0]

    @property
    def p(self) -> float:
        """The two-sided p-value: twice the smaller tail."""
        return min(1.0, 2 * min(self._tails))

    @cached_property
    def _tails(self) -> tuple[float, float]:
        import numpy as np  # slow to import

        distribution = np.ones(1)
        statistic = 0
        for (hits, rows), (others, rest) in self.tables.values():
            found = hits + others
            chances = list(hypergeometric(found, rows + rest - found, rows))
            distribution = np.convolve(distribution, chances)
            statistic += hits - max(0, found - rest)
        return (
            min(1.0, float(distribution[: statistic + 1].sum())),
            min(1.0, float(distribution[statistic:].sum())),
        )

    def _total(self, side: int) -> Counts:
        pairs = [table[side] for table in self.tables.values()]
        return sum(hits for hits, _ in pairs), sum(rows for _, rows in pairs)


def asked(rows: Iterable[tuple[Stratum, bool, bool]]) -> Association[Stratum]:
    """Return the answer for rows: the stratum of each, whether it is in the part, and is a hit.

    Copies are one piece of evidence: leave them out before.
    """
    counts: dict[Stratum, list[list[int]]] = defaultdict(lambda: [[0, 0], [0, 0]])
    for stratum, inside, hit in rows:
        side = counts[stratum][not inside]
        side[0] += hit
        side[1] += 1
    return Association({key: ((a[0], a[1]), (b[0], b[1])) for key, (a, b) in counts.items()})


def p_more(part: Counts, others: Counts) -> float:
    """Return the probability of so many hits in a part by chance, given those in the others."""
    return Association({None: (part, others)}).p_more
