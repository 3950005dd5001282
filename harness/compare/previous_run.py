"""The previous run of a run, and the comparison with it."""

from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from harness.compare.columns import read_run
from harness.compare.compared import compare, labelled
from harness.compare.comparison_types import Comparison
from harness.compare.differing_settings import changes, settings_of
from harness.errors import HarnessError, RunLogError
from harness.records.runs import RunInfo
from harness.run.run_folder import run_folders
from harness.run.run_log import read_run_info


def since_previous(folder: Path) -> tuple[tuple[str, str], Comparison] | None:
    """Return name and time of the previous run, and the comparison with it; None without one."""
    try:
        before = previous_run(folder)
        if before is None:
            return None
        columns = labelled([read_run(before), read_run(folder)])
        name = before.name, read_run_info(before).started_at
        return name, compare(columns, 0, version("gpt-oss-verify"))
    except HarnessError:
        return None


def latest_run(parent: Path, provider: str) -> Path | None:
    """Return the latest finished run of exactly this provider in a folder; no retest or traffic."""
    runs: list[tuple[str, Path]] = []
    for path in run_folders(parent):
        with suppress(RunLogError):
            info = read_run_info(path)
            finished = info.finished_at is not None and info.retest is None
            if finished and info.provider.name == provider and not info.of_kind("traffic"):
                runs.append((info.started_at, path))
    return max(runs, default=(None, None))[1]


def previous_run(folder: Path) -> Path | None:
    """Return the latest earlier finished run in the same parent folder that is comparable, if any.

    A comparable run has the same provider, address, model, APIs and suite, a task in common, and
    the same settings as far as they can change a result of that task. Its number of tries and
    samples may differ. Recorded traffic has none, because recordings have different requests, nor
    has a retest, which is compared with the run that it retests.
    """
    info = read_run_info(folder)
    if info.of_kind("traffic") or info.retest is not None:
        return None
    here = folder.resolve()
    earlier: list[tuple[str, Path]] = []
    for path in run_folders(here.parent):
        with suppress(RunLogError):
            other = read_run_info(path)
            if path.name != here.name and _precedes(other, info):
                earlier.append((other.started_at, path))
    return max(earlier, default=(None, None))[1]


def _precedes(other: RunInfo, info: RunInfo) -> bool:
    return (
        _subject(other) == _subject(info)
        and other.finished_at is not None
        and other.retest is None
        and other.started_at < info.started_at
        and not {task.name for task in other.tasks}.isdisjoint(task.name for task in info.tasks)
        and not changes(settings_of(other), settings_of(info), moving=True)
    )


def _subject(info: RunInfo) -> tuple[object, ...]:
    """Return what a run tests, and with which requests."""
    provider, settings = info.provider, info.settings
    address = provider.launch_command or provider.base_url
    chosen = settings.suite, settings.only, settings.skip
    return provider.name, address, info.model, frozenset(settings.apis), chosen
