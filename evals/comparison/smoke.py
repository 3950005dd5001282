"""The rows of smoke tests side by side: verdicts, pass rates, outcomes, times, checks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from evals.comparison.drafts import DraftRow, verdict_row
from evals.comparison.records import Measured, Unit
from evals.comparison.runs import Attempt, SmokeRun
from harness.records.analysis import CheckResult, GroupAnalysis
from harness.records.scores import Estimate, OutcomeKind
from harness.statistics.differences import Pair, paired_means
from harness.statistics.intervals import clustered_rate, median_interval
from harness.statistics.mean_scores import rate_mean

RATES = "Pass rates"
OUTCOMES = "Outcomes"
TIMES = "Times"
CHECKS = "Checks: "
_UNITS: Mapping[str, Unit] = {
    "first token": "seconds",
    "request": "seconds",
    "tokens per second": "tokens/s",
}
_SUCCESS: OutcomeKind = "success"


def smoke_rows(runs: Sequence[SmokeRun | None], against: int) -> Iterator[DraftRow]:
    """All rows of smoke tests; None stands for a column that is no smoke test."""
    present = [run for run in runs if run is not None]
    if not present:
        return
    yield verdict_row(
        "smoke test", [None if run is None else run.analysis.verdict.decision for run in runs]
    )
    groups = list(dict.fromkeys(group.name for run in present for group in run.analysis.groups))
    for group in groups:
        yield from _rates(group, runs, against)
    for group in groups:
        yield from _outcomes(group, runs)
    for group in groups:
        yield from _times(group, runs)
    yield from _checks(runs, against)


def paired(
    here: SmokeRun, there: SmokeRun, group: str
) -> list[tuple[str, Sequence[float], Sequence[float]]]:
    """The cases that both runs asked in the same words and made attempts at, with their tries."""
    ours, theirs = here.attempts.get(group, {}), there.attempts.get(group, {})
    return [
        (case, _successes(ours[case]), _successes(theirs[case]))
        for case in ours
        if case in theirs and here.cases.get(case) == there.cases.get(case)
    ]


def success_pair(here: SmokeRun, there: SmokeRun, group: str) -> Pair | None:
    """Both success rates of the cases that the runs share; None where they share none."""
    shared = paired(here, there, group)
    if not shared:
        return None
    ours, theirs = [one for _, one, _ in shared], [other for _, _, other in shared]
    return Pair(*paired_means(ours, theirs), cases=len(shared))


def check_pair(here: CheckResult, there: CheckResult) -> Pair | None:
    """Both failure rates of a check; None where nothing was judged or nothing failed."""
    if here.rate is None or there.rate is None or not here.failures + there.failures:
        return None
    means = rate_mean(here.rate, here.applicable), rate_mean(there.rate, there.applicable)
    return Pair(*means, cases=None, higher_is_better=False)


def _group(run: SmokeRun | None, name: str) -> GroupAnalysis | None:
    if run is None:
        return None
    return next((group for group in run.analysis.groups if group.name == name), None)


def _rates(name: str, runs: Sequence[SmokeRun | None], against: int) -> Iterator[DraftRow]:
    groups = [_group(run, name) for run in runs]
    base = runs[against]
    pairs = [
        None if run is None or base is None or index == against else success_pair(run, base, name)
        for index, run in enumerate(runs)
    ]

    def row(label: str, value: Callable[[GroupAnalysis], Estimate], about: str) -> DraftRow:
        cells = tuple(None if group is None else _estimated(value(group)) for group in groups)
        return DraftRow(RATES, label, "share", cells, group=name, about=about)

    first = row("pass@1", lambda group: group.pass_at[0], "Share of attempts that succeed.")
    yield first.testing(pairs)
    sizes = {group.tries for group in groups if group is not None} - {1}
    common = [k for k in (min(sizes, default=1),) if k > 1]
    for k in common:
        yield row(f"pass@{k}", _at("pass_at", k), f"At least one of {k} tries succeeds.")
        yield row(f"pass^{k}", _at("pass_hat", k), f"All of {k} tries succeed.")


def _at(curve: str, k: int) -> Callable[[GroupAnalysis], Estimate]:
    def value(group: GroupAnalysis) -> Estimate:
        points: tuple[Estimate, ...] = getattr(group, curve)
        return points[min(k, len(points)) - 1]

    return value


def _outcomes(name: str, runs: Sequence[SmokeRun | None]) -> Iterator[DraftRow]:
    groups = [_group(run, name) for run in runs]
    kinds = dict.fromkeys(kind for group in groups if group for kind in group.outcomes)
    wanted: dict[str, Callable[[Attempt], bool]] = {"invalid": lambda attempt: attempt.invalid}
    wanted |= {kind: partial(_is, kind) for kind in kinds if kind not in {_SUCCESS, "not_run"}}
    for label, hit in wanted.items():
        cells = tuple(
            None if run is None or group is None else _share(run, group, hit)
            for run, group in zip(runs, groups, strict=True)
        )
        if any(cell is not None and cell.hits for cell in cells):
            yield DraftRow(OUTCOMES, label.replace("_", " "), "share", cells, group=name)


def _is(kind: OutcomeKind, attempt: Attempt) -> bool:
    return attempt.kind == kind


def _share(run: SmokeRun, group: GroupAnalysis, hit: Callable[[Attempt], bool]) -> Measured:
    """The share of all planned attempts, cases as clusters; one that was not made is no hit."""
    made = run.attempts.get(group.name, {})
    counts = [(sum(map(hit, made.get(case, ()))), group.tries) for case in run.cases]
    return _estimated(clustered_rate(counts)).model_copy(
        update={"hits": sum(hits for hits, _ in counts), "total": group.planned}
    )


def _successes(attempts: Sequence[Attempt]) -> list[float]:
    return [float(attempt.kind == _SUCCESS) for attempt in attempts]


def _times(name: str, runs: Sequence[SmokeRun | None]) -> Iterator[DraftRow]:
    for measure, unit in _UNITS.items():
        cells = tuple(
            None if run is None else _median(run.times.get(measure, {}).get(name, ()))
            for run in runs
        )
        if any(cells):
            yield DraftRow(
                TIMES,
                measure,
                unit,
                cells,
                group=name,
                about="Median of all requests. Shown, not tested: it depends on place and hour.",
            )


def _checks(runs: Sequence[SmokeRun | None], against: int) -> Iterator[DraftRow]:
    by_id = [
        {} if run is None else {result.check.id: result for result in run.analysis.checks}
        for run in runs
    ]
    descriptions = {id_: result.check for found in by_id for id_, result in found.items()}
    families = dict.fromkeys(check.family for check in descriptions.values())
    ordered = sorted(descriptions.values(), key=lambda check: list(families).index(check.family))
    for check in ordered:
        found = [results.get(check.id) for results in by_id]
        base = found[against]
        pairs = [
            None if result is None or base is None or index == against else check_pair(result, base)
            for index, result in enumerate(found)
        ]
        cells = tuple(None if result is None else _checked(result) for result in found)
        row = DraftRow(
            f"{CHECKS}{check.family}",
            check.id,
            "status",
            cells,
            about=check.summary,
        )
        yield row.testing(pairs)


def _median(values: Sequence[float]) -> Measured | None:
    if not values:
        return None
    return _estimated(median_interval(values)).model_copy(update={"total": len(values)})


def _checked(result: CheckResult) -> Measured:
    rate = result.rate
    return Measured(
        value=None if rate is None else rate.value,
        low=None if rate is None else rate.low,
        high=None if rate is None else rate.high,
        hits=result.failures,
        total=result.applicable,
        status=result.status,
        reason=result.reason,
        examples=result.examples[:1],
    )


def _estimated(rate: Estimate) -> Measured:
    return Measured(value=rate.value, low=rate.low, high=rate.high)
