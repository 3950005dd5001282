"""Analyses, scores and rollouts of runs that were never sampled, for tests of reports."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from analyses import PROVIDER
from healthy import STARTED, exchange, response
from replies import MODEL, Reply

from harness.records.analysis import Analysis, FailedSample, RuleResult, TaskResult, Verdict
from harness.records.conditions import Condition
from harness.records.figures import (
    AtK,
    BaselineComparison,
    BaselineFigure,
    BaselineInfo,
    BaselineVerdict,
    ExchangeCounts,
    Latency,
    MeanScore,
    RubricFigure,
    RubricSummary,
    TokenCounts,
)
from harness.records.reasons import Reason
from harness.records.rollouts import Exchange, Response, Rollout
from harness.records.runs import DatasetInfo, RunInfo, RunSettings, TaskInfo
from harness.records.scores import (
    Description,
    Estimate,
    Evidence,
    Finding,
    Percentiles,
    Score,
    Timing,
    UsedTokens,
)
from harness.records.settings import Sampling, Thresholds
from harness.verdict.judge import ExchangeCounter
from reports.html.report import render_html
from reports.model import Report

TOOLS = "tool_calling"
_VALUES = {"success": 1.0, "correct": 1.0, "graded": 0.55, "answered": None}


def condition(api: str = "chat", mode: str = "non-streaming", **parts: Any) -> Condition:
    return Condition(**{"model": MODEL, "api": api, "mode": mode, **parts})


CHAT = condition()
FOUR = tuple(
    condition(api, mode) for api in ("responses", "chat") for mode in ("streaming", "non-streaming")
)


def score(sample: str, attempt: int = 1, outcome: str = "success", **changes: Any) -> Score:
    """The score of one attempt; by default of tool calling, 2 requests, chat · non-streaming."""
    under = changes.pop("condition", CHAT)
    task = changes.pop("task", TOOLS)
    name = f"{sample}/{under.api}/{under.mode}/{attempt}"
    if under.effort:
        name = f"{task}/{under.effort}/{name}"
    defaults = {
        "value": _VALUES.get(outcome, 0.0),
        "usage": UsedTokens(100, 40, 18),
        "timing": (Timing(2.0), Timing(2.0)),
        "seconds": 1.5,
        "requests": 2,
    }
    return Score(name, task, sample, under, attempt, outcome, **(defaults | changes))  # type: ignore[arg-type]


def finding(record: str, rule: str = "usage.sum", severity: str = "error", **where: Any) -> Finding:
    place = {"exchange": 0, "expected": "70", "got": "1", "path": "$.usage", **where}
    return Finding(
        id=rule,
        severity=severity,
        message="The total is not the sum of prompt and completion tokens.",
        evidence=Evidence(record=record, **place),
    )


def rule(name: str, status: str = "passed", **changes: Any) -> RuleResult:
    """The result of one check, of 6 applicable attempts."""
    about = Description(
        id=name,
        kind=changes.pop("kind", "check"),
        family=name.partition(".")[0],
        severity="error",
        summary="Prompt and completion tokens add up to the total.",
        why="Billing relies on these figures.",
        source="https://platform.openai.com/docs/api-reference/chat/object",
        apis=("chat",),
        modes=("non-streaming",),
    )
    return RuleResult(check=about, status=status, **{"applicable": 6, **changes})


def because(code: str, **values: str) -> tuple[Reason, ...]:
    return (Reason(code=code, values=values),)


def failed_rule(name: str, status: str, *examples: Finding) -> RuleResult:
    """The result of a check with findings in one of 6 attempts."""
    return rule(
        name,
        status,
        failures=1,
        findings=len(examples),
        rate=Estimate(value=1 / 6, low=0.0, high=0.94),
        counts={"chat · non-streaming": (1, 6)},
        examples=examples,
    )


def tool_calling(
    scores: Iterable[Score], tries: int = 2, under: Condition = CHAT, **changes: Any
) -> TaskResult:
    """The result of tool calling under one condition, with figures that follow from the scores."""
    every = [each for each in scores if each.condition == under]
    samples: dict[str, list[Score]] = defaultdict(list)
    for each in every:
        samples[each.sample].append(each)
    rates = [[each.value == 1 for each in tried] for tried in samples.values()]
    planned = len(samples) * tries
    mean = sum(map(sum, rates)) / planned if planned else 0.0
    at_k = [AtK(k=1, pass_at=_around(mean), pass_hat=_around(mean))]
    if tries > 1 and rates:
        best = sum(map(any, rates)) / len(rates)
        worst = sum(map(all, rates)) / len(rates)
        at_k.append(AtK(k=tries, pass_at=_around(best), pass_hat=_around(worst)))
    passed = sum(map(sum, rates))
    figures = {
        "samples": len(samples),
        "tries": tries,
        "planned": planned,
        "finished": sum(each.finished for each in every),
        "outcomes": Counter(each.outcome for each in every),
        "invalid": sum(each.invalid for each in every),
        "exact": passed,
        "cases": {
            sample: (sum(each.value == 1 for each in tried), sum(each.finished for each in tried))
            for sample, tried in samples.items()
        },
        "at_k": tuple(at_k),
        "tokens": TokenCounts(input=500, output=200, reasoning=90),
        "latency": Latency(total=Percentiles(count=12, p50=2.0, p90=2.0, p99=2.0)),
        "requests": sum(each.requests for each in every),
        "failures": tuple(_failures(samples, tries)),
    }
    return TaskResult(task=TOOLS, condition=under, **(figures | changes))


def _around(value: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1))


def _failures(samples: dict[str, list[Score]], tries: int) -> Iterable[FailedSample]:
    for sample, tried in samples.items():
        failed = [each for each in tried if each.value != 1]
        if failed:
            yield FailedSample(
                sample=sample,
                mean=1 - len(failed) / tries,
                passed=tries - len(failed),
                tries=tries,
                outcomes=Counter(each.outcome for each in tried),
                record=failed[0].record,
                outcome=failed[0].outcome,
                detail=failed[0].detail,
                expected=failed[0].expected,
                got=failed[0].got,
                answer=failed[0].answer,
                order=failed[0].order,
                prompt="Please check the service status." if failed[0].task == TOOLS else None,
            )


def eval_result(
    scores: Sequence[Score], decision: str | None = "fail", **changes: Any
) -> TaskResult:
    """The result of an eval under the condition of its scores, compared with a baseline of 72%."""
    first = scores[0]
    value = sum(each.value or 0.0 for each in scores) / len(scores)
    tries = max(each.attempt for each in scores)
    samples: dict[str, list[Score]] = defaultdict(list)
    for each in scores:
        samples[each.sample].append(each)
    figures = {
        "samples": len(samples),
        "tries": tries,
        "planned": len(scores),
        "finished": sum(each.finished for each in scores),
        "outcomes": Counter(each.outcome for each in scores),
        "at_k": tuple(
            AtK(k=k, pass_at=_around(value), pass_hat=_around(value / 2), majority=value)
            for k in range(1, tries + 1)
        ),
        "score": MeanScore(
            estimate=_around(value),
            clustered_error=0.05,
            run_error=0.02,
            questions=len(samples),
            tries=tries,
        ),
        "tokens": TokenCounts(output=4000),
        "failures": tuple(_failures(samples, tries)),
        "dataset": dataset(first.task),
        "baseline": baseline(value, decision),
    }
    return TaskResult(task=first.task, condition=first.condition, **(figures | changes))


def dataset(name: str, **changes: Any) -> DatasetInfo:
    given = {"source": "Idavidrein/gpqa", "revision": "abc", "rows": 3, "sha256": "a" * 64}
    given |= {"gated": name == "gpqa"}
    return DatasetInfo(eval=name, **(given | changes))


def baseline(value: float, decision: str | None) -> BaselineVerdict:
    if decision is None:
        return BaselineVerdict(decision=None, reason="There is no baseline.")
    figures = tuple(
        BaselineFigure(source=name, where=f"{name}, table 1", kind="card", value=each, tries=8)
        for name, each in (("one", 0.6), ("two", 0.7))
    )
    return BaselineVerdict(
        decision=decision,
        reason="The score is worse than the baseline.",
        comparison=BaselineComparison(
            decision=decision,
            score=value,
            baseline=0.65,
            difference=Estimate(value=value - 0.65, low=value - 0.75, high=value - 0.55),
            margin=0.04,
            detectable=0.02,
        ),
        baseline=BaselineInfo(name="range", explanation="Two reproductions.", figures=figures),
        warnings=("Sampled with temperature 0.5.",),
    )


def rubric() -> RubricSummary:
    figure = RubricFigure(
        mean=0.55,
        unclipped=0.54,
        interval=_around(0.55),
        bootstrap_std=0.03,
        tries=4,
    )
    tags = {"axis:accuracy": figure, "theme:hedging": figure}
    return RubricSummary(
        overall=figure,
        tags=tags,
        tries=4,
        unanswered=1,
        grader_errors=0,
        items=40,
        ungraded_items=2,
    )


def analysis(
    results: Sequence[TaskResult] = (),
    checks: Sequence[RuleResult] = (),
    decision: str | None = "pass",
    reasons: Sequence[str] = ("All figures meet the thresholds.",),
    **changes: Any,
) -> Analysis:
    """The analysis of a run; its tasks follow from the results and from `probes`."""
    run = run_info(results, **changes.pop("run", {}))
    planned = sum(result.planned for result in results)
    finished = sum(result.finished for result in results)
    verdict = Verdict(decision=decision, reasons=tuple(reasons), thresholds=Thresholds())
    given = {"complete": planned == finished, **changes}
    return Analysis(
        run_id="mock-20260102-030405",
        run=run,
        results=tuple(results),
        checks=tuple(checks),
        verdict=verdict,
        exchanges=ExchangeCounts(),
        **given,
    )


def run_info(results: Sequence[TaskResult] = (), **changes: Any) -> RunInfo:
    tasks: list[TaskInfo] = []
    for name in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == name]
        tools = name == TOOLS
        tasks.append(
            TaskInfo(
                name=name,
                kind="tool_calling" if tools else "eval",
                conditions=tuple(result.condition for result in own),
                samples=own[0].samples,
                tries=own[0].tries,
                planned=sum(result.planned for result in own),
                sampling=Sampling(max_turns=10 if tools else 1),
                dataset=own[0].dataset,
                files={"cases.jsonl": "c" * 64} if tools else {},
            )
        )
    probes = TaskInfo(name="cot", kind="probes", conditions=(CHAT,), samples=1, tries=1, planned=1)
    given = {
        "tool_version": "0.1.0",
        "command": ("gpt-oss-verify", "--provider", "mock"),
        "provider": PROVIDER,
        "settings": RunSettings(apis=("chat",), modes=("non-streaming",), concurrency=8),
        "tasks": (*tasks, probes),
        "versions": {"python": "3.11.0"},
        "started_at": STARTED,
    }
    return RunInfo(**(given | changes))


def render(report: Report, scores: Iterable[Score], log: Iterable[Rollout]) -> str:
    """The HTML page of a run with this log; exchanges are counted if the log is a sequence."""
    counter = ExchangeCounter()
    for each in log if isinstance(log, Sequence) else ():
        counter.add(each)
    analysis = report.analysis.model_copy(update={"exchanges": counter.counts()})
    return render_html(
        replace(report, analysis=analysis),
        list(scores),
        lambda ids: (each for each in log if each.id in ids),
    )


def rollout(
    of: Score, answers: Sequence[Reply | Response | Exchange], end: str = "answered"
) -> Rollout:
    """The record of a score with these replies; a `Reply` is a reply without defects."""
    api, streaming = of.condition.api, of.condition.streaming
    exchanges = []
    for answer in answers:
        if isinstance(answer, Reply):
            answer = response(api, streaming, answer)
        exchanges.append(
            answer if isinstance(answer, Exchange) else exchange(api, streaming, answer)
        )
    return Rollout(
        id=of.record,
        task=of.task,
        sample=of.sample,
        condition=of.condition,
        attempt=of.attempt,
        end=end,
        exchanges=tuple(exchanges),
    )


# --- Two small runs


def passing_scores() -> list[Score]:
    return [score(sample, number) for sample in ("a", "b", "c") for number in (1, 2)]


def failing_scores(text: str = "I cannot do that.") -> list[Score]:
    """Scores of a run with one missing tool call and one invalid reply."""
    silent = score(
        "b",
        2,
        "no_tool_call",
        detail="The model answered without calling a tool.",
        expected="service_status({})",
        got=text,
        requests=1,
    )
    found = finding("c/chat/non-streaming/1")
    invalid = score("c", 1, "invalid_response", detail=f"usage.sum: {found.message}",
                    expected="70", got="1", findings=(found,), requests=1)  # fmt: skip
    return [*passing_scores()[:3], silent, invalid, passing_scores()[5]]


def passing() -> Analysis:
    checks = [rule("usage.sum"), rule("usage.present"), _skipped(), _unseen()]
    return analysis([tool_calling(passing_scores())], checks)


def failing(text: str = "I cannot do that.") -> Analysis:
    scores = failing_scores(text)
    example = scores[4].findings[0]
    checks = [
        failed_rule("usage.sum", "failed", example),
        rule("usage.present"),
        _skipped(),
        _unseen(),
    ]
    reasons = ["chat · non-streaming: 1 invalid of 6 attempts, none allowed.",
               "pass^2 is 33.3%, required: more than 90%."]  # fmt: skip
    return analysis([tool_calling(scores)], checks, "fail", reasons)


def _skipped() -> RuleResult:
    return rule(
        "stream.end",
        "skipped",
        applicable=0,
        reasons=because("not_applicable", planned="chat"),
    )


def _unseen() -> RuleResult:
    return rule("stop.kept", "not_verifiable", applicable=0, reasons=because("nothing_to_judge"))
