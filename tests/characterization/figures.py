"""The only link between the characterization tests and the product.

Every function takes stored records (unpacked run folders), judges them offline with the present
code, and returns plain dictionaries in the vocabulary of the field: task, condition (model,
effort, API, mode), sample, attempt, outcome, check, finding. A change of the product's structure
changes the bodies of these functions and nothing else: neither the stored records nor the expected
figures.

Nothing here trusts a stored analysis. Functions that need one (`compared`, `history`, `news`,
`audited`, `bundled`) judge the folder first and write the analysis into it, so give them a copy.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.comparison import comparing
from evals.comparison import news as news_module
from evals.comparison.reading import read_column, read_run
from evals.comparison.records import Comparison, Difference, Flip, Measured, Row
from evals.comparison.runs_folder import history_of, previous
from evals.grader_trial import compare_graders
from evals.healthbench.agreement import Agreement
from evals.healthbench.summary import Figure
from evals.judging import judge as judge_evals
from evals.judging import rejudged
from evals.merging import merge, merged_info
from evals.plan import Plan
from evals.records import EvalSettings, TryScore
from evals.registry import ROWS, load_data, make_eval
from evals.results import CellResult, EvalAnalysis
from evals.run_folder import read_eval_info
from evals.run_folder import write_analysis as write_eval_analysis
from harness.auditing.folder import read_folder
from harness.auditing.run import audit
from harness.bundling.archive import unpack
from harness.cli import app, eval_ending, quick_evals
from harness.configuration.providers import adhoc_provider
from harness.dialects import DIALECTS
from harness.records.analysis import Analysis, CheckResult, Estimate, GroupAnalysis, Percentiles
from harness.records.judgements import Examination, Judgement
from harness.records.runs import RunSettings
from harness.samples.attempts import Attempt
from harness.samples.cases import load_suite
from harness.storage import run_folder
from harness.storage.run_log import SMOKE_TEST, run_kind
from harness.verdict.gate import exit_code
from harness.verification import catalogue, smoke
from reports.audit import EXIT_CODES

Figures = dict[str, Any]

TOOL_CALLING = "tool_calling"
_MODES = {"stream": "streaming", "whole": "non-streaming"}
_NUMBER = r"[\d.]+"


# Judging a run.


def judged(run: Path, baseline: Path | None = None) -> Figures:
    """The verdict and all figures of one run, from its records alone.

    Args:
        run: The run folder; nothing is written into it.
        baseline: The baseline file, for a run that names one. Runs store the path as it was typed.
    """
    if run_kind(run) == SMOKE_TEST:
        return _judged_requests(run)
    return _judged_evals(run, baseline)


def _judged_requests(run: Path) -> Figures:
    """A run of tool calls and probes."""
    examined: list[Examination] = []
    analysis = smoke.judge(run, None, examined.extend)
    settings = analysis.run.settings
    same = {"model": analysis.run.provider.model, "effort": settings.reasoning_effort}
    return {
        "verdict": analysis.verdict.decision,
        "exit_code": exit_code(analysis.verdict),
        "complete": analysis.complete,
        "reasons": [_reason(text) for text in analysis.verdict.reasons],
        "left_out_samples": analysis.bad_lines,
        "probe_requests": {"planned": analysis.probe_requests, "made": analysis.probe_answers},
        "conditions": [
            {"task": TOOL_CALLING, **same, **_condition(group)} for group in analysis.groups
        ],
        "attempts": dict(sorted(_attempt(one) for one in examined if isinstance(one, Judgement))),
        "checks": {result.check.id: _check(result) for result in analysis.checks},
        "findings": _findings(examined),
        "failed_samples": [
            {
                "sample": case.sample,
                "condition": _name(case.group),
                "passed": case.passed,
                "attempts": case.tries,
                "outcomes": dict(sorted(case.outcomes.items())),
            }
            for case in analysis.worst_cases
        ],
    }


def _condition(group: GroupAnalysis) -> Figures:
    return {
        "api": group.api,
        "mode": _MODES[group.mode],
        "samples": group.cases,
        "attempts_per_sample": group.tries,
        "planned": group.planned,
        "finished": group.finished,
        "outcomes": dict(sorted(group.outcomes.items())),
        "invalid": group.invalid,
        "exact": group.exact,
        "pass@k": [_estimate(one) for one in group.pass_at],
        "pass^k": [_estimate(one) for one in group.pass_hat],
        "highest_possible": {"pass@k": group.best_pass_at, "pass^k": group.best_pass_hat},
        "tokens": {
            "prompt": group.tokens.input,
            "completion": group.tokens.output,
            "reasoning": group.tokens.reasoning,
            "replies_without_usage": group.tokens.unreported,
        },
        "requests": group.requests,
        "retries": group.retries,
        "seconds": _percentiles(group.latency.total),
        "seconds_to_first_token": _percentiles(group.latency.first_token),
        "tokens_per_second": _percentiles(group.latency.tokens_per_second),
    }


def _attempt(one: Judgement) -> tuple[str, str]:
    words = [one.outcome.kind]
    words += ["exact"] if one.outcome.exact else []
    words += ["invalid"] if one.invalid else []
    key = f"{TOOL_CALLING} {one.sample} {one.api}/{_MODES[one.mode]} {one.attempt}"
    return key, " ".join(words)


def _check(result: CheckResult) -> Figures:
    found: Figures = {"status": result.status, "applicable": result.applicable}
    if result.failures or result.findings:
        found["failures"] = result.failures
        found["findings"] = result.findings
        found["conditions"] = sorted(map(_name, result.groups))
    if result.rate is not None:
        found["rate"] = _estimate(result.rate)
    return found


def _findings(examined: Iterable[Examination]) -> Figures:
    """How many findings each check has, by severity; those of single rollouts."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in examined:
        for finding in one.findings:
            counts[finding.id][finding.severity] += 1
    return {name: dict(sorted(counts[name].items())) for name in sorted(counts)}


def _judged_evals(run: Path, baseline: Path | None) -> Figures:
    scores: list[TryScore] = []
    analysis = rejudged(run, _held_to(baseline), scores.extend)
    return {
        "verdict": analysis.decision,
        "exit_code": eval_ending.exit_code(analysis),
        "complete": analysis.complete,
        "reasons": [_reason(text) for text in analysis.reasons],
        "conditions": [_eval_condition(cell, analysis) for cell in analysis.cells],
        "attempts": dict(sorted(map(_scored, scores))),
    }


def _eval_condition(cell: CellResult, analysis: EvalAnalysis) -> Figures:
    settings = analysis.run.settings
    return {
        "task": cell.cell.eval,
        "model": cell.cell.model,
        "effort": cell.cell.effort,
        "api": settings.api,
        "mode": "streaming" if settings.streaming else "non-streaming",
        "samples": cell.questions,
        "attempts_per_sample": cell.tries,
        "planned": cell.planned,
        "finished": cell.finished,
        "outcomes": dict(sorted(cell.outcomes.items())),
        "score": _estimate(cell.score.estimate),
        "clustered_error": cell.score.clustered_error,
        "error_on_repetition": cell.score.run_error,
        "score_of_openai_script": cell.openai_score,
        "at_k": {
            str(one.k): {
                "pass@k": _estimate(one.pass_at),
                "pass^k": _estimate(one.pass_hat),
                "maj@k": one.majority,
            }
            for one in cell.at_k
        },
        "tokens": {
            "completion": cell.tokens.output,
            "reasoning": _percentiles(cell.tokens.reasoning),
            "answer": _percentiles(cell.tokens.answer),
            "attempts_without_usage": cell.tokens.unreported,
        },
        "seconds": _percentiles(cell.seconds),
        "grader": cell.grader,
        "rubric": None if cell.rubric is None else _rubric(cell),
        "failed_samples": {one.question: one.mean for one in cell.hardest},
        "against_baseline": _against_baseline(cell),
    }


def _rubric(cell: CellResult) -> Figures:
    found = cell.rubric
    assert found is not None
    return {
        "attempts": found.tries,
        "unanswered": found.unanswered,
        "attempts_with_ungraded_items": found.grader_errors,
        "items": found.items,
        "ungraded_items": found.ungraded_items,
        "overall": _rubric_figure(found.overall),
        "tags": {tag: _rubric_figure(figure) for tag, figure in sorted(found.tags.items())},
    }


def _rubric_figure(figure: Figure) -> Figures:
    return {
        "mean": figure.mean,
        "unclipped": figure.unclipped,
        "lowest": figure.low,
        "highest": figure.high,
        "interval": _estimate(figure.interval),
        "bootstrap_deviation": figure.bootstrap_std,
        "attempts": figure.tries,
    }


def _against_baseline(cell: CellResult) -> Figures:
    verdict = cell.verdict
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


def _scored(one: TryScore) -> tuple[str, str]:
    words = [one.outcome, f"{one.score:.6g}"]
    words += [] if one.answer is None else [f"answer={one.answer}"]
    key = f"{one.cell.eval} {one.question} {one.cell.model}/{one.cell.effort} {one.number}"
    return key, " ".join(words)


def _held_to(baseline: Path | None) -> dict[str, object]:
    return {} if baseline is None else {"baseline": str(baseline)}


# Reasons are compared by code and numbers; their wording may change.

_REASONS: tuple[tuple[str, str], ...] = (
    ("nothing_judged", r"Nothing was judged"),
    ("attempts_missing", rf"(?P<missing>{_NUMBER}) of (?P<planned>{_NUMBER}) planned attempts"),
    ("budget", r"Stopped by the budget, max_requests (?P<limit>\d+)"),
    ("too_many_invalid", rf"(?P<condition>.+): (?P<count>{_NUMBER}) invalid of"),
    ("check_failed", r"(?P<check>[\w.]+) failed (?P<failures>\d+) of (?P<applicable>\d+) times"),
    ("check_not_judged", r"(?P<check>[\w.]+) must pass.*, but was not judged"),
    ("check_must_pass", r"(?P<check>[\w.]+) must pass.*, but "),
    ("rate_too_low", r"(?P<condition>.+): (?P<rate>pass.)\d+ is"),
    ("rate_out_of_reach", r"(?P<condition>.+): (?P<rate>pass.)\d+ can be"),
    ("rates_reached", r"\d+ invalid responses; in the weakest group"),
    ("probes_passed", r"(?P<passed>\d+) of (?P<probes>\d+) probes passed, none failed"),
    ("suite_not_complete", r"The gate asks for the suite"),
    ("task_not_asked", r"The gate .*asks for the eval (?P<task>\w+)"),
    ("unfinished", r"The run is not finished"),
    ("shard", r"This is shard (?P<part>\d+) of (?P<parts>\d+)"),
    ("sample_data", r"No score is published about sample questions"),
    ("within_margin", r"(?P<task>\w+), .*: as good as its baseline"),
    ("worse_than_margin", r"(?P<task>\w+), .*: worse than its baseline"),
    ("not_settled", r"(?P<task>\w+), .*: not settled"),
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
            if "condition" in values:
                values["condition"] = _name(values["condition"])
            return {"code": code, **values}
    raise ValueError(f"no code for the reason {text!r}")


# Runs side by side and in time.


def compared(runs: Sequence[str | Path], against: int = 0, baseline: Path | None = None) -> Figures:
    """The comparison of runs, baseline files and published baselines (`range`).

    Args:
        runs: Run folders, which are judged and written to, or other things to compare with.
        against: Which of them is the reference.
        baseline: The baseline file of the runs that name one.
    """
    for run in runs:
        if isinstance(run, Path) and run.is_dir():
            _write_judgement(run, baseline)
    columns = comparing.labelled([read_column(str(run)) for run in runs])
    found = comparing.compare(columns, against, "test")
    return _comparison(found, against)


def _comparison(found: Comparison, against: int) -> Figures:
    rows = [row for row in found.rows if row.differs or not row.section.startswith("Checks")]
    return {
        "columns": [
            {
                "kind": {"smoke test": "run", "eval": "run"}.get(entry.kind, entry.kind),
                "verdict": entry.decision,
                "complete": entry.complete,
                "differing_settings": len(entry.differs),
            }
            for entry in found.entries
        ],
        "against": against,
        "differences_tested": found.tested,
        "rows": {_row_name(row): _row(row) for row in rows},
        "equal_checks": len(found.rows) - len(rows),
        "changed_samples": [
            [_flip(flip) for flip in one.flips]
            for one in sorted(found.flips, key=lambda one: one.label)
        ],
    }


def _row_name(row: Row) -> str:
    kinds = {"Verdict": "verdict", "Pass rates": "rate", "Scores": "score", "Times": "time"}
    kinds |= {"Outcomes": "outcome", "Outcomes of tries": "outcome", "Length and time": "median"}
    kind = "check" if row.section.startswith("Checks") else kinds[row.section]
    name = _name(row.name) if kind == "score" else row.name.replace(" ", "_")
    if kind == "verdict":
        name = {"smoke_test": "requests", "eval": "evals"}[name]
    return " ".join([kind, name, *([] if row.group is None else [f"[{_name(row.group)}]"])])


def _row(row: Row) -> Figures:
    return {
        "values": [None if cell is None else _measured(cell) for cell in row.cells],
        "differences": [None if one is None else _difference(one) for one in row.differences],
        "differs": row.differs,
    }


def _measured(cell: Measured) -> Figures:
    found = {
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "hits": cell.hits,
        "total": cell.total,
        "status": cell.status,
        "verdict": cell.decision,
    }
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


def _flip(flip: Flip) -> Figures:
    return {
        "sample": flip.sample,
        "condition": _name(flip.group),
        "here": list(flip.here),
        "there": list(flip.there),
        "p": flip.p,
        "better": flip.better,
    }


def history(folder: Path, baseline: Path | None = None) -> Figures:
    """All runs of a folder in time, by provider and kind.

    Args:
        folder: A folder of run folders, which are judged and written to.
        baseline: The baseline file of the runs that name one.
    """
    for run in _runs(folder):
        _write_judgement(run, baseline)
    found = history_of(folder, None)
    return {
        "unread": len(found.unread),
        "lines": [
            {
                "provider": line.provider,
                "kind": {"smoke test": "requests", "eval": "evals"}[line.kind],
                "points": [
                    {
                        "run": point.run,
                        "verdict": point.decision,
                        "complete": point.complete,
                        "k": point.k,
                        "pass@k": None if point.pass_at is None else _estimate(point.pass_at),
                        "pass^k": None if point.pass_hat is None else _estimate(point.pass_hat),
                        "failed_checks": point.failed_checks,
                        "tokens": point.tokens,
                        "seconds": point.latency,
                        "scores": {
                            _name(name): _estimate(score)
                            for name, score in sorted(point.scores.items())
                        },
                        "changed_settings": sorted(change.what for change in point.changed),
                        "gap_days": point.gap_days,
                    }
                    for point in line.points
                ],
            }
            for line in found.lines
        ],
    }


def changes_since_previous(run: Path) -> Figures | None:
    """What changed in a run since the previous one of the same provider beside it."""
    before = previous(run)
    if before is None:
        return None
    for one in (before, run):
        _write_judgement(one)
    found = news_module.news(read_run(run), read_run(before))
    if found is None:
        return {"previous": before.name, "changes": None}
    return {
        "previous": before.name,
        "newly_failing_checks": _changed(found.broken),
        "no_longer_failing_checks": _changed(found.fixed),
        "changed_samples": [_flip(flip) for flip in found.flips],
        "changed_rates": {_name(one.name): _difference(one.difference) for one in found.scores},
    }


def _changed(changes: Iterable[Any]) -> Figures:
    return {
        one.id: {
            "before": one.before,
            "after": one.after,
            "failures": list(one.here),
            "failures_before": list(one.there),
            "beyond_chance": one.beyond_chance,
        }
        for one in changes
    }


# Merging, grading, evals after a run.


def merged(runs: Sequence[Path], folder: Path) -> Figures:
    """The figures of shards, or of whole runs, joined in an empty `folder`."""
    info = merged_info(runs)
    folder.mkdir()
    merge(runs, info, folder)
    return judged(folder)


def graders_agreement(run: Path) -> Figures:
    """How far the two graders of a run agree."""
    report = compare_graders(run, ()).report
    return {
        "overall": _agreement(report.overall),
        "tags": {tag: _agreement(one) for tag, one in sorted(report.tags.items())},
        "graded_only_by_second": report.first_ungraded,
        "graded_only_by_first": report.second_ungraded,
    }


def _agreement(one: Agreement) -> Figures:
    counts = [one.both_met, one.first_only, one.second_only, one.neither]
    return {"counts": counts, "rate": one.rate, "kappa": one.kappa}


def joined_exit_code(runs: Sequence[Path]) -> int:
    """The exit code of the main job that made these runs: the most severe one."""
    return quick_evals.joined(*(judged(run)["exit_code"] for run in runs))


# Integrity.


def audited(run: Path, seal: str | None = None) -> Figures:
    """The audit of a run folder or of a folder unpacked from a bundle.

    Reports are not part of the records: findings about them are left out.
    """
    found = audit(read_folder(run), (), (), seal)
    return {
        "conclusion": found.conclusion.replace(" ", "_"),
        "exit_code": EXIT_CODES[found.conclusion],
        "bundle": found.bundle,
        "seal": found.seal,
        "seals": len(found.ended),
        "resumed": len(found.resumed),
        "finished": found.finished is not None,
        "planned": found.planned,
        "logs": {
            log.name: {
                "records": log.records,
                "without_chain": log.unchained,
                "withheld": log.withheld,
            }
            for log in found.logs
        },
        "breaches": dict(sorted(Counter(one.kind for one in found.breaches).items())),
    }


def unbundled(bundle: Path, parent: Path) -> Path:
    """Unpack a bundle below `parent`; the run folder in it."""
    return unpack(bundle, parent)


def bundled(run: Path, bundle: Path) -> Path:
    """Judge a run, which writes to its folder, and pack it into `bundle`."""
    assert command("recheck", str(run)) in {0, 1, 4}
    assert command("bundle", str(run), "--out", str(bundle)) == 0
    return bundle


def command(*arguments: str) -> int:
    """The exit code of a command of the command line, run in this process."""
    return app.run(arguments)


# What is asked, and by which rules.


def rules() -> Figures:
    """Every check and probe with its severity, suite, and the share of attempts it tolerates."""
    return {
        one.about.id: {
            "kind": one.about.kind,
            "severity": one.about.severity,
            "apis": sorted(one.about.apis),
            "modes": sorted(_MODES[mode] for mode in one.about.modes),
            "suite": one.suite,
            "tolerated": one.tolerated,
        }
        for one in catalogue.entries()
    }


def planned_requests() -> Figures:
    """How many attempts each task plans, and a hash of the bodies of their first requests.

    The plan is that of the full suite with all cases, and of the sample questions of all evals.
    """
    bodies: dict[str, list[str]] = defaultdict(list)
    for task, attempt in (*_planned_suite(), *_planned_evals()):
        sample = attempt.sample
        body: Any = sample.raw
        if body is None:
            body = DIALECTS[attempt.api].first_request(
                sample.turns,
                instructions=sample.instructions,
                tools=sample.tools,
                streaming=attempt.streaming,
                settings=attempt.settings,
            )
        mode = "streaming" if attempt.streaming else "non-streaming"
        bodies[f"{task} {attempt.api}/{mode}"].append(json.dumps(body, sort_keys=True))
    return {
        name: [len(found), sha256("\n".join(sorted(found)).encode()).hexdigest()]
        for name, found in sorted(bodies.items())
    }


def _planned_suite() -> Iterator[tuple[str, Attempt]]:
    settings = RunSettings(
        apis=("responses", "chat"),
        streaming=(True, False),
        tries=5,
        max_turns=10,
        strict=False,
        concurrency=1,
        suite="full",
    )
    provider = adhoc_provider("http://localhost/v1", "gpt-oss-small", settings.apis)
    for attempt in smoke._attempts(provider, load_suite(), settings, golden=True):
        task = attempt.sample.id.partition("/")[0].removeprefix("probe:")
        yield (task if attempt.sample.id.startswith("probe:") else TOOL_CALLING), attempt


def _planned_evals() -> Iterator[tuple[str, Attempt]]:
    for name in (*ROWS, "basic"):
        data = load_data(name, "samples")
        settings = EvalSettings(
            evals=(name,),
            models=("gpt-oss-small",),
            efforts=("low", "high"),
            api="responses",
            streaming=False,
            tries={name: 2},
            concurrency=1,
        )
        plan = Plan(settings, {name: make_eval(data)})
        for one in plan.every_try():
            yield name, plan.attempt(one)


# Helpers.


def _write_judgement(run: Path, baseline: Path | None = None) -> None:
    """Judge a run and keep the result in its folder, for what reads it from there."""
    if run_kind(run) == SMOKE_TEST:
        analysis: Analysis = smoke.judge(run, None, partial(run_folder.write_judgements, run))
        run_folder.write_analysis(run, analysis)
    else:
        named = read_eval_info(run).settings.baseline is not None
        write_eval_analysis(run, judge_evals(run, _held_to(baseline) if named else {}))


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _name(condition: str) -> str:
    """The name of a condition: `responses/streaming`, or `aime25 gpt-oss-small/low`."""
    scored = re.fullmatch(r"(\w+), (\S+), (\w+) effort", condition)
    if scored is not None:
        return "{} {}/{}".format(*scored.groups())
    api, separator, mode = condition.partition(" · ")
    return f"{api}/{_MODES[mode]}" if separator else condition


def _estimate(one: Estimate) -> list[float]:
    return [one.value, one.low, one.high]


def _percentiles(one: Percentiles | None) -> Figures | None:
    if one is None:
        return None
    return {"count": one.count, "p50": one.p50, "p90": one.p90, "p99": one.p99}
