"""The key figures of a run, which its reports, histories, sites and badges share. No I/O."""

import math
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from harness.records.analysis import Analysis, passed_rules
from harness.records.figures import Decision, verdict_name
from harness.records.record import Record
from harness.records.runs import group_name
from harness.records.scores import Estimate, Percentiles, RuleKind
from harness.statistics.intervals import clustered_rate
from harness.text import percentage


class Share(Record):
    """How many of `total` passed; `rate` has a 95% interval with cases as clusters."""

    passed: int
    total: int
    rate: Estimate | None = None


class EvalFigure(Record):
    """The score of an eval under one condition, and the baseline that it was compared with."""

    name: str
    score: Estimate
    baseline: float | None
    decision: Decision | None


class ResultSummary(Record):
    """What can be published about a run; `line` has all of it as one line of text.

    Of the checks and probes that judged anything, and of the attempts at tool calls that were made,
    it counts those that passed. `command` repeats the run.
    """

    line: str
    provider: str
    model: str
    decision: Decision | None
    findings_only: bool = Field(default=False, description="recorded traffic without a verdict")
    found: bool = Field(default=True, description="whether a rule has findings")
    checks: Share
    probes: Share
    tool_calls: Share | None
    evals: tuple[EvalFigure, ...]
    tool_version: str
    date: str
    command: str


@dataclass(frozen=True)
class WorstFigures:
    """Tool calling under the condition (API and mode) where each figure is worst."""

    k: int | None  # the number of tries that all attempted cases have
    success: Estimate | None  # pass@1
    pass_at: Estimate | None  # pass@k
    pass_hat: Estimate | None  # pass^k
    first_token: Percentiles | None
    tokens_per_second: Percentiles | None


def worst_figures(analysis: Analysis) -> WorstFigures:
    """Return the lowest rates and speed, and the highest median time to the first token."""
    rates = [result.at_k for result in analysis.tool_calling if result.at_k]
    k = min((at[-1].k for at in rates), default=None)
    last = [at for rate in rates for at in rate if at.k == k]
    times = [result.latency for result in analysis.tool_calling]
    first = [time.first_token for time in times if time.first_token is not None]
    speeds = [time.tokens_per_second for time in times if time.tokens_per_second is not None]
    return WorstFigures(
        k=k,
        success=_lowest([at[0].pass_at for at in rates]),
        pass_at=_lowest([at.pass_at for at in last]),
        pass_hat=_lowest([at.pass_hat for at in last]),
        first_token=max(first, key=lambda time: time.p50, default=None),
        tokens_per_second=min(speeds, key=lambda speed: speed.p50, default=None),
    )


def _lowest(rates: Sequence[Estimate]) -> Estimate | None:
    return min(rates, key=lambda rate: rate.value, default=None)


def result_summary(analysis: Analysis) -> ResultSummary:
    """Return what can be published about a run, as one line and as values."""
    run, decision = analysis.run, analysis.verdict.decision
    kinds: tuple[RuleKind, ...] = ("check", "probe")
    shares = {kind: _rules(analysis, kind) for kind in kinds}
    calls, evals = _tool_calls(analysis), _evals(analysis)
    command, date = shlex.join(run.repeats), run.started_at[:10]
    passed = [f"{_counted(share)} {kind}s" for kind, share in shares.items() if share.total]
    if calls is not None:
        passed.append(f"{_counted(calls)} tool calls ({_percent(calls.rate)})")
    scores = (
        f"{result.name} {_percent(result.score)}"
        + ("" if result.baseline is None else f" (baseline {percentage(result.baseline)})")
        for result in evals
    )
    findings_only = run.settings.findings_only
    name = verdict_name(decision, findings_only, analysis.found)
    verdict = f"{run.model} on {run.provider.name}: {name}"
    counts = [f"passed {', '.join(passed)}"] if passed else []
    line = "; ".join([verdict, *counts, *scores, f"gpt-oss-verify {run.tool_version}, {date}"])
    return ResultSummary(
        line=f"{line}: {command}",
        provider=run.provider.name,
        model=run.model,
        decision=decision,
        findings_only=findings_only,
        found=analysis.found,
        checks=shares["check"],
        probes=shares["probe"],
        tool_calls=calls,
        evals=evals,
        tool_version=run.tool_version,
        date=date,
        command=command,
    )


def _rules(analysis: Analysis, kind: RuleKind) -> Share:
    passed, judged = passed_rules(analysis.checks, kind)
    return Share(passed=passed, total=judged)


def _tool_calls(analysis: Analysis) -> Share | None:
    """Return the attempts that passed and were made, with cases as clusters; None without any."""
    cases: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for result in analysis.tool_calling:
        for case, counts in result.cases.items():
            cases[case].append(counts)
    sums = [tuple(map(sum, zip(*counts, strict=True))) for counts in cases.values()]
    clusters = [(passed, made) for passed, made in sums if made]
    if not clusters:
        return None
    passed, made = map(sum, zip(*clusters, strict=True))
    return Share(passed=passed, total=made, rate=clustered_rate(clusters))


def _evals(analysis: Analysis) -> tuple[EvalFigure, ...]:
    tasks = {task.name: task for task in analysis.run.tasks}
    verdicts = [(result, result.baseline) for result in analysis.evals]
    return tuple(
        EvalFigure(
            name=group_name(tasks[result.task], result.condition, with_model=False),
            score=result.score.estimate,
            baseline=verdict.comparison.baseline if verdict and verdict.comparison else None,
            decision=verdict.decision if verdict else None,
        )
        for result, verdict in verdicts
        if result.score is not None
    )


def _counted(share: Share) -> str:
    return f"{share.passed:,} of {share.total:,}"


def _percent(rate: Estimate | None) -> str:
    """Return a share with its 95% interval, rounded outwards: `98.1%, 96–99`."""
    if rate is None:
        return ""
    low, high = math.floor(rate.low * 100), math.ceil(rate.high * 100)
    return f"{percentage(rate.value)}, {low}–{high}"
