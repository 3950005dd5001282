"""Judge a run, report it in its folder and on stdout, and choose the exit code."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from heapq import nlargest
from operator import itemgetter
from pathlib import Path

from evals.restoring import all_tasks
from evals.task import EvalTask
from gpt_oss_verify.progress import display
from gpt_oss_verify.resolve import server_options
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.compare.key_figures import result_summary
from harness.compare.previous_run import since_previous
from harness.errors import RunLogError
from harness.records.analysis import Analysis
from harness.records.runs import RunInfo
from harness.records.scores import Score
from harness.records.settings import Thresholds
from harness.run import run_folder
from harness.run.run_log import read_chosen, read_run_info
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.gate import exit_code
from harness.verdict.judge import Judge
from harness.verdict.reference_rate import target_of
from reports.build import Texts, build_report
from reports.ci import render_junit
from reports.comparison import change_sentences, worst_changes
from reports.html.report import render_html
from reports.html.transcripts import MOST_BYTES
from reports.markdown import render_markdown
from reports.model import Report
from reports.terminal import print_report
from reports.text import counted, moment, visible


def judge_and_report(
    folder: Path,
    thresholds: Thresholds | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    show_questions: bool = False,
    judge: Judge | None = None,
    most_bytes: int = MOST_BYTES,
) -> Report:
    """Judge a run, and write its scores, its analysis and all reports into its folder.

    `thresholds` and `changes` replace its own thresholds and settings. `judge` has read a part of
    the log; `most_bytes` limits the transcripts of its page. Raises ConfigurationError
    if a file of a task or the baseline cannot be read, and RunLogError if the folder cannot.
    """
    info = with_settings(read_run_info(folder), changes)
    judge = judge or Judge(folder, all_tasks(folder, info))
    judge.read()
    analysis, scores = judge.judged(info, thresholds)
    run_folder.write_scores(folder, scores)
    run_folder.write_analysis(folder, analysis)
    run_folder.write_internal_errors(folder, analysis.verdict.internal_errors)
    texts = _texts(judge.tasks, show_questions=show_questions)
    try:
        return _write_reports(folder, analysis, scores, texts, most_bytes)
    except RunLogError:  # such as of a full disk: the verdict is known
        verdict = analysis.verdict
        say(f"{(verdict.decision or 'scored').upper()}  {' '.join(verdict.reasons[:1])}")
        raise


def judge_and_print(
    folder: Path,
    thresholds: Thresholds | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    show_questions: bool = False,
    judge: Judge | None = None,
    as_json: bool = False,
    durations: int = 0,
) -> int:
    """Judge and report a run, print the report and its longest attempts, and return the exit code.

    Raises the errors of `judge_and_report`.
    """
    with display(read_run_info(folder), debug=False) as screen:
        screen.stage("judging")
        made = judge_and_report(
            folder, thresholds, changes, show_questions=show_questions, judge=judge
        )
    if as_json:
        print_raw(json.dumps(summary(made.analysis, folder), ensure_ascii=False, indent=2))
    else:
        print_report(made, stdout())
    for line in _longest(folder, durations) if durations else ():
        (say if as_json else show)(line)
    return exit_code(made.analysis.verdict)


def _longest(folder: Path, most: int) -> Iterator[str]:
    """Yield the attempts that took longest, in seconds of all their requests."""
    took = (
        (max(sum(each.total for each in score.timing), score.seconds or 0.0), score)
        for score in run_folder.read_scores(folder)
    )
    yield "Longest attempts:"
    for seconds, score in nlargest(most, took, key=itemgetter(0)):
        requests = counted(score.requests, "request")
        yield f"{seconds:9.2f} s  {visible(score.record)} ({requests}, {score.outcome})"


def summary(analysis: Analysis, folder: Path) -> Mapping[str, object]:
    """Verdict and figures as JSON values; evidence and failed samples are in the folder."""
    whole = analysis.model_dump(mode="json")
    thresholds = analysis.verdict.thresholds
    shown_thresholds = whole["verdict"]["thresholds"]
    for counts in ("reference_cases", "reference_rules"):
        shown_thresholds.pop(counts)
    shown_thresholds["rule"] = "guide" if thresholds.by_guide else "success_rate"
    shown_thresholds["reference"] = target_of(thresholds).reference
    shown = ("status", "applicable", "failures", "counts")
    return {
        "version": whole["version"],
        "run": str(folder),
        "verdict": whole["verdict"],
        "diagnosis": whole["diagnosis"],
        "exit_code": exit_code(analysis.verdict),
        "complete": whole["complete"],
        "summary": result_summary(analysis).model_dump(mode="json"),
        "results": [
            {name: value for name, value in result.items() if name != "failures"}
            for result in whole["results"]
        ],
        "checks": [
            {"id": check.check.id, "reason": check.reason} | {name: fields[name] for name in shown}
            for check, fields in zip(analysis.checks, whole["checks"], strict=True)
        ],
        "clients": whole["clients"],
        "retest": whole["retest"],
    }


def with_settings(info: RunInfo, changes: Mapping[str, object] | None) -> RunInfo:
    """Return `run.json` with changed settings."""
    settings = info.settings.model_copy(update=dict(changes or {}))
    return info.model_copy(update={"settings": settings})


def _write_reports(
    folder: Path, analysis: Analysis, scores: Iterable[Score], texts: Texts, most_bytes: int
) -> Report:
    """Write the reports of a judged run. Raises RunLogError."""
    since = since_previous(folder) if analysis.complete else None
    changes: tuple[str, ...] = ()
    if since is not None:
        before, comparison = since
        worst = [f"{text}." for text in (worst_changes(comparison),) if text]
        first, *others = [*worst, *(s for e in comparison.changes for s in change_sentences(e))]
        changes = (f"Since {before[0]} ({moment(before[1])}): {first}", *others)
    made = build_report(
        analysis,
        str(folder),
        regressions=changes,
        texts=texts,
        server=server_options(analysis.run.provider),
    )
    page = render_html(made, scores, partial(read_chosen, folder), most_bytes=most_bytes)
    run_folder.write_text(folder / run_folder.PAGE_FILE, page)
    run_folder.write_text(folder / run_folder.REPORT_FILE, render_markdown(made))
    run_folder.write_text(folder / run_folder.JUNIT_FILE, render_junit(made, scores))
    return made


def _texts(tasks: Sequence[Task], *, show_questions: bool) -> Texts:
    """Prompts of cases and questions of evals; those of gated data only on request."""
    texts: dict[tuple[str, str], str] = {}
    for task in tasks:
        gated = task.info.dataset is not None and task.info.dataset.gated
        if isinstance(task, ToolCalling):
            texts |= {(task.name, case.id): case.prompt for case in task.suite.cases}
        elif isinstance(task, EvalTask) and (show_questions or not gated):
            texts |= {(task.name, question.id): question.text for question in task.test.questions}
    return texts
