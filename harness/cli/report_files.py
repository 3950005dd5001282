"""The files that a smoke test is reported in, and how each is made from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from evals.comparison.runs_folder import read_news, write_news
from harness.cli.formats import FILES, FORMATS, Format
from harness.errors import RunLogError
from harness.records.analysis import Analysis
from harness.records.runs import Thresholds
from harness.storage import run_folder
from harness.storage.run_log import read_rollouts, read_run_info
from harness.verification import smoke
from reports.html.smoke import render_html
from reports.junit import render_junit
from reports.markdown import render_markdown


def judge(folder: Path, thresholds: Thresholds | None = None) -> Analysis:
    """Judge a run folder; write `analysis.json`, `judgements.jsonl` and all reports into it."""
    analysis = _judge(folder, thresholds)
    _write(folder, analysis, FORMATS)
    return analysis


def write_reports(folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Make reports again, and judge again first what this version cannot read or nobody judged.

    Raises:
        RunLogError: The folder is not that of a run, is damaged, or cannot be written to.
    """
    _write(folder, _judged(folder), formats)
    return [folder / FILES[each] for each in formats]


def _judged(folder: Path) -> Analysis:
    read_run_info(folder)
    try:
        analysis = run_folder.read_analysis(folder)
        next(iter(run_folder.read_judgements(folder)), None)
    except RunLogError:
        return _judge(folder, None)
    return analysis


def _judge(folder: Path, thresholds: Thresholds | None) -> Analysis:
    keep = partial(run_folder.write_judgements, folder)
    analysis = smoke.judge(folder, thresholds, keep)
    run_folder.write_analysis(folder, analysis)
    if analysis.complete:
        write_news(folder)
    return analysis


def _write(folder: Path, analysis: Analysis, formats: Sequence[Format]) -> None:
    for each in formats:
        if each != "json":
            run_folder.write_text(folder / FILES[each], text(folder, analysis, each))


def text(folder: Path, analysis: Analysis, form: Format) -> str:
    """One of the reports but `analysis.json`, as it is written."""
    if form == "md":
        return render_markdown(analysis, read_news(folder))
    judged = run_folder.read_judgements(folder)
    if form == "junit":
        return render_junit(analysis, judged)
    suite = run_folder.read_suite(folder, analysis.run)
    prompts = {case.id: case.prompt for case in suite.cases}
    return render_html(analysis, judged, read_rollouts(folder), prompts, read_news(folder))
