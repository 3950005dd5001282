"""What changed in a run since the previous run of the same provider, and in which cases."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from harness.compare.columns import Column, read_run, shared_tries
from harness.compare.columns import pair as group_pair
from harness.compare.comparison_types import ChangedCase, CheckChange, Regressions, ScoreChange
from harness.compare.differing_settings import changes, settings_of
from harness.compare.rows import JUDGED, check_pair
from harness.errors import HarnessError, RunLogError
from harness.records.analysis import RuleResult
from harness.records.runs import RunInfo
from harness.run.run_folder import write_text
from harness.run.run_log import RUN_FILE, read_run_info
from harness.statistics.differences import (
    Pair,
    differences,
    fisher_exact,
    p_value,
    significant_cases,
)
from harness.statistics.intervals import ALPHA

REGRESSIONS_FILE = "regressions.json"


def regressions(now: Column, before: Column) -> Regressions | None:
    """What changed from one run to the next; None if they have nothing in common.

    All checks that started or stopped failing are named; cases and scores only if they differ by
    more than chance.
    """
    judged = [
        (result, before.checks[id_])
        for id_, result in now.checks.items()
        if id_ in before.checks and {result.status, before.checks[id_].status} <= JUDGED
    ]
    pairs = {
        key[1]: group_pair(here, before.groups[key])
        for key, here in now.groups.items()
        if key in before.groups
    }
    tested = {name: found for name, found in pairs.items() if isinstance(found, Pair)}
    if not judged and not tested:
        return None
    found = zip(tested, differences(list(tested.values())), strict=True)
    return Regressions(
        run=now.entry.label,
        previous=before.entry.label,
        previous_at=before.entry.started_at or "",
        broken=tuple(_change(here, there) for here, there in judged if _broken(here, there)),
        fixed=tuple(_change(here, there) for here, there in judged if _broken(there, here)),
        cases=changed_cases(now, before),
        scores=tuple(
            ScoreChange(name=name, difference=one) for name, one in found if one.seen != "none"
        ),
    )


def changed_cases(now: Column, before: Column) -> tuple[ChangedCase, ...]:
    """The cases that differ beyond chance, lowest p-value first, without graded scores."""
    tables = [
        (key[1], sample, _counts(ours), _counts(theirs))
        for key, here in now.groups.items()
        if key in before.groups
        for sample, ours, theirs in shared_tries(here, before.groups[key])
        if {*ours, *theirs} <= {0.0, 1.0}
    ]
    significant = significant_cases([(here, there) for _, _, here, there in tables])
    found = [
        ChangedCase(sample=sample, group=group, here=here, there=there, p=fisher_exact(here, there))
        for (group, sample, here, there), sure in zip(tables, significant, strict=True)
        if sure
    ]
    return tuple(sorted(found, key=lambda case: (case.p, case.group, case.sample)))


def previous_run(folder: Path) -> Path | None:
    """The latest earlier finished run in the same parent folder that is comparable, if any.

    A comparable run has the same provider, a task in common, and the same settings as far as they
    can change a result of that task. Its number of tries and samples may differ.
    """
    info = read_run_info(folder)
    here = folder.resolve()
    earlier = [
        (other.started_at, path)
        for path, other in _readable(here.parent)
        if path.name != here.name and _precedes(other, info)
    ]
    return max(earlier, default=(None, None))[1]


def regressions_of(now: Column) -> Regressions | None:
    """What changed in a run since its previous run, if that exists and can be read."""
    if now.entry.kind != "run" or now.entry.place is None:
        return None
    try:
        before = previous_run(Path(now.entry.place))
        return None if before is None else regressions(now, read_run(before))
    except HarnessError:
        return None


def write_regressions(folder: Path) -> None:
    """Write `regressions.json`, or remove it if there is no earlier run that can be read."""
    found = None
    with suppress(HarnessError):
        found = regressions_of(read_run(folder)) if previous_run(folder) else None
    if found is None:
        (folder / REGRESSIONS_FILE).unlink(missing_ok=True)
    else:
        write_text(folder / REGRESSIONS_FILE, found.model_dump_json(indent=2) + "\n")


def read_regressions(folder: Path) -> Regressions | None:
    """What `write_regressions` wrote; None if there is nothing that this version can read."""
    try:
        return Regressions.model_validate_json((folder / REGRESSIONS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def run_folders(parent: Path) -> list[Path]:
    """The run folders directly in `parent`, by name."""
    return sorted(path.parent for path in parent.glob(f"*/{RUN_FILE}"))


def _counts(tries: Sequence[float]) -> tuple[int, int]:
    return round(sum(tries)), len(tries)


def _broken(now: RuleResult, before: RuleResult) -> bool:
    return now.status == "failed" and before.status != "failed"


def _change(now: RuleResult, before: RuleResult) -> CheckChange:
    pair = check_pair(now, before)
    return CheckChange(
        id=now.check.id,
        before=before.status,
        after=now.status,
        here=(now.failures, now.applicable),
        there=(before.failures, before.applicable),
        beyond_chance=pair is not None and p_value(pair.run, pair.reference) < ALPHA,
    )


def _readable(parent: Path) -> Iterator[tuple[Path, RunInfo]]:
    for path in run_folders(parent):
        try:
            yield path, read_run_info(path)
        except RunLogError:
            continue


def _precedes(other: RunInfo, info: RunInfo) -> bool:
    return (
        other.provider.name == info.provider.name
        and other.finished_at is not None
        and other.started_at < info.started_at
        and not {task.name for task in other.tasks}.isdisjoint(task.name for task in info.tasks)
        and not changes(settings_of(other), settings_of(info), moving=True)
    )
