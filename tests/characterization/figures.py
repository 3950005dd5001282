"""The only link between the characterization tests and the product.

Every function takes stored records (unpacked run folders), judges them offline with the current
code, and returns plain dictionaries of tasks, conditions (model, effort, API, mode), samples,
attempts, outcomes, checks and findings. If the structure of the product changes, only the bodies of
these functions change, not the stored records or the expected figures.

No function trusts a stored analysis. Functions that need one (`compared`, `history`,
`changes_since_previous`) judge the folder first and write the analysis into it, so pass
a copy.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.baselines.column import baseline_column
from evals.registry import NAMES, load_data
from evals.restoring import all_tasks
from evals.task import EvalTask
from evals.withholding import gated_texts
from gpt_oss_verify import app
from gpt_oss_verify.judge_and_report import judge_and_report, with_settings
from harness.api import DIALECTS
from harness.compare.columns import Column, read_run
from harness.compare.compared import compare, labelled
from harness.compare.comparison_types import ChangedCase, ComparedRow, Comparison, Measured
from harness.compare.history import HistoryPoint, history_of
from harness.compare.previous_run import previous_run
from harness.golden.files import fitting
from harness.records.analysis import Analysis, RuleResult, TaskResult
from harness.records.conditions import BOTH_APIS, MODES, Condition
from harness.records.figures import RubricFigure, RubricSummary
from harness.records.runs import RunSettings
from harness.records.scores import Estimate, Percentiles, Score
from harness.records.settings import Sampling
from harness.rules.probe import ProbeOptions
from harness.rules.suites import choose
from harness.run import run_folder
from harness.run.attempts import Attempt
from harness.run.cases import load_suite
from harness.run.published_copy import publish
from harness.run.run_log import read_run_info
from harness.statistics.differences import Difference
from harness.tasks.probing import probe_tasks
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.gate import exit_code
from harness.verdict.judge import judge

Figures = dict[str, Any]

TOOL_CALLING = "tool_calling"
_NUMBER = r"[\d.]+"


# Judging a run.


def judged(run: Path, baseline: Path | None = None) -> Figures:
    """The verdict and all figures of one run, from its records alone.

    Args:
        run: The run folder; nothing is written into it.
        baseline: The baseline file, for a run that names one. Runs store the path as it was typed.
    """
    info = with_settings(read_run_info(run), _baseline(baseline))
    analysis, scores = judge(run, info, all_tasks(run, info))
    figures = {
        "verdict": analysis.verdict.decision,
        "exit_code": exit_code(analysis.verdict),
        "complete": analysis.complete,
        "reasons": [_reason(text) for text in analysis.verdict.reasons],
    }
    if analysis.evals:
        return figures | {
            "conditions": [_eval_condition(result) for result in analysis.evals],
            "attempts": dict(sorted(map(_scored, scores))),
        }
    return figures | {
        "left_out_samples": analysis.bad_lines,
        "probe_requests": {
            "planned": analysis.probe_attempts,
            "made": analysis.probe_attempts_made,
        },
        "conditions": [_condition(result) for result in analysis.tool_calling],
        "attempts": dict(
            sorted(_attempt(one) for one in scores if one.task == TOOL_CALLING and one.finished)
        ),
        "checks": {
            result.check.id: _check(result)
            for result in analysis.checks
            if result.failures or result.findings
        },
        "findings": _findings(scores),
        "failed_samples": _failed_samples(analysis),
    }


def _failed_samples(analysis: Analysis) -> list[Figures]:
    found = [
        (failed, result.name) for result in analysis.tool_calling for failed in result.failures
    ]
    return [
        {
            "sample": failed.sample,
            "condition": _name(name),
            "passed": failed.passed,
            "attempts": failed.tries,
            "outcomes": dict(sorted(failed.outcomes.items())),
        }
        for failed, name in sorted(found, key=lambda each: (each[0].passed, each[0].sample))[:10]
    ]


def _size(result: TaskResult) -> Figures:
    """The task and condition of a result, and its numbers of attempts."""
    return {
        "task": result.task,
        "model": result.condition.model,
        "effort": result.condition.effort,
        "api": result.condition.api,
        "mode": result.condition.mode,
        "samples": result.samples,
        "attempts_per_sample": result.tries,
        "planned": result.planned,
        "finished": result.finished,
        "outcomes": dict(sorted(result.outcomes.items())),
    }


def _condition(result: TaskResult) -> Figures:
    return {
        **_size(result),
        "invalid": result.invalid,
        "exact": result.exact,
        "pass@k": [_estimate(one.pass_at) for one in result.at_k],
        "pass^k": [_estimate(one.pass_hat) for one in result.at_k],
        "highest_possible": {"pass@k": result.best_pass_at, "pass^k": result.best_pass_hat},
        "tokens": {
            "prompt": result.tokens.input,
            "completion": result.tokens.output,
            "reasoning": result.tokens.reasoning,
            "replies_without_usage": result.tokens.unreported,
        },
        "requests": result.requests,
        "retries": result.retries,
        "seconds": _percentiles(result.latency.total),
        "seconds_to_first_token": _percentiles(result.latency.first_token),
        "tokens_per_second": _percentiles(result.latency.tokens_per_second),
    }


def _attempt(one: Score) -> tuple[str, str]:
    words = [one.outcome]
    words += ["exact"] if one.exact else []
    words += ["invalid"] if one.invalid else []
    condition = one.condition
    return f"{TOOL_CALLING} {one.sample} {condition.api}/{condition.mode} {one.attempt}", " ".join(
        words
    )


def _check(result: RuleResult) -> Figures:
    found: Figures = {
        "status": result.status,
        "applicable": result.applicable,
        "failures": result.failures,
        "findings": result.findings,
        "conditions": sorted(map(_name, result.groups)),
    }
    if result.rate is not None:
        found["rate"] = _estimate(result.rate)
    return found


def _findings(scores: Iterable[Score]) -> Figures:
    """The number of findings of each check of single rollouts, by severity."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in scores:
        for finding in one.findings:
            counts[finding.id][finding.severity] += 1
    return {name: dict(sorted(counts[name].items())) for name in sorted(counts)}


def _eval_condition(result: TaskResult) -> Figures:
    return {
        **_size(result),
        "score": result.score and _estimate(result.score.estimate),
        "clustered_error": result.score and result.score.clustered_error,
        "error_on_repetition": result.score and result.score.run_error,
        "score_of_openai_script": result.openai_score,
        "at_k": {
            str(one.k): {
                "pass@k": _estimate(one.pass_at),
                "pass^k": _estimate(one.pass_hat),
                "maj@k": one.majority,
            }
            for one in result.at_k
        },
        "tokens": {
            "completion": result.tokens.output,
            "reasoning": _percentiles(result.tokens.reasoning_each),
            "answer": _percentiles(result.tokens.answer_each),
            "attempts_without_usage": result.tokens.unreported,
        },
        "seconds": _percentiles(result.latency.last),
        "grader": result.grader,
        "rubric": None if result.rubric is None else _rubric(result.rubric),
        "failed_samples": {one.sample: one.mean for one in result.failures},
        "against_baseline": _against_baseline(result),
    }


def _rubric(found: RubricSummary) -> Figures:
    return {
        "attempts": found.tries,
        "unanswered": found.unanswered,
        "attempts_with_ungraded_items": found.grader_errors,
        "items": found.items,
        "ungraded_items": found.ungraded_items,
        "overall": found.overall and _rubric_figure(found.overall),
        "tags": {tag: _rubric_figure(figure) for tag, figure in sorted(found.tags.items())},
    }


def _rubric_figure(figure: RubricFigure) -> Figures:
    return {
        "mean": figure.mean,
        "unclipped": figure.unclipped,
        "interval": _estimate(figure.interval),
        "bootstrap_deviation": figure.bootstrap_std,
        "attempts": figure.tries,
    }


def _against_baseline(result: TaskResult) -> Figures:
    verdict = result.baseline
    found: Figures = {"verdict": verdict.decision, "warnings": len(verdict.warnings)}
    if verdict.baseline is not None:
        found["baseline_figures"] = [figure.value for figure in verdict.baseline.figures]
    if verdict.comparison is not None:
        one = verdict.comparison
        found |= {
            "score": one.score,
            "baseline": one.baseline,
            "difference": _estimate(one.difference),
            "margin": one.margin,
            "detectable": one.detectable,
            "further_attempts": one.further_tries,
        }
    return found


def _scored(one: Score) -> tuple[str, str]:
    words = [one.outcome, f"{one.value or 0:.6g}"]
    words += [] if one.answer is None else [f"answer={one.answer}"]
    condition = one.condition
    key = f"{one.task} {one.sample} {condition.model.replace('/', ':')}/{condition.effort}"
    return f"{key} {one.attempt}", " ".join(words)


def _baseline(baseline: Path | None) -> dict[str, object]:
    return {} if baseline is None else {"baseline": str(baseline)}


# Reasons are compared by code and numbers; their wording may change. How many rules passed is left
# out: every new rule would change it.

_REASONS: tuple[tuple[str, str], ...] = (
    ("nothing_judged", r"Nothing was judged"),
    ("findings_only", r"Imported traffic gets a verdict only on request"),
    ("attempts_missing", rf"(?P<missing>{_NUMBER}) of (?P<planned>{_NUMBER}) planned attempts"),
    ("so_far", r"Of the tool calls so far, (?P<passed>\d+) of (?P<made>\d+)"),
    (
        "budget",
        r"Stopped (?:after .+ )?by the budget, (?:max_\w+|deadline) (?P<limit>[$\w.]+)",
    ),
    ("ended_by_failure", r"The run ended as soon as it had failed"),
    ("too_many_invalid", rf".+: {_NUMBER} invalid of"),
    ("too_silent", r"Attempts got no reply: (?P<shares>.*\d+ of \d+); at most"),
    ("hidden_failures", r"(?P<failed>\d+) of (?P<served>\d+) requests .* succeeded only after"),
    ("too_little_judged", r"(?P<missing>\d+) of (?P<planned>\d+) .+ could not be judged"),
    ("recording_too_short", r"(?P<judged>\d+) of the recorded replies were judged"),
    (
        "rules_failed",
        r"(?P<failed>\d+) of \d+ (?P<kind>checks|probes)"
        r"(?: and (?P<checks_failed>\d+) of \d+ checks)? failed",
    ),
    ("rules_must_pass", r"(?P<count>\d+) rules that must pass"),
    ("check_failed", r"(?P<check>[\w.]+) failed (?P<shares>.*\d+ of \d+) times"),
    ("check_not_judged", r"(?P<check>[\w.]+) must pass.*, but was not judged"),
    ("check_must_pass", r"(?P<check>[\w.]+) must pass.*, but "),
    ("rate_too_low", r"(?P<condition>.+): (?P<rate>pass.)\d+ is"),
    ("rate_out_of_reach", r"(?P<condition>.+): (?P<rate>pass.)\d+ can reach"),
    ("rates_reached", r"By the guide's rule"),
    ("none_invalid", r"(?P<count>\d+) invalid responses\."),
    ("reliable", r"Tool calls succeed more than"),
    ("unreliable", r"Tool calls succeed less often than the reference.*Most failures"),
    ("few_cases_fail", r"Tool calls succeed less often than the reference"),
    ("too_few_tries", r"(Too few tries: )?\d+ of \d+ .* fits both a good server"),
    ("broken_cases", r"(?P<count>\d+) cases? fails? often, and the reference"),
    ("probes_passed", r"(?:All )?\d+(?: of \d+)? probes passed"),
    ("checks_passed", r"\d+ checks applied; none failed"),
    ("suite_not_complete", r"The gate requires the suite"),
    ("task_not_asked", r"The gate .*requires the eval (?P<task>\w+)"),
    ("unfinished", r"The run is not finished"),
    ("sample_data", r"(?i)there is no published baseline for these"),
    ("within_margin", r"(?P<task>\w+), .*: as good as its baseline"),
    ("worse_than_margin", r"(?P<task>\w+), .*: worse than its baseline"),
    ("not_settled", r"(?P<task>\w+), .*: undecided whether it is within"),
    ("ungraded_items", r"(?P<task>\w+), .*: undecided: .* rubric items"),
    ("undecided", r"(?P<task>\w+), .*: undecided: "),
    ("no_baseline", r"(?P<task>\w+), .*: not compared"),
    ("margin_origin", r"The margin of (?P<task>\w+)"),
)


def _reason(text: str) -> Figures:
    for code, pattern in _REASONS:
        found = re.match(pattern, text)
        if found is not None:
            values = found.groupdict()
            if "shares" in values:
                counts = re.findall(r"(\d+) of (\d+)", values.pop("shares"))
                values["failures"] = str(sum(int(failures) for failures, _ in counts))
                values["applicable"] = str(sum(int(every) for _, every in counts))
            if "condition" in values:
                values["condition"] = _name(values["condition"])
            return {"code": code, **values}
    raise ValueError(f"no code for the reason {text!r}")


# Runs side by side and in time.


def compared(runs: Sequence[str | Path], against: int = 0, baseline: Path | None = None) -> Figures:
    """The comparison of runs, baseline files and published baselines (`range`).

    Args:
        runs: Run folders, which are judged and written to, baseline files or published baselines.
        against: The one that the others are compared with.
        baseline: The baseline file of the runs that name one.
    """
    for run in runs:
        if isinstance(run, Path) and run.is_dir():
            _write_judgement(run, baseline)
    return _comparison(compare(labelled([_column(run) for run in runs]), against, "test"), against)


def _column(run: str | Path) -> Column:
    path = Path(run)
    return read_run(path) if path.is_dir() else baseline_column(str(run))


def _comparison(found: Comparison, against: int) -> Figures:
    """Verdicts, rates, scores, outcomes and checks; times are not tested."""
    rows = [row for row in found.rows if _kind(row) not in ("verdict", "time")]
    shown = [row for row in rows if row.differs or _kind(row) != "check"]
    return {
        "columns": [
            {"kind": entry.kind, "verdict": entry.decision, "complete": entry.complete}
            for entry in found.entries
        ],
        "against": against,
        "differences_tested": found.tested,
        "rows": {_row_name(row): _row(row) for row in shown},
        "equal_checks": len(rows) - len(shown),
        "changed_samples": [
            _changed_cases(one.cases)
            for one in sorted(found.changes, key=lambda one: one.label)
            if one.cases
        ],
    }


def _kind(row: ComparedRow) -> str:
    kinds = {"Verdict": "verdict", "Pass rates": "rate", "Scores": "score", "Times": "time"}
    return "check" if row.section.startswith("Checks") else kinds.get(row.section, "outcome")


def _row_name(row: ComparedRow) -> str:
    kind = _kind(row)
    name = _name(row.name) if kind == "score" else row.name.replace(" ", "_")
    return " ".join([kind, name, *([] if row.group is None else [f"[{_name(row.group)}]"])])


def _row(row: ComparedRow) -> Figures:
    return {
        "values": [None if cell is None else _measured(cell, _kind(row)) for cell in row.cells],
        "differences": [None if one is None else _difference(one) for one in row.differences],
        "differs": row.differs,
    }


def _measured(cell: Measured, kind: str) -> Figures:
    found = {"value": cell.value, "hits": cell.hits, "total": cell.total, "status": cell.status}
    if kind != "outcome":
        found |= {"low": cell.low, "high": cell.high}
    return {name: value for name, value in found.items() if value is not None}


def _difference(one: Difference) -> Figures:
    return {
        "difference": [one.value, one.low, one.high],
        "p": one.p,
        "p_adjusted": one.adjusted,
        "seen": one.seen,
        "detectable": one.detectable,
        "pairs": one.pairs,
    }


def _changed_cases(cases: Sequence[ChangedCase]) -> list[Figures]:
    found = map(_changed_case, cases)
    return sorted(found, key=lambda each: (each["p"], each["sample"], each["condition"]))


def _changed_case(case: ChangedCase) -> Figures:
    return {
        "sample": case.sample,
        "condition": _name(case.group),
        "here": list(case.here),
        "there": list(case.there),
        "p": case.p,
        "better": case.better,
    }


def history(folder: Path, baseline: Path | None = None) -> Figures:
    """All runs of a folder over time, by provider and run.

    Args:
        folder: A folder of run folders, which are judged and written to.
        baseline: The baseline file of the runs that name one.
    """
    for run in _runs(folder):
        _write_judgement(run, baseline)
    found = history_of(folder, None)
    return {
        "unread": len(found.unread),
        "lines": {
            line.provider: {point.run: _point(point) for point in line.points}
            for line in found.lines
        },
    }


def _point(point: HistoryPoint) -> Figures:
    return {
        "verdict": point.decision,
        "complete": point.complete,
        "k": point.k,
        "pass@k": None if point.pass_at is None else _estimate(point.pass_at),
        "pass^k": None if point.pass_hat is None else _estimate(point.pass_hat),
        "failed_checks": point.failed_checks,
        "scores": {_name(name): _estimate(score) for name, score in sorted(point.scores.items())},
        "gap_days": point.gap_days,
    }


def changes_since_previous(run: Path) -> Figures | None:
    """The changes of a run since the previous run of the same provider in the same folder."""
    before = previous_run(run)
    if before is None:
        return None
    for one in (before, run):
        _write_judgement(one)
    (found,) = compare(labelled([read_run(before), read_run(run)]), 0, "test").changes
    return {
        "previous": before.name,
        "newly_failing_checks": _changed(found.broken),
        "no_longer_failing_checks": _changed(found.fixed),
        "changed_samples": _changed_cases(found.cases),
        "changed_rates": {_name(one.name): _difference(one.difference) for one in found.rates},
    }


def _changed(changes: Iterable[Any]) -> Figures:
    return {
        one.id: {
            "before": one.before,
            "after": one.after,
            "failures": {part: list(count) for part, count in one.here.items()},
            "failures_before": {part: list(count) for part, count in one.there.items()},
            "beyond_chance": one.beyond_chance,
        }
        for one in changes
    }


# Grading, evals after a run.


def joined_exit_code(runs: Sequence[Path]) -> int:
    """The most severe exit code of the runs that one main job made."""
    codes = {judged(run)["exit_code"] for run in runs}
    return next((code for code in (1, 4) if code in codes), 0)


# Publishing.


def published(run: Path, folder: Path) -> Figures:
    """The figures of the published copy of a run, which is written into an empty `folder`."""
    folder.mkdir()
    publish(run, folder, gated_texts(run))
    return judged(folder)


def command(*arguments: str) -> int:
    """The exit code of a command that is run in this process."""
    return app.run(arguments)


# What is asked, and by which rules.


def planned_requests() -> Figures:
    """The number of attempts of each task, and a hash of the bodies of their first requests.

    The plan is that of the full suite with all cases, and of the sample questions of all evals.
    """
    bodies: dict[str, list[str]] = defaultdict(list)
    for attempt in (*_planned_suite(), *_planned_evals()):
        sample, condition = attempt.sample, attempt.condition
        body: Any = sample.raw
        if body is None:
            body = DIALECTS[condition.api].first_request(
                sample.turns,
                instructions=sample.instructions,
                tools=sample.tools,
                streaming=condition.streaming,
                settings=attempt.settings,
            )
        name = f"{attempt.task} {condition.api}/{condition.mode}"
        bodies[name].append(json.dumps(body, sort_keys=True))
    return {
        name: [len(found), sha256("\n".join(sorted(found)).encode()).hexdigest()]
        for name, found in sorted(bodies.items())
    }


def _planned_suite() -> Iterator[Attempt]:
    conditions = [
        Condition(model="gpt-oss-small", api=api, mode=mode) for api in BOTH_APIS for mode in MODES
    ]
    calling = ToolCalling(load_suite(), conditions, tries=5, sampling=Sampling(max_turns=10))
    yield from calling.all_attempts()
    options = ProbeOptions("gpt-oss-small", BOTH_APIS, golden=fitting("gpt-oss-small"))
    for task in probe_tasks(choose("full").probes, options):
        yield from task.all_attempts()


def _planned_evals() -> Iterator[Attempt]:
    conditions = [
        Condition(model="gpt-oss-small", effort=effort, api="responses", mode="non-streaming")
        for effort in ("low", "high")
    ]
    sampling = Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072)
    settings = RunSettings(apis=("responses",), modes=("non-streaming",), concurrency=1)
    for name in sorted(NAMES):
        task = EvalTask(load_data(name, "samples"), conditions, 2, sampling, settings)
        yield from task.all_attempts()


# Helpers.


_JUDGED: dict[str, dict[str, bytes]] = {}
"""By the name of a run, what judging it wrote: several characterizations read the same runs."""


def _write_judgement(run: Path, baseline: Path | None = None) -> None:
    """Judge a run and store the analysis in its folder."""
    if run.name in _JUDGED:
        for name, data in _JUDGED[run.name].items():
            (run / name).write_bytes(data)
        return
    named = read_run_info(run).settings.baseline is not None
    judge_and_report(run, None, _baseline(baseline) if named else {})
    written = (run_folder.ANALYSIS_FILE, run_folder.SCORES_FILE)
    _JUDGED[run.name] = {name: (run / name).read_bytes() for name in written}


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _name(condition: str) -> str:
    """The name of a condition: `responses/streaming`, or `aime25 gpt-oss-small/low`."""
    scored = re.fullmatch(r"(\w+), (\S+), (\w+) effort", condition)
    if scored is not None:
        return "{} {}/{}".format(*scored.groups())
    api, separator, mode = condition.partition(" · ")
    return f"{api}/{mode}" if separator else condition


def _estimate(one: Estimate) -> list[float]:
    return [one.value, one.low, one.high]


def _percentiles(one: Percentiles | None) -> Figures | None:
    if one is None:
        return None
    return {"count": one.count, "p50": one.p50, "p90": one.p90, "p99": one.p99}
