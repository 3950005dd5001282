"""Separate findings that a healthy model may cause from those that only a server causes. No I/O.

A rule may tolerate its problem in the share of rollouts in which the model causes it. The rollouts
of all tasks are judged together, because a rare defect shows only in many replies. To detect
defects of one API, mode or replica behind a load balancer, each of these is also tested alone.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness.checks import CHECKS, compare_rollouts
from harness.checks.rules import as_warning, tolerated
from harness.records.scores import Finding, Score
from harness.statistics.rates import LEVEL, excessive
from harness.tasks.tool_calling import invalidated

Stratum = tuple[str, str]  # a property of rollouts and its value: `("API", "chat")`

EVERY: Stratum = ("run", "")
_FEWEST, _MOST_REPLICAS = 10, 8


def apply_tolerances(
    scores: Sequence[Score], may_warn: Collection[str] = (), level: float = LEVEL
) -> list[Score]:
    """Compare the rollouts, and lower findings that the model may have caused.

    Findings of a check with a tolerated share remain as they are in strata in which the share of
    affected rollouts exceeds it: the exact binomial test of `harness.statistics.rates` has a
    p-value of at most `level`. Elsewhere they become informational. Errors of checks in `may_warn`
    become warnings. What remains an error makes the response of a tool-call attempt invalid.
    """
    compared = list(_compared(scores))
    strata = _strata(compared)
    exceeded = {
        check_id: _excessive(check_id, strata, level)
        for check_id in {finding.id for score in compared for finding in score.findings}
    }
    return [_lowered(score, exceeded, may_warn) for score in compared]


def strata_of(score: Score) -> Iterator[Stratum]:
    """Yield the strata that a rollout belongs to."""
    condition = score.condition
    yield EVERY
    yield "API", condition.api
    yield "mode", str(condition.mode)
    yield "API and mode", condition.name
    yield from score.traits.replicas


def _compared(scores: Sequence[Score]) -> Iterator[Score]:
    found = compare_rollouts([score for score in scores if score.finished])
    joined: dict[frozenset[str], frozenset[str]] = {}
    for score in scores:
        if score.finished:
            applicable, findings = next(found)
            every = score.applicable | applicable
            score = replace(
                score,
                applicable=joined.setdefault(every, every),
                findings=(*score.findings, *findings),
            )
        yield score


def _strata(scores: Iterable[Score]) -> Mapping[Stratum, list[Score]]:
    """Return the rollouts of each stratum. Replicas are strata if several have enough rollouts."""
    members: dict[Stratum, list[Score]] = defaultdict(list)
    for score in scores:
        for stratum in dict.fromkeys(strata_of(score)):
            members[stratum].append(score)
    values = Counter(name for name, _ in members)
    return {
        stratum: found
        for stratum, found in members.items()
        if stratum[0] in ("run", "API", "mode", "API and mode")
        or (1 < values[stratum[0]] <= _MOST_REPLICAS and len(found) >= _FEWEST)
    }


def _excessive(
    check_id: str, strata: Mapping[Stratum, Sequence[Score]], level: float
) -> frozenset[Stratum]:
    """Return the strata in which the model cannot have caused all findings of a check."""
    rate = CHECKS[check_id].tolerated
    if not rate:
        return frozenset((EVERY,))
    counts = {stratum: _counts(check_id, members) for stratum, members in strata.items()}
    return excessive(counts, rate, level)


def _counts(check_id: str, scores: Iterable[Score]) -> list[tuple[int, int]]:
    """Return affected and judged rollouts by conversation, which several samples may share."""
    counted: dict[str, list[bool]] = defaultdict(list)
    for score in scores:
        if check_id in score.applicable:
            found = any(finding.id == check_id for finding in score.findings)
            counted[score.traits.conversation or f"{score.task}/{score.sample}"].append(found)
    return [(sum(found), len(found)) for found in counted.values()]


def _lowered(
    score: Score, exceeded: Mapping[str, Collection[Stratum]], may_warn: Collection[str]
) -> Score:
    if not score.findings:
        return score
    strata = set(strata_of(score))

    def lowered(finding: Finding) -> Finding:
        if strata.isdisjoint(exceeded[finding.id]):
            return tolerated(finding)
        return as_warning(finding) if finding.id in may_warn else finding

    findings = tuple(map(lowered, score.findings))
    if score.value is None:
        return replace(score, findings=findings)
    return invalidated(score, findings)
