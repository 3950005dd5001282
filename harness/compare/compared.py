"""Compare columns: their measures in rows, which differences exceed chance, and what changed.

The path is: runs → columns (`columns.py`) → rows → tests → `Comparison`. No I/O.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from harness.compare.columns import (
    MEASURE,
    SAMPLE_QUESTIONS,
    Column,
    Group,
    Key,
    pair,
    shared_content,
    shared_tries,
)
from harness.compare.comparison_types import (
    ChangedCase,
    Changes,
    CheckChange,
    Comparison,
    Entry,
    Measured,
    RateChange,
    Row,
    Unit,
)
from harness.compare.differing_settings import RUN, changes
from harness.records.analysis import RuleResult
from harness.records.figures import AtK
from harness.records.scores import Estimate
from harness.statistics.differences import (
    Difference,
    Pair,
    differences,
    fisher_exact,
    p_value,
    significant_cases,
)
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


def compare(columns: Sequence[Column], against: int, tool_version: str) -> Comparison:
    """Compare every column with the one at the index `against`. Their labels are unique."""
    base = columns[against]
    rows, count = _tested(list(_draft_rows(columns, against)), len(columns), against)
    return Comparison(
        tool_version=tool_version,
        against=base.entry.label,
        entries=tuple(_entry(column, base) for column in columns),
        rows=rows,
        tested=count,
        changes=tuple(
            _changes(column, base, [(row, row.differences[index]) for row in rows])
            for index, column in enumerate(columns)
            if column is not base
        ),
    )


def labelled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with unique labels: the provider, if needed with model, time and place."""
    entries = [column.entry for column in columns]
    labels = [entry.provider for entry in entries]
    times = [(entry.started_at or "").replace("T", " ")[:16] for entry in entries]
    for extras in ([e.model for e in entries], times, [e.place or "" for e in entries]):
        kinds = set(zip(labels, extras, strict=True))
        count = Counter(label for label, _ in kinds)
        labels = [
            f"{label} {extra}".rstrip() if count[label] > 1 else label
            for label, extra in zip(labels, extras, strict=True)
        ]
    unique = []
    for at, (column, label) in enumerate(zip(columns, labels, strict=True)):
        before = labels[:at].count(label)
        name = f"{label} #{before + 1}" if before else label
        unique.append(replace(column, entry=column.entry.model_copy(update={"label": name})))
    return unique


def _draft_rows(columns: Sequence[Column], against: int) -> Iterator[DraftRow]:
    """Yield all rows of a comparison, in the order of reports."""
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
    """Return the mean score; a published one is shown where a run can be compared with it."""
    if group.published is None:
        return _estimated(mean_score(group.filled).estimate, total=len(group.values) * group.tries)
    for other in groups:
        if other is not None and isinstance(pair(other, group), Pair):
            low, high = group.published.bounds(ALPHA / 2)
            return Measured(value=group.published.value, low=low, high=high)
    return None


def _outcomes(groups: Sequence[Group | None]) -> Iterator[DraftRow]:
    tables = [None if group is None else group.outcomes for group in groups]
    found = {kind for table in tables if table for counts in table.values() for kind in counts}
    kinds = ["invalid", *sorted(found - {"invalid"})]
    name = next(group.name for group in groups if group is not None)
    for kind in kinds:
        if kind in _NO_PROBLEM:
            continue
        cells: list[Measured | None] = []
        for table in tables:
            if table is None:
                cells.append(None)
                continue
            counts = [(each[kind], each["planned"]) for each in table.values()]
            hits, planned = sum(one for one, _ in counts), sum(every for _, every in counts)
            cells.append(_estimated(clustered_rate(counts), hits=hits, total=planned))
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
            else _check_pair(result, base[check.id])
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


def _check_pair(here: RuleResult, there: RuleResult) -> Pair | None:
    """Return the two failure rates of a check; None if nothing was judged or nothing failed."""
    if here.rate is None or there.rate is None or not here.failures + there.failures:
        return None
    means = rate_mean(here.rate, here.applicable), rate_mean(there.rate, there.applicable)
    return Pair(*means, cases=None, higher_is_better=False)


def _tested(drafts: Sequence[DraftRow], columns: int, against: int) -> tuple[tuple[Row, ...], int]:
    """Return the rows with all differences, tested together; and their number."""
    every = [pair for _, pairs in drafts for pair in pairs if pair is not None]
    found = iter(differences(every))
    rows = []
    for row, pairs in drafts:
        own = [None if each is None else next(found) for each in pairs or (None,) * columns]
        rows.append(_finished(row, own, against))
    return tuple(rows), len(every)


def _finished(row: Row, found: Sequence[Difference | None], against: int) -> Row:
    """Return the row with its tests; it differs if a test, a verdict or a status does."""
    base = row.cells[against]
    differs = any(each is not None and each.seen != "none" for each in found) or any(
        base is not None and cell is not None and _state_differs(cell, base) for cell in row.cells
    )
    return row.model_copy(update={"differences": tuple(found), "differs": differs})


def _state_differs(cell: Measured, base: Measured) -> bool:
    if cell.decision != base.decision:
        return True
    return cell.status in JUDGED and base.status in JUDGED and cell.status != base.status


def _changes(
    column: Column, base: Column, found: Sequence[tuple[Row, Difference | None]]
) -> Changes:
    """Return what changed; `found` has all rows with their differences in this column."""
    judged = [
        (result, base.checks[id_])
        for id_, result in column.checks.items()
        if id_ in base.checks and {result.status, base.checks[id_].status} <= JUDGED
    ]
    broken = [_check_change(*each) for each in judged if _fails_only(*each)]
    fixed = [_check_change(*each) for each in judged if _fails_only(*reversed(each))]
    cases = _changed_cases(column, base)
    beyond = [(row, one) for row, one in found if one is not None and one.seen != "none"]
    return Changes(
        label=column.entry.label,
        broken=tuple(broken),
        fixed=tuple(fixed),
        cases=cases,
        rates=tuple(
            RateChange(name=row.group or row.name, difference=one)
            for row, one in beyond
            if row.unit != "status"
        ),
        worse=(base.entry.decision, column.entry.decision) == ("pass", "fail")
        or any(one.seen == "worse" for _, one in beyond)
        or any(change.beyond_chance for change in broken)
        or not all(case.better for case in cases),
    )


def _changed_cases(now: Column, before: Column) -> tuple[ChangedCase, ...]:
    """Return the cases that differ beyond chance, lowest p-value first, without graded scores."""
    tables = [
        (key[1], sample, _counts(ours), _counts(theirs))
        for key, here in now.groups.items()
        if key in before.groups
        for sample, ours, theirs in shared_tries(here, before.groups[key])
        if {*ours, *theirs} <= {0.0, 1.0}
    ]
    significant = significant_cases([(here, there) for _, _, here, there in tables])
    found = [
        ChangedCase(sample=sample, group=group, here=here, there=there, p=fisher_exact(here, there))
        for (group, sample, here, there), sure in zip(tables, significant, strict=True)
        if sure
    ]
    return tuple(sorted(found, key=lambda case: (case.p, case.group, case.sample)))


def _counts(tries: Sequence[float]) -> tuple[int, int]:
    return round(sum(tries)), len(tries)


def _fails_only(here: RuleResult, there: RuleResult) -> bool:
    return here.status == "failed" and there.status != "failed"


def _check_change(now: RuleResult, before: RuleResult) -> CheckChange:
    pair = _check_pair(now, before)
    return CheckChange(
        id=now.check.id,
        before=before.status,
        after=now.status,
        here=(now.failures, now.applicable),
        there=(before.failures, before.applicable),
        beyond_chance=pair is not None and p_value(pair.run, pair.reference) < ALPHA,
    )


def _entry(column: Column, base: Column) -> Entry:
    if column is base:
        return column.entry
    here, there = column.settings, base.settings
    if RUN not in here or RUN not in there:
        here, there = ({k: v for k, v in each.items() if k != RUN} for each in (here, there))
    notes = (*column.entry.notes, *_limits(column, base))
    return column.entry.model_copy(update={"differs": changes(here, there), "notes": notes})


def _limits(column: Column, base: Column) -> Iterator[str]:
    """Yield what cannot be compared, in sentences."""
    for run, other in ((column, base), (base, column)):
        if other.entry.kind == "published" and run.entry.kind != "published":
            yield from _published_limits(run, other)
            return
    both = [key for key in column.groups if key in base.groups]
    label = base.entry.label
    if not both and not (column.checks and base.checks):
        yield f"It has nothing in common with {label}: no task under the same conditions."
        return
    lone = [key[1] for key in {**column.groups, **base.groups} if key not in both]
    if lone:
        yield f"Only one of the two has {'; '.join(lone)}."
    yield from dict.fromkeys(
        sentence
        for key in both
        for sentence in _incomplete(column.groups[key], base.groups[key], label)
    )


def _incomplete(here: Group, there: Group, label: str) -> Iterator[str]:
    """Yield why a task is not compared, or that only a part of its samples is."""
    shared, found = shared_content(here, there), pair(here, there)
    if not shared:
        yield f"{here.task} is not compared: the cases or data differ from those of {label}."
    elif shared < max(len(here.contents), len(there.contents)):
        yield (
            f"{here.task}: only samples with the same content are paired, {shared} of the "
            f"{len(here.contents)} here and {len(there.contents)} in {label}."
        )
    elif isinstance(found, str):
        yield f"{here.name} is not compared: {found}"


def _published_limits(run: Column, published: Column) -> Iterator[str]:
    """Yield the scores of a run that published figures cannot be compared with."""
    label = published.entry.label
    evals = [(key, group) for key, group in run.groups.items() if group.is_eval]
    if not evals:
        yield f"{run.entry.label} has no scores that could be compared with {label}."
    for key, group in evals:
        found = published.groups.get(key)
        reason: Pair | str = SAMPLE_QUESTIONS
        if not group.example_data:
            missing = f"{label} has no figure for it; {MEASURE}."
            reason = missing if found is None else pair(group, found)
        if isinstance(reason, str):
            yield f"{key[1]} is not compared: {reason}"
