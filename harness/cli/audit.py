"""Whether a run is still what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from harness.auditing.findings import Audit, Breach
    from harness.auditing.folder import Folder


def audit(
    run: Path,
    /,
    *,
    seal: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Say whether a run is as it was recorded: nothing removed, changed, added or sampled again.

    Exit codes: 0 sound, 1 not, 2 unreadable, 4 nothing vouches for it (an older version made it, or
    it was killed). Only a seal that was noted elsewhere shows that the whole was not made anew.

    Args:
        run: The run's folder, or a bundle of it.
        seal: The seal that the run must have, or its first 16 digits or more.
        as_json: Print the audit as JSON on stdout.
    """
    from harness.bundling.archive import opened
    from harness.cli.screen import print_raw, stdout
    from reports.audit import EXIT_CODES, print_audit

    with opened(run) as folder:
        done = _audit(folder, seal)
    if as_json:
        print_raw(done.model_dump_json(indent=2))
    else:
        print_audit(done, stdout())
    return EXIT_CODES[done.conclusion]


def _audit(path: Path, seal: str | None) -> Audit:
    from harness.auditing import run
    from harness.auditing.folder import read_folder

    folder = read_folder(path)
    judged, notes = _judged(folder)
    return run.audit(folder, judged, notes, seal)


def _judged(folder: Folder) -> tuple[Sequence[Breach], Sequence[str]]:
    """What does not follow from the records, as far as this version can tell."""
    from importlib.metadata import version

    from harness.auditing.findings import Breach
    from harness.cli.formats import FILES
    from harness.cli.rejudging import unfounded
    from harness.errors import ConfigurationError, RunLogError

    if any(breach.kind == "record" for walk in folder.walks for breach in walk.breaches):
        return (), ("the records were not judged again: some cannot be read",)
    ours = folder.judged_by == version("gpt-oss-verify") and not folder.cut
    try:
        found = list(unfounded(folder.path))
    except (ConfigurationError, RunLogError) as error:
        untold = f"the records were not judged again: {error}"
        if isinstance(error, ConfigurationError) or not ours:
            return (), (untold,)
        told = [path.name for path in map(folder.path.joinpath, FILES.values()) if path.exists()]
        return [Breach(kind="judgement", where=name, message=untold) for name in told], (untold,)
    if ours:
        return found, ()
    return (), [f"{one.where} {one.message}" for one in found]
