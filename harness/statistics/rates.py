"""Whether a problem is more frequent than the model alone would cause.

A rule that tolerates a rate has a hypothesis: the model alone causes its problem in at most that
share of independent trials. The tests are exact (binomial distribution); hits that are concentrated
on few prompts are weighted as fewer trials, because one prompt can provoke a model repeatedly.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from harness.statistics.distributions import beta_cdf
from harness.statistics.intervals import effective_trials
from harness.statistics.question import p_more

_Group = TypeVar("_Group", bound=Hashable)

FALSE_ALARM = 0.01
"""Upper bound on the probability that these tests fail a server whose model is below all rates."""
TESTS = 150
"""Upper bound of the tests for errors in a run: rules with a rate times strata (Bonferroni)."""
LEVEL = FALSE_ALARM / TESTS
LOOKS = 16  # most looks at a run that ends at its first failure; 14 at 3,000 attempts
LEVEL_OF_A_LOOK = LEVEL / LOOKS


def excessive(
    groups: Mapping[_Group, Sequence[tuple[float, int]]], rate: float, level: float = LEVEL
) -> frozenset[_Group]:
    """Return the groups in which the model cannot have caused all hits.

    Each group has the `counts` of `excess`, and is excessive if that is at most `level`.
    """
    return frozenset(
        group for group, counts in groups.items() if counts and excess(counts, rate) <= level
    )


def excess(counts: Sequence[tuple[float, int]], rate: float) -> float:
    """Return the probability of at least this many hits if at most the share `rate` is hit.

    `counts` has the hits and trials of each cluster, such as the attempts at one sample.
    Raises the errors of `clustered_rate`.
    """
    trials = effective_trials(counts)
    share = sum(hits for hits, _ in counts) / sum(size for _, size in counts)
    return at_least(share * trials, trials, rate)


def exceeds(counts: Sequence[tuple[float, int]], reference: tuple[int, int]) -> bool:
    """Return whether a share is larger than that of a reference run, by the exact test.

    `counts` are as in `excess`, `reference` has hits and trials; any share exceeds one of none.
    """
    trials = round(effective_trials(counts))
    share = sum(hits for hits, _ in counts) / sum(size for _, size in counts)
    hits = round(share * trials)
    return not reference[1] or p_more((hits, trials), reference) <= LEVEL


def at_least(hits: float, trials: float, rate: float) -> float:
    """Return P(X >= hits) for X binomial, both numbers possibly fractions."""
    if hits <= 0:
        return 1.0
    impossible = rate <= 0 or hits > trials
    return 0.0 if impossible else beta_cdf(hits, trials - hits + 1, rate)


def exactly(hits: int, trials: int, rate: float) -> float:
    """Return P(X = hits) for X binomial."""
    return at_least(hits, trials, rate) - at_least(hits + 1, trials, rate)
