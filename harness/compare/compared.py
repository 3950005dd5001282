"""Compare columns: their measures in rows, which differences exceed chance, and what changed.

The path is: runs → columns of DataFrames (`columns.py`) → rows → tests → `Comparison`. No I/O.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from harness.compare.columns import KEY, MEASURED_TIMES, Column, Key
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
from harness.records.analysis import RuleResult, separation
from harness.records.scores import Estimate
from harness.statistics.differences import (
    Pair,
    differences,
    fisher_exact,
    p_value,
    paired_means,
    significant_cases,
)
from harness.statistics.intervals import ALPHA, clustered_rate, median_interval
from harness.statistics.mean_scores import (
    Mean,
    mean_score,
    rate_mean,
    run_mean,
    share_mean,
    stratified,
)

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = "Verdict"
RATES = "Pass rates"
SCORES = "Scores"
OUTCOMES = "Outcomes"
TIMES = "Times"
CHECKS = "Checks: "
JUDGED = frozenset({"passed", "warned", "failed", "declared"})
"""Statuses of a check that had something to judge."""
MEASURE = "measure a baseline with `gpt-oss-verify export RUN --format baseline`"
SAMPLE_QUESTIONS = f"these are sample questions, for which nothing is published; {MEASURE}."
_NO_PROBLEM = frozenset({"success", "correct", "wrong", "graded"})
_FIRST = "Share of attempts that succeed."
_NOT_TESTED = "Median. It is not tested, because it depends on place and time."

Match: TypeAlias = "pd.DataFrame"
"""The samples of a column and the reference by `task`, `group` and `sample`.

`here` and `there` have the values of the tries that were made; `same` is true if both samples ask
the same.
"""


class Measure(NamedTuple):
    """What a row shows; the fields are those of `Row`."""

    section: str
    name: str
    unit: Unit
    group: str | None = None
    about: str = ""


class Cell(NamedTuple):
    """A measure of one column, and what is tested: the column and the reference."""

    measure: Measure
    column: int
    measured: Measured
    pair: Pair | None = None


def compare(columns: Sequence[Column], against: int, tool_version: str) -> Comparison:
    """Compare every column with the one at the index `against`. Their labels are unique."""
    base = columns[against]
    matches = [_match(column, base) for column in columns]
    rows = _rows(_measures(columns, against, matches), len(columns), against)
    others = [index for index in range(len(columns)) if index != against]
    return Comparison(
        tool_version=tool_version,
        against=base.entry.label,
        entries=tuple(map(_entry, columns, [base] * len(columns), matches)),
        rows=tuple(rows),
        tested=sum(found is not None for row in rows for found in row.differences),
        changes=tuple(_changes(columns, at, against, matches[at], rows) for at in others),
    )


def labelled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with unique labels: the provider, if needed with model, time and place."""
    entries = [column.entry for column in columns]
    labels = [entry.provider for entry in entries]
    times = [(entry.started_at or "").replace("T", " ")[:16] for entry in entries]
    places = [entry.place or f"#{number}" for number, entry in enumerate(entries, 1)]
    for extras in ([entry.model for entry in entries], times, places):
        kinds = Counter(label for label, _ in set(zip(labels, extras, strict=True)))
        labels = [
            f"{label} {extra}".rstrip() if kinds[label] > 1 else label
            for label, extra in zip(labels, extras, strict=True)
        ]
    return [
        replace(column, entry=column.entry.model_copy(update={"label": label}))
        for column, label in zip(columns, labels, strict=True)
    ]


# Samples of two columns.


def _samples(column: Column) -> pd.DataFrame:
    groups = column.tries.groupby([*KEY, "sample"], sort=False, as_index=False)
    return groups.agg(
        values=("value", lambda tries: tuple(tries.dropna())), content=("content", "first")
    )


def _match(column: Column, base: Column) -> Match:
    both = _samples(column).merge(_samples(base), how="outer", on=[*KEY, "sample"])
    names = {"values_x": "here", "values_y": "there"}
    return both.rename(columns=names).assign(same=both["content_x"] == both["content_y"])


def _shared(match: Match) -> Match:
    """Return the samples with the same content that have tries in both columns."""
    return match[match["same"] & match["here"].map(bool) & match["there"].map(bool)]


def _of(frame: pd.DataFrame, key: Key) -> pd.DataFrame:
    """Return the rows of one task under one condition."""
    return frame[(frame["task"] == key[0]) & (frame["group"] == key[1])]


def _pair(column: Column, base: Column, key: Key, match: Match) -> Pair | str:
    """Return the two means over the samples that both columns have, or why not."""
    if key not in column.keys or key not in base.keys:
        return "only one of the two has it."
    if key in base.published:
        return _published_pair(column, base, key)
    if key in column.published:
        turned = _published_pair(base, column, key)
        return (
            turned if isinstance(turned, str) else Pair(turned.reference, turned.run, turned.cases)
        )
    shared = _shared(_of(match, key))
    if shared.empty:
        return "no sample was answered in both."
    return Pair(*paired_means(list(shared["here"]), list(shared["there"])), cases=len(shared))


def _published_pair(run: Column, baseline: Column, key: Key) -> Pair | str:
    found = baseline.published[key]
    if key in run.published:
        return "it has no samples."
    tries = _of(run.tries, key)
    if tries["sample_data"].any():
        return SAMPLE_QUESTIONS
    if missing := int(tries["value"].isna().sum()):
        return f"{missing} tries are missing."
    values = tries["openai_value"].fillna(tries["value"]).groupby(tries["sample"]).agg(list)
    if len(values) != found.questions:
        return (
            f"it has {len(values)} of {found.questions} questions, and published figures "
            "cover all of them."
        )
    return Pair(run_mean(list(values)), found.mean, len(values))


# Measures of each column.


def _measures(columns: Sequence[Column], against: int, matches: Sequence[Match]) -> Iterator[Cell]:
    """Yield all cells of a comparison, row by row, in the order of reports."""
    for index, column in enumerate(columns):
        if column.entry.decision is not None:
            yield Cell(
                Measure(VERDICTS, "verdict", "decision"),
                index,
                Measured(decision=column.entry.decision),
            )
    keys = list(dict.fromkeys(k for column in columns if not column.published for k in column.keys))
    for key in keys:
        yield from _main_rows(columns, against, matches, key)
    for key in keys:
        groups = [_of(column.tries, key) for column in columns]
        kinds = {outcome for tries in groups for outcome in tries["outcome"].dropna()}
        for index, tries in enumerate(groups):
            yield from _outcomes(tries, index, key, ["invalid", *sorted(kinds - _NO_PROBLEM)])
    for key in keys:
        for index, column in enumerate(columns):
            yield from _times(_of(column.times, key), index, key)
    yield from _checks(columns, against)


def _main_rows(
    columns: Sequence[Column], against: int, matches: Sequence[Match], key: Key
) -> Iterator[Cell]:
    """Yield pass rates, for 1 and the most tries that all columns have, or the score of an eval."""
    results = [column.results[key] for column in columns if key in column.results]
    ks = [{at.k for at in result.at_k} for result in results if result.at_k]
    most = max(set.intersection(*ks), default=1) if ks else 1
    pairs: dict[int, Pair] = {}
    for index, (column, match) in enumerate(zip(columns, matches, strict=True)):
        pair = _pair(column, columns[against], key, match)
        if index != against and isinstance(pair, Pair):
            pairs[index] = pair
    for index, column in enumerate(columns):
        if key in column.keys and (pairs or not column.published):
            yield from _main(column, index, key, most, pairs.get(index))


def _main(column: Column, index: int, key: Key, most: int, pair: Pair | None) -> Iterator[Cell]:
    """Yield pass@1, which is tested, and the rates of `most` tries; or the score of an eval."""
    result = column.results.get(key)
    if result is not None and not result.is_eval:
        rates = {at.k: at for at in result.at_k if at.k in (1, most)}
        for k, at in rates.items():
            several = f"At least one of {k} tries succeeds." if k > 1 else _FIRST
            rate = Measure(RATES, f"pass@{k}", "share", key[1], several)
            yield Cell(rate, index, _estimated(at.pass_at), pair if k == 1 else None)
            if k > 1:
                every = Measure(RATES, f"pass^{k}", "share", key[1], f"All of {k} tries succeed.")
                yield Cell(every, index, _estimated(at.pass_hat))
        return
    measure = Measure(SCORES, key[1], "share", about="Mean score over all questions.")
    if key in column.published:
        mean = column.published[key].mean
        low, high = mean.bounds(ALPHA / 2)
        yield Cell(measure, index, Measured(value=mean.value, low=low, high=high), pair)
        return
    score = None if result is None else result.score
    tries = _of(column.tries, key).dropna(subset="value")
    if score is None and len(tries):
        score = mean_score(list(tries.groupby("sample", sort=False)["value"].agg(list)))
    if score is not None:
        yield Cell(measure, index, _estimated(score.estimate, total=score.tries), pair)


def _outcomes(tries: pd.DataFrame, index: int, key: Key, kinds: Iterable[str]) -> Iterator[Cell]:
    """Yield the share of tries with each kind of problem: an outcome, or an invalid reply."""
    if tries["outcome"].isna().all():
        return
    for name in kinds:
        hit = tries["invalid"] if name == "invalid" else tries["outcome"] == name
        counts = hit.groupby(tries["sample"]).agg(["sum", "count"])
        hits, planned = map(int, counts.sum())
        rate = clustered_rate(list(counts.itertuples(index=False, name=None)))
        measure = Measure(OUTCOMES, name.replace("_", " "), "share", key[1])
        yield Cell(measure, index, _estimated(rate, hits, planned))


def _times(times: pd.DataFrame, index: int, key: Key) -> Iterator[Cell]:
    for name, unit in MEASURED_TIMES.items():
        values = list(times[name].dropna())
        if values:
            measure = Measure(TIMES, name, unit, key[1], _NOT_TESTED)
            yield Cell(measure, index, _estimated(median_interval(values), total=len(values)))


def _checks(columns: Sequence[Column], against: int) -> Iterator[Cell]:
    """Yield the results of checks; a row for each part of a check that a report separates."""
    every = {id_: result.check for column in columns for id_, result in column.checks.items()}
    families = list(dict.fromkeys(check.family for check in every.values()))
    for check in sorted(every.values(), key=lambda check: families.index(check.family)):
        found = {n: c.checks[check.id] for n, c in enumerate(columns) if check.id in c.checks}
        parts = separation(list(found.values()))
        shares = {index: result.shares_by(parts) for index, result in found.items()}
        for part in dict.fromkeys(name for share in shares.values() for name in share):
            section, group = f"{CHECKS}{check.family}", part or None
            measure = Measure(section, check.id, "status", group, check.summary)
            rates = {n: _failures(result, shares[n].get(part)) for n, result in found.items()}
            base = rates.get(against)
            for index, result in found.items():
                pair = None
                if index != against and (rate := rates[index]) and base and rate.value + base.value:
                    pair = Pair(rate, base, cases=None, higher_is_better=False)
                if not shares[index] or part in shares[index]:
                    shown = _checked(result, shares[index].get(part), part, rates[index])
                    yield Cell(measure, index, shown, pair)


def _checked(
    result: RuleResult, share: tuple[int, int] | None, part: str, rate: Mean | None
) -> Measured:
    """Return the result of a check, or of the part of it under one API or mode."""
    if not part or share is None or rate is None:
        counts = {"hits": share[0], "total": share[1]} if share else {}
        return Measured(
            **({} if result.rate is None else result.rate.model_dump()),
            **counts,
            status=result.status,
            reason=result.reason,
            examples=result.examples[:1],
        )
    low, high = rate.bounds(ALPHA / 2)
    words = set(part.split(" · "))
    examples = (e for e in result.examples if words <= set(e.evidence.record.split("/")))
    return Measured(
        value=rate.value,
        low=low,
        high=high,
        hits=share[0],
        total=share[1],
        status=result.status if share[0] else "passed",
        reason=result.reason,
        examples=tuple(examples)[:1],
    )


def _failures(result: RuleResult, share: tuple[int, int] | None) -> Mean | None:
    """Return a failure rate with its noise; the clusters of a part are those of the whole check."""
    if result.rate is None or share is None:
        return None
    whole = rate_mean(result.rate, result.applicable)
    return share_mean(share[0] / share[1], share[1] * (whole.trials or 0) / result.applicable)


def _estimated(rate: Estimate, hits: int | None = None, total: int | None = None) -> Measured:
    return Measured(value=rate.value, low=rate.low, high=rate.high, hits=hits, total=total)


# Tests and changes.


def _rows(cells: Iterable[Cell], columns: int, against: int) -> list[Row]:
    """Return the rows of all cells, with all differences tested together."""
    found: dict[Measure, dict[int, Cell]] = defaultdict(dict)
    for cell in cells:
        found[cell.measure][cell.column] = cell
    pairs = [cell.pair for row in found.values() for cell in row.values() if cell.pair]
    tests = iter(differences(pairs))
    rows = []
    for measure, by_column in found.items():
        tested = {index: next(tests) for index, cell in by_column.items() if cell.pair}
        shown = {index: cell.measured for index, cell in by_column.items()}
        if measure.section == OUTCOMES and not any(cell.hits for cell in shown.values()):
            continue
        base = shown.get(against)
        differs = any(one.seen != "none" for one in tested.values()) or any(
            base is not None and _state_differs(cell, base) for cell in shown.values()
        )
        rows.append(
            Row(
                **measure._asdict(),
                cells=tuple(map(shown.get, range(columns))),
                differences=tuple(map(tested.get, range(columns))),
                differs=differs,
            )
        )
    return rows


def _state_differs(cell: Measured, base: Measured) -> bool:
    if cell.decision != base.decision:
        return True
    return cell.status in JUDGED and base.status in JUDGED and cell.status != base.status


def _changes(
    columns: Sequence[Column], at: int, against: int, match: Match, rows: Sequence[Row]
) -> Changes:
    """Return what changed in the column at the index `at`."""
    now, before = columns[at], columns[against]
    changed = list(_check_changes(now, before))
    cases = _changed_cases(match)
    beyond = [
        (row, found)
        for row in rows
        if (found := row.differences[at]) is not None and found.seen != "none"
    ]
    return Changes(
        label=now.entry.label,
        broken=tuple(change for change in changed if change.after == "failed"),
        fixed=tuple(change for change in changed if change.before == "failed"),
        cases=cases,
        rates=tuple(
            RateChange(name=row.group or row.name, difference=found)
            for row, found in beyond
            if row.unit != "status"
        ),
        worse=(before.entry.decision, now.entry.decision) == ("pass", "fail")
        or any(found.seen == "worse" for _, found in beyond)
        or any(change.beyond_chance for change in changed if change.after == "failed")
        or not all(case.better for case in cases),
    )


def _check_changes(now: Column, before: Column) -> Iterator[CheckChange]:
    """Yield the checks that only one of two columns fails and both judge."""
    for id_, here in now.checks.items():
        there = before.checks.get(id_)
        if there is None or not {here.status, there.status} <= JUDGED:
            continue
        if (here.status == "failed") != (there.status == "failed"):
            yield CheckChange(
                id=id_,
                before=there.status,
                after=here.status,
                here=here.shares,
                there=there.shares,
                beyond_chance=_beyond_chance(here, there),
            )


def _beyond_chance(here: RuleResult, there: RuleResult) -> bool:
    """Return whether the failures of a check differ in any part of it, or on average over parts.

    If there are several parts with failures, the average and all parts together each get half of
    the error probability (Bonferroni).
    """
    parts = separation([here, there])
    ours, theirs = here.shares_by(parts), there.shares_by(parts)
    rates = [(_failures(here, ours[part]), _failures(there, theirs.get(part))) for part in ours]
    pairs = [(one, other) for one, other in rates if one and other and one.value + other.value]
    level = ALPHA if len(pairs) < 2 else ALPHA / 2 / len(pairs)
    if any(p_value(*pair) < level for pair in pairs):
        return True
    sizes = [(one.trials or 0) + (other.trials or 0) for one, other in pairs]
    weights = [size / sum(sizes) for size in sizes]
    means = [stratified(side, weights) for side in zip(*pairs, strict=True)]
    return len(pairs) > 1 and p_value(*means) < ALPHA / 2


def _changed_cases(match: Match) -> tuple[ChangedCase, ...]:
    """Return the cases that differ beyond chance, lowest p-value first, without graded scores."""
    binary = [
        sample
        for sample in _shared(match).itertuples()
        if {*sample.here, *sample.there} <= {0.0, 1.0}
    ]
    tables = [(_counts(one.here), _counts(one.there)) for one in binary]
    found = [
        ChangedCase(
            sample=one.sample, group=one.group, here=here, there=there, p=fisher_exact(here, there)
        )
        for one, (here, there), sure in zip(binary, tables, significant_cases(tables), strict=True)
        if sure
    ]
    return tuple(sorted(found, key=lambda case: (case.p, case.group, case.sample)))


def _counts(tries: Sequence[float]) -> tuple[int, int]:
    return round(sum(tries)), len(tries)


# What limits a comparison.


def _entry(column: Column, base: Column, match: Match) -> Entry:
    if column is base:
        return column.entry
    here, there = column.settings, base.settings
    if RUN not in here or RUN not in there:
        here, there = ({k: v for k, v in side.items() if k != RUN} for side in (here, there))
    notes = (*column.entry.notes, *dict.fromkeys(_limits(column, base, match)))
    return column.entry.model_copy(update={"differs": changes(here, there), "notes": notes})


def _limits(column: Column, base: Column, match: Match) -> Iterator[str]:
    """Yield what cannot be compared, in sentences."""
    for run, other in ((column, base), (base, column)):
        if other.published and not run.published:
            yield from _published_limits(run, other)
            return
    label = base.entry.label
    both = [key for key in column.keys if key in base.keys]
    if not both and not (column.checks and base.checks):
        yield f"It has nothing in common with {label}: no task under the same conditions."
        return
    lone = [key[1] for key in dict.fromkeys([*base.keys, *column.keys]) if key not in both]
    if lone:
        yield f"Only one of the two has {'; '.join(lone)}."
    for key in both:
        samples = _of(match, key)
        shared = int(samples["same"].sum())
        ours, theirs = (int(samples[side].notna().sum()) for side in ("here", "there"))
        found = _pair(column, base, key, match)
        if not shared:
            yield f"{key[0]} is not compared: the cases or data differ from those of {label}."
        elif shared < max(ours, theirs):
            yield (
                f"{key[0]}: only samples with the same content are paired, {shared} of the "
                f"{ours} here and {theirs} in {label}."
            )
        elif isinstance(found, str):
            yield f"{key[1]} is not compared: {found}"


def _published_limits(run: Column, published: Column) -> Iterator[str]:
    """Yield the scores of a run that published figures cannot be compared with."""
    label = published.entry.label
    evals = [key for key in run.keys if key not in run.results or run.results[key].is_eval]
    if not evals:
        yield f"{run.entry.label} has no scores that could be compared with {label}."
    for key in evals:
        reason: Pair | str = f"{label} has no figure for it; {MEASURE}."
        if _of(run.tries, key)["sample_data"].any():
            reason = SAMPLE_QUESTIONS
        elif key in published.published:
            reason = _published_pair(run, published, key)
        if isinstance(reason, str):
            yield f"{key[1]} is not compared: {reason}"
