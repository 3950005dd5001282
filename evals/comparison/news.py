"""What is new in a run since the previous one of the same provider. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from evals.comparison.drafts import JUDGED
from evals.comparison.records import CheckChange, Flip, News, ScoreChange
from evals.comparison.runs import Compared, ScoredRun, SmokeRun, cell_key
from evals.comparison.scores import NotPaired, pair_scores, row_name, shared_tries
from evals.comparison.smoke import check_pair, paired, success_pair
from harness.records.analysis import CheckResult, CheckStatus
from harness.statistics.differences import (
    Pair,
    differences,
    fisher_exact,
    p_value,
    significant_cases,
)
from harness.statistics.intervals import ALPHA

Tries: TypeAlias = tuple[str, str, Sequence[float], Sequence[float]]
"""A group, a case or question in it, and the tries of both runs."""


def news(now: SmokeRun | ScoredRun, before: SmokeRun | ScoredRun) -> News | None:
    """What changed from one run to the next; None where they share nothing.

    Checks that came to fail, or no longer do, are all named; cases and scores only where they
    differ by more than chance.
    """
    shared = list(shared_cases(now, before))
    checks = _check_changes(now, before)
    if not shared and not _checks_shared(now, before):
        return None
    return News(
        run=now.entry.label,
        previous=before.entry.label,
        previous_at=before.entry.started_at or "",
        broken=tuple(change for change in checks if change.after == "failed"),
        fixed=tuple(change for change in checks if change.before == "failed"),
        flips=flips(shared),
        scores=tuple(_score_changes(now, before)),
    )


def flips(shared: Sequence[Tries]) -> tuple[Flip, ...]:
    """The cases that are answered differently beyond chance, the clearest first.

    Only tries that are right or wrong are counted; graded scores are left out.
    """
    binary = [one for one in shared if {*one[2], *one[3]} <= {0.0, 1.0}]
    tables = [(_counted(ours), _counted(theirs)) for _, _, ours, theirs in binary]
    found = [
        Flip(sample=case, group=group, here=here, there=there, p=fisher_exact(here, there))
        for (group, case, _, _), (here, there), sure in zip(
            binary, tables, significant_cases(tables), strict=True
        )
        if sure
    ]
    return tuple(sorted(found, key=lambda flip: (flip.p, flip.group, flip.sample)))


def shared_cases(here: Compared, there: Compared) -> Iterator[Tries]:
    """Every case or question that both runs have tries of."""
    if isinstance(here, SmokeRun) and isinstance(there, SmokeRun):
        for group in here.attempts:
            for case, ours, theirs in paired(here, there, group):
                yield group, case, ours, theirs
    elif isinstance(here, ScoredRun) and isinstance(there, ScoredRun):
        for cell in here.measured.cells:
            key = cell_key(cell.cell)
            other = there.find(key)
            if other is not None and isinstance(pair_scores(here, there, key), Pair):
                for question, ours, theirs in shared_tries(cell, other):
                    yield row_name(key), question, ours, theirs


def _counted(tries: Sequence[float]) -> tuple[int, int]:
    return round(sum(tries)), len(tries)


def _check_changes(now: Compared, before: Compared) -> list[CheckChange]:
    if not (isinstance(now, SmokeRun) and isinstance(before, SmokeRun)):
        return []
    earlier = {result.check.id: result for result in before.analysis.checks}
    return [
        _change(result, earlier[result.check.id])
        for result in now.analysis.checks
        if result.check.id in earlier and _crossed(earlier[result.check.id].status, result.status)
    ]


def _checks_shared(now: Compared, before: Compared) -> bool:
    if not (isinstance(now, SmokeRun) and isinstance(before, SmokeRun)):
        return False
    earlier = {r.check.id for r in before.analysis.checks if r.status in JUDGED}
    return any(r.check.id in earlier and r.status in JUDGED for r in now.analysis.checks)


def _crossed(before: CheckStatus, after: CheckStatus) -> bool:
    return before in JUDGED and after in JUDGED and (before == "failed") != (after == "failed")


def _change(now: CheckResult, before: CheckResult) -> CheckChange:
    pair = check_pair(now, before)
    return CheckChange(
        id=now.check.id,
        before=before.status,
        after=now.status,
        here=(now.failures, now.applicable),
        there=(before.failures, before.applicable),
        beyond_chance=pair is not None and p_value(pair.run, pair.reference) < ALPHA,
    )


def _score_changes(now: Compared, before: Compared) -> Iterator[ScoreChange]:
    pairs = dict(_pairs(now, before))
    for name, difference in zip(pairs, differences(list(pairs.values())), strict=True):
        if difference.seen != "none":
            yield ScoreChange(name=name, difference=difference)


def _pairs(now: Compared, before: Compared) -> Iterator[tuple[str, Pair]]:
    if isinstance(now, SmokeRun) and isinstance(before, SmokeRun):
        for group in now.attempts:
            pair = success_pair(now, before, group)
            if pair is not None:
                yield group, pair
    elif isinstance(now, ScoredRun) and isinstance(before, ScoredRun):
        for cell in now.measured.cells:
            key = cell_key(cell.cell)
            found = pair_scores(now, before, key)
            if not isinstance(found, NotPaired):
                yield row_name(key), found
