"""The measures of all columns: verdicts, rates, scores, outcomes, times and checks."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from harness.compare.columns import Column, Group, Key, pair
from harness.compare.comparison_types import Measured, Row, Unit
from harness.records.analysis import RuleResult
from harness.records.figures import AtK
from harness.records.scores import Estimate
from harness.statistics.differences import Pair
from harness.statistics.intervals import ALPHA, clustered_rate, median_interval
from harness.statistics.mean_scores import mean_score, rate_mean

VERDICTS = "Verdict"
RATES = "Pass rates"
SCORES = "Scores"
OUTCOMES = "Outcomes"
TIMES = "Times"
CHECKS = "Checks: "
JUDGED = frozenset({"passed", "warned", "failed", "declared"})
"""Statuses of a check that had something to judge."""
_TIMES: tuple[tuple[str, Unit], ...] = (
    ("first token", "seconds"),
    ("request", "seconds"),
    ("tokens per second", "tokens/s"),
    ("reasoning tokens", "tokens"),
)
_NO_PROBLEM = ("success", "correct", "wrong", "graded", "planned")
_NOT_TESTED = "Median. It is not tested, because it depends on place and time."

Pairs = tuple[Pair | None, ...]  # the two means of each cell of a row that is tested
DraftRow = tuple[Row, Pairs]
_row = partial(Row, differences=(), differs=False)


def draft_rows(columns: Sequence[Column], against: int) -> Iterator[DraftRow]:
    """All rows of a comparison, in the order of reports."""
    decisions = [column.entry.decision for column in columns]
    if any(decisions):
        cells = tuple(None if each is None else Measured(decision=each) for each in decisions)
        yield _row(section=VERDICTS, name="verdict", unit="decision", cells=cells), ()
    runs = [column for column in columns if column.entry.kind != "published"]
    keys = list(dict.fromkeys(key for column in runs for key in column.groups))
    for key in keys:
        yield from _main_rows(key, columns, against)
    for key in keys:
        yield from _outcomes([column.groups.get(key) for column in columns])
    for key in keys:
        yield from _times([column.groups.get(key) for column in columns])
    yield from _checks(columns, against)


def check_pair(here: RuleResult, there: RuleResult) -> Pair | None:
    """The two failure rates of a check; None if nothing was judged or nothing failed."""
    if here.rate is None or there.rate is None or not here.failures + there.failures:
        return None
    means = rate_mean(here.rate, here.applicable), rate_mean(there.rate, there.applicable)
    return Pair(*means, cases=None, higher_is_better=False)


def _pairs(key: Key, columns: Sequence[Column], against: int) -> Pairs:
    base = columns[against].groups.get(key)
    found = [
        None if index == against else pair(column.groups.get(key), base)
        for index, column in enumerate(columns)
    ]
    return tuple(None if isinstance(each, str) else each for each in found)


def _main_rows(key: Key, columns: Sequence[Column], against: int) -> Iterator[DraftRow]:
    groups = [column.groups.get(key) for column in columns]
    pairs = _pairs(key, columns, against)
    if any(group is not None and group.is_eval for group in groups):
        cells = tuple(None if group is None else _score(group, groups) for group in groups)
        about = "Mean score over all questions."
        yield _row(section=SCORES, name=key[1], unit="share", cells=cells, about=about), pairs
        return

    rates = [
        None if group is None or group.result is None else {at.k: at for at in group.result.at_k}
        for group in groups
    ]

    def row(label: str, value: Callable[[AtK], Estimate], k: int, about: str) -> Row:
        cells = tuple(_estimated(value(at[k])) if at and k in at else None for at in rates)
        return _row(section=RATES, name=label, unit="share", cells=cells, group=key[1], about=about)

    yield row("pass@1", lambda at: at.pass_at, 1, "Share of attempts that succeed."), pairs
    shared = [set(at) for at in rates if at]
    k = max(set.intersection(*shared)) if shared else 1
    if k > 1:
        yield row(f"pass@{k}", lambda at: at.pass_at, k, f"At least one of {k} tries succeeds."), ()
        yield row(f"pass^{k}", lambda at: at.pass_hat, k, f"All of {k} tries succeed."), ()


def _score(group: Group, groups: Sequence[Group | None]) -> Measured | None:
    """The mean score; a published one is shown where a run can be compared with it."""
    if group.published is None:
        return _estimated(mean_score(group.filled).estimate, total=len(group.values) * group.tries)
    for other in groups:
        if other is not None and isinstance(pair(other, group), Pair):
            low, high = group.published.bounds(ALPHA / 2)
            return Measured(value=group.published.value, low=low, high=high)
    return None


def _outcomes(groups: Sequence[Group | None]) -> Iterator[DraftRow]:
    tables = [None if group is None else group.outcomes for group in groups]
    kinds = dict.fromkeys(
        ["invalid", *(kind for table in tables if table is not None for kind in table.columns)]
    )
    name = next(group.name for group in groups if group is not None)
    for kind in kinds:
        if kind in _NO_PROBLEM:
            continue
        cells: list[Measured | None] = []
        for table in tables:
            if table is None:
                cells.append(None)
                continue
            hits = [int(n) for n in table[kind]] if kind in table else [0] * len(table)
            planned = [int(n) for n in table["planned"]]
            rate = clustered_rate(list(zip(hits, planned, strict=True)))
            cells.append(_estimated(rate, hits=sum(hits), total=sum(planned)))
        if any(cell is not None and cell.hits for cell in cells):
            outcome = kind.replace("_", " ")
            yield (
                _row(section=OUTCOMES, name=outcome, unit="share", cells=tuple(cells), group=name),
                (),
            )


def _times(groups: Sequence[Group | None]) -> Iterator[DraftRow]:
    name = next(group.name for group in groups if group is not None)
    for measure, unit in _TIMES:
        values = [() if group is None else group.times.get(measure, ()) for group in groups]
        if any(values):
            cells = tuple(
                _estimated(median_interval(each), total=len(each)) if each else None
                for each in values
            )
            about = {"group": name, "about": _NOT_TESTED}
            yield _row(section=TIMES, name=measure, unit=unit, cells=cells, **about), ()


def _checks(columns: Sequence[Column], against: int) -> Iterator[DraftRow]:
    every = {id_: each.check for column in columns for id_, each in column.checks.items()}
    families = list(dict.fromkeys(check.family for check in every.values()))
    base = columns[against].checks
    for check in sorted(every.values(), key=lambda each: families.index(each.family)):
        found = [column.checks.get(check.id) for column in columns]
        pairs = tuple(
            None
            if result is None or check.id not in base or index == against
            else check_pair(result, base[check.id])
            for index, result in enumerate(found)
        )
        cells = tuple(None if result is None else _checked(result) for result in found)
        section = f"{CHECKS}{check.family}"
        about = {"name": check.id, "unit": "status", "about": check.summary}
        yield _row(section=section, cells=cells, **about), pairs


def _checked(result: RuleResult) -> Measured:
    bounds = {} if result.rate is None else result.rate.model_dump()
    return Measured(
        **bounds,
        hits=result.failures,
        total=result.applicable,
        status=result.status,
        reason=result.reason,
        examples=result.examples[:1],
    )


def _estimated(rate: Estimate, hits: int | None = None, total: int | None = None) -> Measured:
    return Measured(value=rate.value, low=rate.low, high=rate.high, hits=hits, total=total)
