"""A folder of runs: which there are, and which came before another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from evals.comparison.history import history
from evals.comparison.news import news
from evals.comparison.reading import read_run
from evals.comparison.records import History, News
from evals.comparison.settings import moving, settings_of
from evals.records import EVAL_RUN, EvalRunInfo
from evals.results import EvalAnalysis
from evals.run_folder import read_analysis as read_eval_analysis
from evals.run_folder import read_eval_info
from harness.errors import HarnessError, RunLogError
from harness.records.analysis import Analysis
from harness.records.runs import RunInfo
from harness.storage.run_folder import read_analysis, write_text
from harness.storage.run_log import RUN_FILE, SMOKE_TEST, read_run_info, run_kind

NEWS_FILE = "news.json"

Info: TypeAlias = RunInfo | EvalRunInfo


def folders(parent: Path) -> list[Path]:
    """The run folders right below `parent`, by name. Raises RunLogError if it is none."""
    try:
        return sorted(path.parent for path in parent.glob(f"*/{RUN_FILE}"))
    except OSError as error:
        raise RunLogError(f"{parent} cannot be read: {error.strerror}.") from None


def info_of(folder: Path) -> Info:
    """The `run.json` of either kind of run. Raises RunLogError."""
    kind = run_kind(folder)
    if kind == SMOKE_TEST:
        return read_run_info(folder)
    if kind == EVAL_RUN:
        return read_eval_info(folder)
    raise RunLogError(f"{folder} is a run of a kind that this version does not know: {kind}.")


def previous(folder: Path) -> Path | None:
    """The latest finished run before this one beside it, of the same provider and settings.

    Same settings: those that can move a result. How much was asked may differ.
    """
    info = info_of(folder)
    earlier = [
        (other.started_at, path)
        for path, other in _readable(folder.resolve().parent)
        if path.name != folder.resolve().name and _precedes(other, info)
    ]
    return max(earlier, default=(None, None))[1]


def history_of(parent: Path, provider: str | None) -> History:
    """All judged runs in a folder, or those of one provider, in time.

    A run that cannot be read, or was never judged, is left out and named.

    Raises:
        RunLogError: The folder cannot be read.
    """
    analyses: list[tuple[str, Analysis | EvalAnalysis]] = []
    unread = []
    for folder in folders(parent):
        try:
            if provider is None or info_of(folder).provider.name == provider:
                analyses.append((str(folder), _analysis(folder)))
        except RunLogError as error:
            unread.append(str(error))
    return history(str(parent), analyses, unread)


def write_news(folder: Path) -> None:
    """Keep what is new in a run since the one before it beside its records, for its reports.

    Where there is no run before it, or one that cannot be read, nothing is kept: nobody asked for
    it, and the report of a run must not fail for the sake of another.

    Raises:
        RunLogError: The file cannot be written.
    """
    found = _news(folder)
    if found is None:
        (folder / NEWS_FILE).unlink(missing_ok=True)
    else:
        write_text(folder / NEWS_FILE, found.model_dump_json(indent=2) + "\n")


def read_news(folder: Path) -> News | None:
    """What was kept by `write_news`; None where there is nothing that this version can read."""
    try:
        return News.model_validate_json((folder / NEWS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _news(folder: Path) -> News | None:
    try:
        before = previous(folder)
        return None if before is None else news(read_run(folder), read_run(before))
    except HarnessError:
        return None


def _analysis(folder: Path) -> Analysis | EvalAnalysis:
    if run_kind(folder) == EVAL_RUN:
        return read_eval_analysis(folder)
    return read_analysis(folder)


def _readable(parent: Path) -> Iterator[tuple[Path, Info]]:
    for path in folders(parent):
        try:
            yield path, info_of(path)
        except RunLogError:
            continue


def _precedes(other: Info, info: Info) -> bool:
    return (
        type(other) is type(info)
        and other.provider.name == info.provider.name
        and other.finished_at is not None
        and other.started_at < info.started_at
        and not moving(settings_of(other), settings_of(info))
    )
