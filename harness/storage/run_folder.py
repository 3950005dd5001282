"""What a run folder holds besides its log: the cases it asked, its analysis, its report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import RunLogError
from harness.records.analysis import Analysis
from harness.records.judgements import Examination, Judgement
from harness.records.runs import RunInfo
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE
from harness.tasks.cases import Suite, load_suite

CASES_FILE = "cases.jsonl"
TOOLS_FILE = "tools.json"
GOLDEN_FILE = "golden.json"
ANALYSIS_FILE = "analysis.json"
JUDGEMENTS_FILE = "judgements.jsonl"
REPORT_FILE = "report.md"
PAGE_FILE = "report.html"
JUNIT_FILE = "junit.xml"
PROVIDER_LOG = "provider.log"
SCORES_FILE = "scores.jsonl"
DERIVED = (ANALYSIS_FILE, JUDGEMENTS_FILE, SCORES_FILE, REPORT_FILE, PAGE_FILE, JUNIT_FILE)
"""What judging and reporting make of the rest, and can make again."""

COMPARED = {"applicable", "reply_ids", "first_input"}
_JUDGED: TypeAdapter[Judgement | Examination] = TypeAdapter(Judgement | Examination)
_UNFIT_FOR_A_NAME = re.compile(r"[^\w.@+-]+")


def create(parent: Path, provider: str, now: datetime) -> Path:
    """Make a new folder `<provider>-<time>` below `parent`. Raises RunLogError."""
    stem = f"{_UNFIT_FOR_A_NAME.sub('-', provider)}-{now:%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = parent / f"{stem}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunLogError(f"{folder} cannot be made: {error.strerror}.") from None
        return folder
    raise RunLogError(f"{parent} is full of runs called {stem}; name another folder with --out.")


def write_suite(folder: Path, suite: Suite) -> None:
    """Keep the cases and tools as they were read, so that the run can be judged again."""
    write_text(folder / CASES_FILE, suite.cases_file.text)
    write_text(folder / TOOLS_FILE, suite.tools_file.text)


def read_suite(folder: Path, info: RunInfo) -> Suite:
    """The cases that a run asked.

    Raises:
        ConfigurationError: If they are missing.
        RunLogError: If they are not those that `run.json` speaks of.
    """
    suite = load_suite(folder / CASES_FILE, folder / TOOLS_FILE)
    hashes = (suite.cases_file.sha256, suite.tools_file.sha256)
    if hashes != (info.cases_sha256, info.tools_sha256):
        raise RunLogError(
            f"{CASES_FILE} or {TOOLS_FILE} in {folder} was changed after the run; put them back."
        )
    return suite.first(info.settings.first_cases)


def discard_unused(folder: Path) -> bool:
    """Whether nothing was sampled in a run; then its folder goes, save a provider's output."""
    log, output = folder / ROLLOUTS_FILE, folder / PROVIDER_LOG
    if log.exists() and log.stat().st_size:
        return False
    if output.exists() and output.stat().st_size:
        return True
    written = (RUN_FILE, CASES_FILE, TOOLS_FILE, GOLDEN_FILE)
    for path in (log, output, *(folder / name for name in written)):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
    return True


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write `analysis.json`."""
    write_text(folder / ANALYSIS_FILE, analysis.model_dump_json(indent=2) + "\n")


def read_analysis(folder: Path) -> Analysis:
    """Read `analysis.json`. Raises RunLogError."""
    path = folder / ANALYSIS_FILE
    try:
        return Analysis.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunLogError(
            f"{folder} has no {ANALYSIS_FILE}; make it with: gpt-oss-verify recheck {folder}"
        ) from None
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError:
        raise RunLogError(
            f"{path} was written by another version; make it again with: "
            f"gpt-oss-verify recheck {folder}"
        ) from None


def write_judgements(folder: Path, judged: Iterable[Examination]) -> None:
    """Write `judgements.jsonl`: what was judged of each rollout, one a line. Raises RunLogError.

    What only serves to compare rollouts with each other is left out.
    """
    path = folder / JUDGEMENTS_FILE
    draft = path.with_name(f"{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            for one in judged:
                file.write(one.model_dump_json(exclude=COMPARED).encode() + b"\n")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunLogError(f"{path} cannot be written: {error.strerror}.") from None


def read_judgements(folder: Path) -> Iterator[Examination]:
    """What was judged of each rollout; a `Judgement` where it was an attempt at a case.

    Raises:
        RunLogError: The file is not there, or not of this version.
    """
    path = folder / JUDGEMENTS_FILE
    try:
        with path.open("rb") as file:
            for line in file:
                yield _JUDGED.validate_json(line)
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError:
        raise RunLogError(
            f"{path} was written by another version; make it again with: "
            f"gpt-oss-verify recheck {folder}"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a file of the run in one step. Raises RunLogError."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunLogError(f"{path} cannot be written: {error.strerror}.") from None
