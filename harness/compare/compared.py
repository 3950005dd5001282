"""Compare columns: their measures in rows, which differences exceed chance, and what changed.

The path is: runs → columns of DataFrames (`columns.py`) → rows → tests → `Comparison`. No I/O.

Cases ask `harness.statistics.question` with the run as the property. Rates and scores do not: they
need an interval for a margin, which an exact test does not give, and a check is stored as counts of
its conditions, without the replies that could be strata.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from harness.compare.columns import KEY, MEASURED_TIMES, Column, Key
from harness.compare.comparison_types import (
    CHECKS,
    JUDGED,
    OUTCOMES,
    RATES,
    SCORES,
    TIMES,
    VERDICTS,
    ChangedCase,
    Changes,
    CheckChange,
    ComparedEntry,
    ComparedRow,
    Comparison,
    Measured,
    RateChange,
    Unit,
)
from harness.compare.differing_settings import changes
from harness.compare.shared_replies import without_shared_replies
from harness.records.analysis import RuleResult, TaskResult, separation
from harness.records.conditions import parts_of
from harness.records.scores import Estimate
from harness.statistics.differences import (
    Pair,
    differences,
    fisher_exact,
    paired_means,
    significant_cases,
)
from harness.statistics.intervals import ALPHA, clustered_rate, median_interval
from harness.statistics.mean_scores import (
    Mean,
    mean_score,
    run_mean,
    share_mean,
)
from harness.statistics.question import asked

if TYPE_CHECKING:
    import pandas as pd

MEASURE = "create a baseline with `gpt-oss-verify export RUN --format baseline`"
SAMPLE_QUESTIONS = f"these are sample questions, which have no published scores; {MEASURE}."
_INVALID = "invalid_response"  # also an attempt with another outcome, if a check found an error
_NO_PROBLEM = frozenset({"success", "correct", "wrong", "graded", "answered", _INVALID})
_FIRST = "Share of attempts that succeed."
_NOT_TESTED = "Median. It is not tested, because it depends on place and time."

Match: TypeAlias = "pd.DataFrame"
"""The samples of a column and the reference by `task`, `group` and `sample`.

`here` and `there` have the values of the tries that were made; `same` is true if both samples ask
the same.
"""
Pairs: TypeAlias = Mapping[Key, Pair | str]
"""The means of a column and the reference by task and condition, or why they are not compared."""


class UntestedRow(NamedTuple):
    """A row before its differences are tested; `pairs` has what is tested in each column."""

    section: str
    name: str
    cells: Sequence[Measured | None]
    pairs: Sequence[Pair | None] = ()
    unit: Unit = "share"
    group: str | None = None
    about: str = ""


def compare(columns: Sequence[Column], against: int, tool_version: str) -> Comparison:
    """Compare every column with the one at the index `against`. Their labels are unique."""
    base = columns[against]
    columns = [
        column if column is base else without_shared_replies(column, base) for column in columns
    ]
    keys = list(dict.fromkeys(key for column in columns for key in column.keys))
    matches = [_match(column, base) for column in columns]
    pairs: list[Pairs] = [
        {} if column is base else {key: _pair(column, base, key, match) for key in keys}
        for column, match in zip(columns, matches, strict=True)
    ]
    rows = list(_tested(list(_untested_rows(columns, against, pairs)), against))
    others = [index for index in range(len(columns)) if index != against]
    return Comparison(
        tool_version=tool_version,
        against=base.entry.label,
        entries=tuple(map(_entry, columns, [base] * len(columns), matches, pairs)),
        rows=tuple(rows),
        tested=sum(difference is not None for row in rows for difference in row.differences),
        changes=tuple(_changes(columns, at, against, matches[at], rows) for at in others),
    )


def labelled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with unique labels: the provider, if needed with its model.

    Columns that this does not tell apart, and a provider that is only known by its host and port,
    have the name of the folder or file that was given, or its whole path.
    """
    entries = [column.entry for column in columns]
    places = [entry.place or entry.provider for entry in entries]
    names = [Path(place).absolute().name for place in places]
    labels = ["" if entry.unnamed else entry.provider for entry in entries]
    models = [f"{label} {e.model}".rstrip() for label, e in zip(labels, entries, strict=True)]
    kinds = Counter(label for label, _ in set(zip(labels, models, strict=True)))
    labels = [
        more if label and kinds[label] > 1 else label
        for label, more in zip(labels, models, strict=True)
    ]
    for others in (names, places):
        times = Counter(labels)
        labels = [
            other if not label or times[label] > 1 else label
            for label, other in zip(labels, others, strict=True)
        ]
    return [
        replace(column, entry=column.entry.model_copy(update={"label": label}))
        for column, label in zip(columns, labels, strict=True)
    ]


# Samples of two columns.


def _match(column: Column, base: Column) -> Match:
    both = column.samples.merge(base.samples, how="outer", on=[*KEY, "sample"])
    names = {"values_x": "here", "values_y": "there"}
    unknown = (both["content_x"] == "") | (both["content_y"] == "")  # without any reply
    same = (both["content_x"] == both["content_y"]) | unknown
    return both.rename(columns=names).assign(same=same)


def _shared(match: Match) -> Match:
    """Return the samples with the same content that have tries in both columns."""
    return match[match["same"] & match["here"].map(bool) & match["there"].map(bool)]


def _of(frame: pd.DataFrame, key: Key) -> pd.DataFrame:
    """Return the rows of one task under one condition."""
    return frame[(frame["task"] == key[0]) & (frame["group"] == key[1])]


def _pair(column: Column, base: Column, key: Key, match: Match) -> Pair | str:
    """Return the two means over the samples that both columns have, or why not."""
    if base.published and not column.published:
        return _published_pair(column, base, key)
    if column.published and not base.published:
        pair = _published_pair(base, column, key)
        return pair if isinstance(pair, str) else Pair(pair.reference, pair.run, pair.cases)
    if key not in column.keys or key not in base.keys:
        return "only one of the two has it."
    both = _of(match, key)
    shared = _shared(both)
    if shared.empty:
        return "no sample was answered in both."
    fewest = min(int(both[side].notna().sum()) for side in ("here", "there"))
    if 2 * int(both["same"].sum()) < fewest:
        return f"only {int(both['same'].sum())} of {fewest} samples have the same content in both."
    return Pair(*paired_means(list(shared["here"]), list(shared["there"])), cases=len(shared))


def _published_pair(run: Column, baseline: Column, key: Key) -> Pair | str:
    tries = _of(run.tries, key)
    if tries["sample_data"].any():
        return SAMPLE_QUESTIONS
    if key not in baseline.published:
        return f"{baseline.entry.label} has no figure for it; {MEASURE}."
    if missing := int(tries["value"].isna().sum()):
        return f"missing tries: {missing}."
    published = baseline.published[key]
    values = tries["openai_value"].fillna(tries["value"]).groupby(tries["sample"]).agg(list)
    if len(values) != published.questions:
        return (
            f"it has {len(values)} of {published.questions} questions, and published figures "
            "cover all of them."
        )
    return Pair(run_mean(list(values)), published.mean, len(values))


# Rows.


def _untested_rows(
    columns: Sequence[Column], against: int, pairs: Sequence[Pairs]
) -> Iterator[UntestedRow]:
    """Yield all rows of a comparison, in the order of reports."""
    entries = [column.entry for column in columns]
    if any(entry.decision for entry in entries):
        verdicts = [
            Measured(decision=e.decision) if e.kind == "run" and not e.findings_only else None
            for e in entries
        ]
        yield UntestedRow(VERDICTS, "verdict", verdicts, unit="decision")
    keys = list(dict.fromkeys(k for column in columns if not column.published for k in column.keys))
    for key in keys:
        parts = [pair.get(key) for pair in pairs]
        tested = [pair if isinstance(pair, Pair) else None for pair in parts]
        yield from _rates(columns, key, tested)
        yield from _scores(columns, key, tested)
    for key in keys:
        yield from _outcomes([_of(column.tries, key) for column in columns], key)
    for key in keys:
        yield from _times([_of(column.times, key) for column in columns], key)
    yield from _checks(columns, against)


def _rates(
    columns: Sequence[Column], key: Key, pairs: Sequence[Pair | None]
) -> Iterator[UntestedRow]:
    """Yield pass@1, which is tested, and the rates of the most tries that all columns have."""
    results = [column.results.get(key) for column in columns]
    rates = [{} if r is None or r.is_eval else {at.k: at for at in r.at_k} for r in results]
    ks = [set(by_k) for by_k in rates if by_k]
    for k in sorted({1, max(set.intersection(*ks), default=1)}) if ks else ():
        about = f"At least one of {k} tries succeeds." if k > 1 else _FIRST
        cells = [
            _estimated(by_k[k].pass_at, *(_passed(r) if r and k == 1 else ()))
            if k in by_k
            else None
            for r, by_k in zip(results, rates, strict=True)
        ]
        yield UntestedRow(
            RATES, f"pass@{k}", cells, pairs if k == 1 else (), "share", key[1], about
        )
        if k > 1:
            cells = [_estimated(by_k[k].pass_hat) if k in by_k else None for by_k in rates]
            about = f"All of {k} tries succeed."
            yield UntestedRow(RATES, f"pass^{k}", cells, (), "share", key[1], about)


def _passed(result: TaskResult) -> tuple[int, int]:
    """Return the passed and the finished tries of all cases."""
    return sum(hits for hits, _ in result.cases.values()), result.finished


def _scores(
    columns: Sequence[Column], key: Key, pairs: Sequence[Pair | None]
) -> Iterator[UntestedRow]:
    """Yield the score of an eval; published scores only if a run is compared with them."""
    tested = any(pairs)
    cells = [_score(column, key) if tested or not column.published else None for column in columns]
    if any(cells):
        yield UntestedRow(SCORES, key[1], cells, pairs, about="Mean score over all questions.")


def _score(column: Column, key: Key) -> Measured | None:
    if key in column.published:
        mean = column.published[key].mean
        low, high = mean.bounds(ALPHA / 2)
        return Measured(value=mean.value, low=max(0.0, low), high=min(1.0, high))
    if key in column.results:
        score = column.results[key].score
    else:
        tries = _of(column.tries, key).dropna(subset="value")
        values = list(tries.groupby("sample", sort=False)["value"].agg(list))
        score = mean_score(values) if values else None
    return None if score is None else _estimated(score.estimate, total=score.tries)


def _outcomes(groups: Sequence[pd.DataFrame], key: Key) -> Iterator[UntestedRow]:
    """Yield the share of tries with an invalid response, and with each other bad outcome."""
    kinds = {outcome for tries in groups for outcome in tries["outcome"].dropna()}
    for name in (_INVALID, *sorted(kinds - _NO_PROBLEM)):
        cells = [_share(tries, name) if tries["outcome"].any() else None for tries in groups]
        if any(cell and cell.hits for cell in cells):
            yield UntestedRow(OUTCOMES, name.replace("_", " "), cells, group=key[1])


def _share(tries: pd.DataFrame, outcome: str) -> Measured:
    hit = tries["invalid"] if outcome == _INVALID else tries["outcome"] == outcome
    counts = hit.groupby(tries["sample"]).agg(["sum", "count"])
    rate = clustered_rate(list(counts.itertuples(index=False, name=None)))
    return _estimated(rate, *map(int, counts.sum()))


def _times(groups: Sequence[pd.DataFrame], key: Key) -> Iterator[UntestedRow]:
    for name, unit in MEASURED_TIMES.items():
        every = [list(times[name].dropna()) for times in groups]
        cells = [_estimated(median_interval(v), total=len(v)) if v else None for v in every]
        if any(cells):
            yield UntestedRow(TIMES, name, cells, (), unit, key[1], _NOT_TESTED)


def _checks(columns: Sequence[Column], against: int) -> Iterator[UntestedRow]:
    """Yield the results of checks; a row for each part of a check that a report separates."""
    every = {id_: result.check for column in columns for id_, result in column.checks.items()}
    families = list(dict.fromkeys(check.family for check in every.values()))
    for check in sorted(every.values(), key=lambda check: families.index(check.family)):
        results = [column.checks.get(check.id) for column in columns]
        parts = separation([result for result in results if result])
        shares = [result.shares_by(parts) if result else {} for result in results]
        for part in dict.fromkeys(name for share in shares for name in share):
            rates = [
                _failures(result, share.get(part), part, parts)
                for result, share in zip(results, shares, strict=True)
            ]
            base = rates[against]
            pairs = [
                Pair(rate, base, cases=None, higher_is_better=False)
                if n != against and rate and base and rate.value + base.value
                else None
                for n, rate in enumerate(rates)
            ]
            cells = [
                _checked(result, part, share.get(part), rate)
                if result and (part in share or not share)
                else None
                for result, share, rate in zip(results, shares, rates, strict=True)
            ]
            section, group = f"{CHECKS}{check.family}", part or None
            yield UntestedRow(section, check.id, cells, pairs, "status", group, check.summary)


def _checked(
    result: RuleResult, part: str, share: tuple[int, int] | None, rate: Mean | None
) -> Measured:
    """Return the result of a check, or of the part of it under one API or mode."""
    hits, total = share or (None, None)
    shown, status, examples = result.rate, result.status, result.examples
    if part and rate:
        low, high = rate.bounds(ALPHA / 2)
        shown = Estimate(value=rate.value, low=low, high=high)
        status = result.status if hits else "passed"
        words = set(parts_of(part))
        examples = tuple(e for e in examples if words <= set(e.evidence.record.split("/")))
    return Measured(
        **(shown.model_dump() if shown else {}),
        hits=hits,
        total=total,
        status=status,
        reason=result.reason,
        examples=examples[:1],
    )


def _failures(
    result: RuleResult | None, share: tuple[int, int] | None, part: str, parts: Sequence[int]
) -> Mean | None:
    """Return a failure rate in a part of the conditions with its noise."""
    if result is None or result.rate is None or share is None:
        return None
    return share_mean(share[0] / share[1], min(share[1], result.trials_in(part, parts)))


def _estimated(rate: Estimate, hits: int | None = None, total: int | None = None) -> Measured:
    return Measured(value=rate.value, low=rate.low, high=rate.high, hits=hits, total=total)


# Tests and changes.


def _tested(rows: Sequence[UntestedRow], against: int) -> Iterator[ComparedRow]:
    """Yield the rows with their differences, which are tested together."""
    tests = iter(differences([pair for row in rows for pair in row.pairs if pair]))
    for row in rows:
        deltas = tuple(next(tests) if pair else None for pair in row.pairs)
        base = row.cells[against]
        differs = any(delta.seen != "none" for delta in deltas if delta) or any(
            base and cell and _state_differs(cell, base) for cell in row.cells
        )
        fields = {**row._asdict(), "differences": deltas or (None,) * len(row.cells)}
        del fields["pairs"]
        yield ComparedRow(**fields, differs=differs)


def _state_differs(cell: Measured, base: Measured) -> bool:
    judged = {cell.status, base.status} <= JUDGED
    decided = None not in (cell.decision, base.decision)
    return (decided and cell.decision != base.decision) or (judged and cell.status != base.status)


def _changes(
    columns: Sequence[Column], at: int, against: int, match: Match, rows: Sequence[ComparedRow]
) -> Changes:
    """Return what changed in the column at the index `at`."""
    now, before = columns[at], columns[against]
    changed = list(_check_changes(now, before, at, rows))
    cases = _changed_cases(match)
    beyond = [
        (row, difference)
        for row in rows
        if (difference := row.differences[at]) is not None and difference.seen != "none"
    ]
    return Changes(
        label=now.entry.label,
        broken=tuple(change for change in changed if change.after == "failed"),
        fixed=tuple(e for e in changed if e.before == "failed" and not e.untested),
        untested=tuple(e for e in changed if e.before == "failed" and e.untested),
        cases=cases,
        rates=tuple(
            RateChange(name=row.group or row.name, difference=difference)
            for row, difference in beyond
            if row.unit != "status"
        ),
        worse=now.entry.kind in ("run", "log")
        and (
            (before.entry.decision, now.entry.decision) == ("pass", "fail")
            or any(difference.seen == "worse" for _, difference in beyond)
            or not all(case.better for case in cases)
        ),
    )


def _check_changes(
    now: Column, before: Column, at: int, rows: Sequence[ComparedRow]
) -> Iterator[CheckChange]:
    """Yield the checks that only one of two columns fails, more often than the other, which judges.

    Their shares are those of the same parts of the condition, so that 6 of 6 in one API is not
    compared with 0 of 12 in both. The same share in too few tries to fail is no change.
    """
    both = [(here, before.checks[id_]) for id_, here in now.checks.items() if id_ in before.checks]
    differing = {row.name for row in rows if (d := row.differences[at]) and d.seen != "none"}
    for here, there in both:
        statuses = {here.status, there.status}
        if "failed" in statuses and len(statuses) == 2 and statuses <= JUDGED:
            parts = separation([here, there])
            change = CheckChange(
                id=here.check.id,
                before=there.status,
                after=here.status,
                here=here.shares_by(parts),
                there=there.shares_by(parts),
                beyond_chance=here.check.id in differing,
            )
            if change.rarer:
                yield change


def _changed_cases(match: Match) -> tuple[ChangedCase, ...]:
    """Return the cases that differ beyond chance, lowest p-value first, without graded scores.

    The run is the property, and each case a stratum. Their tests are two-sided with a common rate
    of false discoveries, because a case may be better or worse.
    """
    shared = _shared(match).itertuples()
    binary = [case for case in shared if {*case.here, *case.there} <= {0.0, 1.0}]
    tables = asked(
        ((case.task, case.group, case.sample), in_run, bool(value))
        for case in binary
        for in_run, values in ((True, case.here), (False, case.there))
        for value in values
    ).tables
    differ = significant_cases(list(tables.values()))
    changed = [
        ChangedCase(sample=sample, group=group, here=here, there=there, p=fisher_exact(here, there))
        for ((_, group, sample), (here, there)), differs in zip(tables.items(), differ, strict=True)
        if differs
    ]
    return tuple(sorted(changed, key=lambda case: (case.p, case.group, case.sample)))


# What limits a comparison.


def _entry(column: Column, base: Column, match: Match, pairs: Pairs) -> ComparedEntry:
    if column is base:
        return column.entry
    notes = (*column.entry.notes, *dict.fromkeys(_limits(column, base, match, pairs)))
    differs = changes(column.settings, base.settings)
    return column.entry.model_copy(update={"differs": differs, "notes": notes})


def _published_limits(column: Column, base: Column, pairs: Pairs) -> Iterator[str]:
    """Yield the scores of a run that published figures cannot be compared with."""
    run, published = (base, column) if column.published else (column, base)
    evals = [key for key in run.keys if key not in run.results or run.results[key].is_eval]
    if not evals:
        label = published.entry.label
        yield f"{run.entry.label} has no scores that could be compared with {label}."
    for key in evals:
        if isinstance(reason := pairs[key], str):
            yield f"{key[1]} is not compared: {reason}"


def _limits(column: Column, base: Column, match: Match, pairs: Pairs) -> Iterator[str]:
    """Yield what cannot be compared, in sentences."""
    if bool(column.published) != bool(base.published):
        yield from _published_limits(column, base, pairs)
        return
    label = base.entry.label
    both = [key for key in column.keys if key in base.keys]
    if not both and not (column.checks and base.checks):
        here, there = (
            "; ".join(" ".join(dict.fromkeys(key)) for key in side.keys) or "no task"
            for side in (column, base)
        )
        yield (
            f"It has nothing in common with {label}: no task under the same conditions. "
            f"Here: {here}. There: {there}. To compare them, run one eval on both: "
            "`gpt-oss-verify eval --eval NAME --provider PROVIDER`."
        )
        return
    lone = [key[1] for key in dict.fromkeys([*base.keys, *column.keys]) if key not in both]
    if lone:
        yield f"Only one of the two has {'; '.join(lone)}."
    for key in both:
        samples = _of(match, key)
        shared = int(samples["same"].sum())
        ours, theirs = (int(samples[side].notna().sum()) for side in ("here", "there"))
        if not shared:
            yield f"{key[0]} is not compared: the cases or data differ from those of {label}."
        elif shared < max(ours, theirs):
            yield (
                f"{key[0]}: only samples with the same content are paired, {shared} of the "
                f"{ours} here and {theirs} in {label}."
            )
        elif isinstance(reason := pairs[key], str):
            yield f"{key[1]} is not compared: {reason}"
