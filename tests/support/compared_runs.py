"""Scored run folders with chosen results, written without sampling or scoring."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from analyses import PROVIDER
from healthy import SUITE, correct, exchange, response
from replies import MODEL, Reply

from harness.records.analysis import Analysis, RuleResult, TaskResult, Verdict
from harness.records.conditions import BOTH_APIS, MODES, Api, Condition
from harness.records.figures import ExchangeCounts, Latency, MeanScore, TokenCounts
from harness.records.rollouts import Rollout
from harness.records.runs import DatasetInfo, RunInfo, RunSettings, TaskInfo
from harness.records.scores import Description, Evidence, Finding, Score, Timing, UsedTokens
from harness.records.settings import Sampling, Thresholds
from harness.run import run_folder
from harness.run.cases import Case, Suite
from harness.run.run_log import RunLog, write_run_info
from harness.statistics.estimators import percentiles
from harness.statistics.intervals import at_k, clustered_rate
from harness.statistics.mean_scores import mean_score

SMALL = SUITE.first(4)
TINY = SUITE.first(1)
QUESTIONS = 10
_FIRST = datetime(2026, 11, 1, 10, tzinfo=UTC)

Passes = Callable[[str, str, int], bool]
"""Whether an attempt passes: the sample, the condition's name, and the number of the try."""


def always(_sample: str, _condition: str, _number: int) -> bool:
    return True


def never_in(condition: str) -> Passes:
    return lambda _sample, found, _number: found != condition


def judged_run(
    folder: Path,
    passes: Passes = always,
    *,
    provider: str = "mock",
    day: float = 0.0,
    finished: bool = True,
    made: int | None = None,
    suite: Suite | None = SMALL,
    tries: int = 5,
    apis: tuple[Api, ...] = BOTH_APIS,
    miscounted: bool = False,
    evals: Passes | None = None,
    model: str = MODEL,
    temperature: float | None = None,
    rollouts: bool = False,
) -> Path:
    """A run folder that was scored.

    Args:
        folder: Its path.
        passes: Which tool-calling attempts pass.
        provider: The name of the provider.
        day: When it started, in days after the first run.
        finished: Whether it is finished.
        made: The number of tool-calling attempts that were made.
        suite: The cases; None for a run without tool calling.
        tries: Tries at every sample.
        apis: The APIs.
        miscounted: Whether token counts are wrong in `chat · non-streaming`.
        evals: Which attempts of aime25 are correct; None for a run without evals.
        model: The model.
        temperature: The temperature.
        rollouts: Whether to also write the rollouts.
    """
    folder.mkdir(parents=True)
    tasks = [*_tasks(suite, tries, apis, temperature, evals, model)]
    scores = []
    for task in tasks:
        samples = [c.id for c in suite.cases] if task.kind == "tool_calling" and suite else None
        chosen = passes if task.kind == "tool_calling" else evals or always
        scores += _scores(task, samples or [f"q{n}" for n in range(QUESTIONS)], chosen)
    if miscounted:
        scores = [_miscounted(score) for score in scores]
    if made is not None:
        scores = [s if n < made else _not_run(s) for n, s in enumerate(scores)]
    at = (_FIRST + timedelta(days=day)).isoformat()
    info = _info(tasks, provider, at, at if finished else None, apis, model)
    write_run_info(folder, info)
    if suite is not None:
        run_folder.write_text(folder / run_folder.CASES_FILE, _cases_text(suite))
        run_folder.write_text(folder / run_folder.TOOLS_FILE, suite.tools_file.text)
    run_folder.write_scores(folder, scores)
    run_folder.write_analysis(folder, _analysis(folder.name, info, scores))
    if rollouts:
        with RunLog(folder) as log:
            for one in _rollouts(scores, suite):
                log.append(one)
    return folder


def _cases_text(suite: Suite) -> str:
    lines = [
        {
            "id": case.id,
            "tool_name": case.tool_name,
            "input": case.prompt,
            "expected_arguments": case.expected_arguments,
            **({"instructions": case.instructions} if case.instructions else {}),
        }
        for case in suite.cases
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def _tasks(
    suite: Suite | None,
    tries: int,
    apis: tuple[Api, ...],
    temperature: float | None,
    evals: Passes | None,
    model: str,
) -> Iterator[TaskInfo]:
    if suite is not None:
        conditions = tuple(
            Condition(model=model, api=api, mode=mode) for api in apis for mode in MODES
        )
        count = len(suite.cases)
        yield TaskInfo(
            name="tool_calling",
            kind="tool_calling",
            conditions=conditions,
            samples=count,
            tries=tries,
            planned=count * tries * len(conditions),
            sampling=Sampling(temperature=temperature, max_turns=10),
            files={"cases.jsonl": f"{hash(_cases_text(suite)) & 0xFFFF:064x}", "tools.json": "t"},
        )
    if evals is not None:
        yield TaskInfo(
            name="aime25",
            kind="eval",
            conditions=(Condition(model=model, effort="high", api="chat", mode="non-streaming"),),
            samples=QUESTIONS,
            tries=tries,
            planned=QUESTIONS * tries,
            sampling=Sampling(temperature=temperature),
            dataset=DatasetInfo(eval="aime25", source="samples", rows=QUESTIONS, sha256="0" * 64),
        )


def _scores(task: TaskInfo, samples: Iterable[str], passes: Passes) -> Iterator[Score]:
    good, bad = ("success", "no_tool_call") if task.kind == "tool_calling" else ("correct", "wrong")
    samples = list(samples)
    for number in range(1, task.tries + 1):
        for sample in samples:
            for condition in task.conditions:
                passed = passes(sample, condition.name, number)
                streamed = (0.5, 40.0) if condition.streaming else (None, None)
                yield Score(
                    record=f"{task.name}/{sample}/{condition.api}/{condition.mode}/{number}",
                    task=task.name,
                    sample=sample,
                    condition=condition,
                    attempt=number,
                    outcome=good if passed else bad,  # type: ignore[arg-type]
                    value=float(passed),
                    detail="" if passed else "The model answered without calling a tool.",
                    answer=("42" if passed else "41") if task.kind == "eval" else None,
                    usage=UsedTokens(50, 20, 9),
                    timing=(Timing(1.0 + number / 10, *streamed),),
                    seconds=1.0 + number / 10,
                    requests=1,
                    applicable=frozenset({"usage.sum", "schema.reply"}),
                )


def _miscounted(score: Score) -> Score:
    if score.task != "tool_calling" or score.condition.name != "chat · non-streaming":
        return score
    evidence = Evidence(
        record=score.record, exchange=0, path="$.usage.total_tokens", expected="70", got="1"
    )
    finding = Finding(
        id="usage.sum", severity="error", message="The counts do not add up.", evidence=evidence
    )
    return replace(score, outcome="invalid_response", value=0.0, findings=(finding,))


def _not_run(score: Score) -> Score:
    return Score(
        record=score.record,
        task=score.task,
        sample=score.sample,
        condition=score.condition,
        attempt=score.attempt,
        outcome="not_run",
        value=0.0,
    )


def _info(
    tasks: list[TaskInfo],
    provider: str,
    at: str,
    ended: str | None,
    apis: tuple[Api, ...],
    model: str,
) -> RunInfo:
    return RunInfo(
        tool_version="0.1.0",
        command=("gpt-oss-verify", "--provider", provider),
        provider=PROVIDER.model_copy(update={"name": provider, "model": model}),
        settings=RunSettings(apis=apis, modes=MODES, concurrency=8),
        tasks=tuple(tasks),
        versions={"python": "3.11.0"},
        started_at=at,
        finished_at=ended,
        ended="complete" if ended else None,
    )


def _analysis(run_id: str, info: RunInfo, scores: list[Score]) -> Analysis:
    groups: Mapping[tuple[str, Condition], list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.task, score.condition].append(score)
    datasets = {task.name: task.dataset for task in info.tasks}
    results = tuple(
        _result(task, condition, found, datasets[task])
        for (task, condition), found in groups.items()
    )
    checks = tuple(_check(name, scores) for name in ("schema.reply", "usage.sum"))
    complete = all(score.finished for score in scores)
    decision = "fail" if any(score.value != 1 for score in scores) else "pass"
    return Analysis(
        run_id=run_id,
        run=info,
        complete=complete,
        results=results,
        checks=checks,
        exchanges=ExchangeCounts(),
        verdict=Verdict(decision=decision, reasons=("because",), thresholds=Thresholds()),
    )


def _result(
    task: str, condition: Condition, scores: list[Score], dataset: DatasetInfo | None
) -> TaskResult:
    made = [score for score in scores if score.finished]
    by_sample: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        by_sample[score.sample].append(score.value or 0.0)
    values, tries = list(by_sample.values()), len(scores) // len(by_sample)
    counts = [(len(each), round(sum(each))) for each in values]
    times = [each.total for score in made for each in score.timing]
    return TaskResult(
        task=task,
        condition=condition,
        samples=len(values),
        tries=tries,
        planned=len(scores),
        finished=len(made),
        outcomes=Counter(score.outcome for score in scores),
        invalid=sum(score.invalid for score in made),
        cases={
            sample: (round(sum(values)), sum(score.sample == sample for score in made))
            for sample, values in by_sample.items()
        },
        at_k=tuple(at_k(counts, k) for k in range(1, tries + 1)),
        score=(
            None if dataset is None else MeanScore.model_validate(mean_score(values).model_dump())
        ),
        dataset=dataset,
        tokens=TokenCounts(input=50 * len(made), output=20 * len(made)),
        latency=Latency(total=percentiles(times), last=percentiles(times)),
    )


def _check(name: str, scores: list[Score]) -> RuleResult:
    family = name.partition(".")[0]
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    found = []
    for score in scores:
        if name in score.applicable:
            mine = [finding for finding in score.findings if finding.id == name]
            counts[score.sample][0] += bool(mine)
            counts[score.sample][1] += 1
            found += mine
    pairs = [(hits, trials) for hits, trials in counts.values()]
    return RuleResult(
        check=Description(
            id=name,
            family=family,
            severity="error",
            summary=f"{name} must hold.",
            why="because",
            source="the specification",
            apis=BOTH_APIS,
            modes=MODES,
        ),
        status="failed" if found else "passed" if pairs else "not_verifiable",
        applicable=sum(trials for _, trials in pairs),
        failures=sum(hits for hits, _ in pairs),
        rate=clustered_rate(pairs) if pairs else None,
        findings=len(found),
        examples=tuple(found[:3]),
    )


def _rollouts(scores: list[Score], suite: Suite | None) -> Iterator[Rollout]:
    cases: Mapping[str, Case] = {case.id: case for case in suite.cases} if suite else {}
    for score in scores:
        if not score.finished:
            continue
        condition, passed = score.condition, score.outcome == "success"
        says = correct(cases[score.sample]) if passed else [Reply(text=f"It is {score.answer}.")]
        fields: dict[str, Any] = {"api": condition.api, "streaming": condition.streaming}
        answers = [response(fields["api"], fields["streaming"], reply) for reply in says]
        yield Rollout(
            id=score.record,
            task=score.task,
            sample=score.sample,
            condition=condition,
            attempt=score.attempt,
            end="answered",
            exchanges=tuple(exchange(fields["api"], fields["streaming"], a) for a in answers),
        )
