"""How an eval run ends for the user: analysis and report in its folder, results, exit code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from evals.judging import judge as judge_run
from evals.judging import restored_plan
from evals.results import CellResult, EvalAnalysis
from evals.run_folder import read_analysis, read_eval_info, read_scores, write_analysis

from harness.cli.eval_options import EvalGateOptions
from harness.cli.formats import FILES, FORMATS, Format
from harness.cli.screen import print_raw, stdout
from harness.errors import RunLogError
from harness.storage.run_folder import write_text
from harness.storage.run_log import read_rollouts
from harness.verdict.gate import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from reports import words
from reports.eval_markdown import render_eval_markdown
from reports.eval_terminal import print_eval_analysis
from reports.html.evals import render_eval_html
from reports.junit import render_eval_junit

_GATE = EvalGateOptions()


def judge(folder: Path, gate: EvalGateOptions = _GATE) -> EvalAnalysis:
    """Judge a run folder, and write the analysis and all reports into it."""
    analysis = judge_run(folder, gate.changes())
    write_analysis(folder, analysis)
    _write(folder, analysis, FORMATS, show_questions=gate.show_questions)
    return analysis


def held_to(analysis: EvalAnalysis) -> dict[str, object]:
    """What a run was held to when it was judged, as changes of its settings."""
    settings = analysis.run.settings
    names = ("baseline", "margin", "margins", "must_ask", "origins")
    return {name: getattr(settings, name) for name in names}


def finish(folder: Path, gate: EvalGateOptions = _GATE, *, as_json: bool) -> int:
    """Judge a run folder, say what came of it, and give the exit code."""
    analysis = judge(folder, gate)
    if as_json:
        print_raw(json.dumps(summary(analysis, folder), ensure_ascii=False, indent=2))
    else:
        print_eval_analysis(analysis, str(folder), stdout())
    return exit_code(analysis)


def exit_code(analysis: EvalAnalysis) -> int:
    """The exit status that says the verdict; a run without one has done what it was asked."""
    if analysis.decision is None or analysis.decision == "pass":
        return EXIT_PASS
    return EXIT_FAIL if analysis.decision == "fail" else EXIT_INCONCLUSIVE


def write_reports(
    folder: Path, formats: Sequence[Format], *, show_questions: bool = False
) -> list[Path]:
    """Make reports again, and judge again first what this version cannot read or nobody judged.

    Raises:
        RunLogError: The folder is not that of an eval run, is damaged, or cannot be written to.
    """
    try:
        analysis = read_analysis(folder)
        next(iter(read_scores(folder)), None)
    except RunLogError:
        analysis = judge_run(folder, {})
        write_analysis(folder, analysis)
    _write(folder, analysis, formats, show_questions=show_questions)
    return [folder / FILES[each] for each in formats]


def _write(
    folder: Path, analysis: EvalAnalysis, formats: Sequence[Format], *, show_questions: bool
) -> None:
    """Write reports; the text of gated questions is in them only if asked for."""
    texts = question_texts(folder) if show_questions else {}
    for each in formats:
        if each != "json":
            write_text(folder / FILES[each], text(folder, analysis, each, texts))


def text(
    folder: Path, analysis: EvalAnalysis, form: Format, texts: Mapping[tuple[str, str], str]
) -> str:
    """One of the reports but `analysis.json`, as it is written."""
    if form == "md":
        return render_eval_markdown(analysis, texts)
    if form == "junit":
        return render_eval_junit(analysis)
    return render_eval_html(analysis, read_scores(folder), read_rollouts(folder), texts)


def summary(analysis: EvalAnalysis, folder: Path) -> Mapping[str, object]:
    """Verdict and figures as JSON values, for machines; the questions stay in the folder."""
    return {
        "version": analysis.version,
        "run": str(folder),
        "decision": analysis.decision,
        "reasons": list(analysis.reasons),
        "exit_code": exit_code(analysis),
        "complete": analysis.complete,
        "seal": words.seal(analysis.run.seals),
        "cells": [_cell(cell) for cell in analysis.cells],
    }


def _cell(cell: CellResult) -> dict[str, object]:
    return cell.model_dump(mode="json", exclude={"hardest"})


def question_texts(folder: Path) -> dict[tuple[str, str], str]:
    """The text of each question by eval and id."""
    plan = restored_plan(folder, read_eval_info(folder))
    return {
        (name, question.id): question.text
        for name, questions in plan.questions.items()
        for question in questions
    }
