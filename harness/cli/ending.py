"""How a run ends for the user: analysis and report in its folder, results on stdout, exit code."""

from __future__ import annotations

import json
from pathlib import Path

from evals.comparison.runs_folder import read_news
from harness.cli import report_files
from harness.cli.screen import print_raw, stdout
from harness.records.analysis import Analysis
from harness.records.runs import Thresholds
from harness.verdict.gate import exit_code
from reports import words
from reports.terminal import print_analysis


def judge(folder: Path, thresholds: Thresholds | None = None) -> Analysis:
    """Judge a run folder, and write the analysis and all reports into it."""
    return report_files.judge(folder, thresholds)


def finish(folder: Path, thresholds: Thresholds | None = None, *, as_json: bool) -> int:
    """Judge a run folder, say what came of it, and give the exit code."""
    analysis = judge(folder, thresholds)
    if as_json:
        print_raw(summary(analysis, folder))
    else:
        print_analysis(analysis, str(folder), stdout(), read_news(folder))
    return exit_code(analysis.verdict)


def summary(analysis: Analysis, folder: Path) -> str:
    """Verdict and figures as JSON, for machines; examples and worst cases stay in the folder."""
    whole = analysis.model_dump(mode="json")
    checks = [
        {"id": result["check"]["id"]}
        | {key: result[key] for key in ("status", "reason", "applicable", "failures", "groups")}
        for result in whole["checks"]
    ]
    chosen = {
        "version": whole["version"],
        "run": str(folder),
        "verdict": whole["verdict"],
        "exit_code": exit_code(analysis.verdict),
        "complete": whole["complete"],
        "seal": words.seal(analysis.run.seals),
        "groups": whole["groups"],
        "checks": checks,
    }
    return json.dumps(chosen, ensure_ascii=False, indent=2)
