"""Judge a run, report it in its folder and on stdout, and choose the exit code."""

import json
import webbrowser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evals.task import EvalTask
from gpt_oss_verify.choice import gate_changes, thresholds_of_run
from gpt_oss_verify.options import AsJson, BaselineOptions, GateOptions, RunOrBundle, ShowQuestions
from gpt_oss_verify.restoring import restore, unpacked
from gpt_oss_verify.screen import print_raw, say, show, stdout
from harness.compare.history import since_previous
from harness.errors import ConfigurationError, RunLogError
from harness.records.analysis import Analysis
from harness.records.runs import GATE_SETTINGS, RunInfo, Thresholds
from harness.run import run_folder
from harness.run.run_log import read_chosen, read_run_info
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.gate import exit_code
from harness.verdict.judge import judge
from reports.build import Texts, build_report
from reports.ci import render_junit
from reports.comparison_sentences import change_sentences
from reports.html.report import render_html
from reports.markdown import render_markdown
from reports.model import Report
from reports.terminal import print_report
from reports.text import moment

Format = Literal["html", "md", "junit", "json"]
FILES: Mapping[Format, str] = {
    "html": run_folder.PAGE_FILE,
    "md": run_folder.REPORT_FILE,
    "junit": run_folder.JUNIT_FILE,
    "json": run_folder.ANALYSIS_FILE,
}
RENDERED: tuple[Format, ...] = ("html", "md", "junit")


def recheck(
    run: RunOrBundle,
    /,
    *,
    gate: GateOptions = GateOptions(),
    baseline: BaselineOptions = BaselineOptions(),
    show_questions: ShowQuestions = False,
    as_json: AsJson = False,
) -> int:
    """Judge a run again from its records, with the checks of this version."""
    run = unpacked(run)
    thresholds = thresholds_of_run(gate, read_run_info(run))
    changes = {**gate_changes(gate), **baseline.changes()}
    return judge_and_print(run, thresholds, changes, show_questions=show_questions, as_json=as_json)


def report(
    run: RunOrBundle,
    /,
    *,
    form: Annotated[Format | None, Parameter(name="--format")] = None,
    open_page: Annotated[bool, Parameter(name="--open")] = False,
    show_questions: ShowQuestions = False,
) -> int:
    """Write the reports of a run again.

    A run that was judged by another version is judged again first.

    Args:
        form: Write only one of report.html, report.md, junit.xml and analysis.json.
        open_page: Open report.html in the browser.
    """
    formats: tuple[Format, ...] = tuple(FILES) if form is None else (form,)
    if open_page and "html" not in formats:
        raise ConfigurationError("--open opens report.html; leave out --format or make it html.")
    run = unpacked(run)
    rewrite_reports(run, formats, show_questions=show_questions)
    for each in formats:
        show(str(run / FILES[each]))
    if open_page:
        webbrowser.open((run / FILES["html"]).resolve().as_uri())
    return 0


def rewrite_reports(
    run: Path, formats: Iterable[Format], *, show_questions: bool = False
) -> Analysis:
    """Write reports of a run, judged by this version. Raises the errors of `judge_and_report`."""
    tasks = restore(run, read_run_info(run))
    try:
        analysis = run_folder.read_analysis(run)
        next(iter(run_folder.read_scores(run)), None)
    except RunLogError:
        say(f"this version has not judged {run.name} yet; judging it")
        analysis = _judge_and_store(run, read_run_info(run), tasks, None)
    write_reports(run, analysis, tasks, formats, show_questions=show_questions)
    return analysis


def judge_and_report(
    folder: Path,
    thresholds: Thresholds | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    show_questions: bool = False,
) -> Report:
    """Judge a run, and write its scores, its analysis and all reports into its folder.

    `thresholds` and `changes` replace its own thresholds and settings. Raises ConfigurationError
    if a file of a task or the baseline cannot be read, and RunLogError if the folder cannot.
    """
    info = with_settings(read_run_info(folder), changes)
    tasks = restore(folder, info)
    analysis = _judge_and_store(folder, info, tasks, thresholds)
    return write_reports(folder, analysis, tasks, RENDERED, show_questions=show_questions)


def judge_and_print(
    folder: Path,
    thresholds: Thresholds | None = None,
    changes: Mapping[str, object] | None = None,
    *,
    show_questions: bool = False,
    as_json: bool = False,
) -> int:
    """Judge and report a run, print the report, and return the exit code.

    Raises the errors of `judge_and_report`.
    """
    made = judge_and_report(folder, thresholds, changes, show_questions=show_questions)
    if as_json:
        print_raw(json.dumps(summary(made.analysis, folder), ensure_ascii=False, indent=2))
    else:
        print_report(made, stdout())
    return exit_code(made.analysis.verdict)


def summary(analysis: Analysis, folder: Path) -> Mapping[str, object]:
    """Verdict and figures as JSON values; evidence and failed samples are in the folder."""
    whole = analysis.model_dump(mode="json")
    whole["verdict"]["thresholds"].pop("reference_cases")
    shown = ("status", "reason", "applicable", "failures", "counts")
    return {
        "version": whole["version"],
        "run": str(folder),
        "verdict": whole["verdict"],
        "diagnosis": whole["diagnosis"],
        "exit_code": exit_code(analysis.verdict),
        "complete": whole["complete"],
        "seal": analysis.run.seal,
        "results": [
            {name: value for name, value in result.items() if name != "failures"}
            for result in whole["results"]
        ],
        "checks": [
            {"id": each["check"]["id"]} | {name: each[name] for name in shown}
            for each in whole["checks"]
        ],
    }


def write_reports(
    folder: Path,
    analysis: Analysis,
    tasks: Sequence[Task],
    formats: Iterable[Format],
    *,
    show_questions: bool,
) -> Report:
    """Write reports of a judged run. Raises RunLogError."""
    made = _report(folder, analysis, tasks, show_questions=show_questions)
    for each in formats:
        if each != "json":
            run_folder.write_text(folder / FILES[each], _text(folder, made, each))
    return made


def with_settings(info: RunInfo, changes: Mapping[str, object] | None) -> RunInfo:
    """`run.json` with changed settings."""
    settings = info.settings.model_copy(update=dict(changes or {}))
    return info.model_copy(update={"settings": settings})


def gate_of(analysis: Analysis) -> dict[str, object]:
    """The settings with which a run was judged, as `changes` for `judge_and_report`."""
    return {name: getattr(analysis.run.settings, name) for name in GATE_SETTINGS}


def not_reproducible(folder: Path) -> Iterator[str]:
    """The files of a judged run that do not follow from its records.

    Raises RunLogError if this version did not judge it, or a file cannot be read.
    """
    stored = run_folder.read_analysis(folder)
    info = with_settings(read_run_info(folder), gate_of(stored))
    tasks = restore(folder, info)
    fresh, scores = judge(folder, info, tasks, thresholds=stored.verdict.thresholds)
    fresh = fresh.model_copy(update={"run_id": stored.run_id})
    if fresh != stored:
        yield run_folder.ANALYSIS_FILE
    written = map(run_folder.as_written, run_folder.read_scores(folder))
    pairs = zip_longest(map(run_folder.as_written, scores), written)
    if any(one != other for one, other in pairs):
        yield run_folder.SCORES_FILE
        return
    kinds = (False, True) if fresh.evals else (False,)  # without and with the questions of evals
    possible = [_report(folder, fresh, tasks, show_questions=each) for each in kinds]
    for form in RENDERED:
        path = folder / FILES[form]
        if path.exists():
            found = path.is_file() and path.read_text(encoding="utf-8", errors="replace")
            if all(found != _text(folder, made, form) for made in possible):
                yield path.name


def _judge_and_store(
    folder: Path, info: RunInfo, tasks: Sequence[Task], thresholds: Thresholds | None
) -> Analysis:
    analysis, scores = judge(folder, info, tasks, thresholds=thresholds)
    run_folder.write_scores(folder, scores)
    run_folder.write_analysis(folder, analysis)
    return analysis


def _report(
    folder: Path, analysis: Analysis, tasks: Sequence[Task], *, show_questions: bool
) -> Report:
    since = since_previous(folder) if analysis.complete else None
    changes: tuple[str, ...] = ()
    if since is not None:
        before, found = since
        at = f"Since {before[0]} ({moment(before[1])}):"
        first, *others = (each for one in found.changes for each in change_sentences(one))
        changes = (f"{at} {first}", *others)
    return build_report(
        analysis,
        str(folder),
        regressions=changes,
        texts=_texts(tasks, show_questions=show_questions),
    )


def _text(folder: Path, made: Report, form: Format) -> str:
    if form == "md":
        return render_markdown(made)
    scores = run_folder.read_scores(folder)
    if form == "junit":
        return render_junit(made, scores)
    return render_html(made, scores, partial(read_chosen, folder))


def _texts(tasks: Sequence[Task], *, show_questions: bool) -> Texts:
    """Prompts of cases, and on request the questions of evals."""
    texts: dict[tuple[str, str], str] = {}
    for task in tasks:
        if isinstance(task, ToolCalling):
            texts |= {(task.name, case.id): case.prompt for case in task.suite.cases}
        elif isinstance(task, EvalTask) and show_questions:
            texts |= {(task.name, each.id): each.text for each in task.test.questions}
    return texts
