"""The command that tells GitHub what came of a run; `ci/verify.sh` calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError


def ci_summary(result: Path, /, *, talk: Path, code: int) -> int:
    """Write step summary, annotations and outputs of a run in a GitHub workflow.

    Args:
        result: What the run printed with --json; empty if there was none.
        talk: What it said on stderr.
        code: Its exit code.
    """
    from harness.cli.screen import print_raw
    from reports import github

    said = _read(result)
    told = _told(said)
    folders = [Path(part["run"]) for part in _parts(told)] or _judged_beside(result)
    lines = _annotations(folders) if told else [*_error(_read(talk), code), *_annotations(folders)]
    for line in lines[: github.MOST_ANNOTATIONS]:
        print_raw(line)
    _append("GITHUB_STEP_SUMMARY", "".join(_read(each / "report.md") for each in folders))
    _append("GITHUB_OUTPUT", github.outputs(_outputs(folders, code)))
    return 0


def _told(said: str) -> Mapping[str, Any]:
    """What the run printed; nothing where it was cut off."""
    try:
        told = json.loads(said)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _judged_beside(result: Path) -> list[Path]:
    """The runs that were judged before the tool ended without a result."""
    judged = (path.parent for path in result.parent.glob("runs/*/analysis.json"))
    return sorted(folder for folder in judged if (folder / "report.md").exists())


def _parts(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The smoke test and the evals, or whichever of them there was."""
    parts = [told.get("smoke_test"), told.get("evals")] if "smoke_test" in told else [told]
    yield from (part for part in parts if part)


def _annotations(folders: list[Path]) -> list[str]:
    from evals.run_folder import read_analysis as read_eval_analysis

    from harness.storage.run_folder import read_analysis
    from harness.storage.run_log import SMOKE_TEST, run_kind
    from reports import github

    lines: list[str] = []
    for folder in folders:
        if run_kind(folder) == SMOKE_TEST:
            lines += github.run_annotations(read_analysis(folder))
        else:
            scored = read_eval_analysis(folder)
            lines += github.verdict_annotations(scored.decision or "pass", scored.reasons)
    return lines


def _error(talk: str, code: int) -> list[str]:
    from reports import github

    last = next((line for line in reversed(talk.splitlines()) if line.strip()), "")
    return [
        github.annotation("error", f"gpt-oss-verify ended with {code}", last or "It is silent.")
    ]


def _outputs(folders: list[Path], code: int) -> dict[str, str]:
    verdicts = {0: "pass", 1: "fail", 4: "inconclusive"}
    found = {"verdict": verdicts.get(code, "error"), "exit-code": str(code)}
    if folders:
        found |= {"report": f"{folders[0]}/report.html", "runs": str(folders[0].parent)}
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None


def _append(variable: str, text: str) -> None:
    """Add to the file that an environment variable names; outside of a workflow there is none."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
