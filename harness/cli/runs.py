"""Commands on finished runs; none of them needs the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.options import GateOptions

_GATE = GateOptions()


def recheck(
    run: Path,
    /,
    *,
    gate: GateOptions = _GATE,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
) -> int:
    """Judge a run again from its records, with the checks of this version.

    Args:
        run: The run's folder.
        gate: Other thresholds than the run's own.
        as_json: Print verdict and summary as JSON on stdout.
    """
    from harness.cli import ending
    from harness.run_log import read_run_info

    thresholds = gate.thresholds(read_run_info(run).settings.thresholds)
    return ending.finish(run, thresholds, as_json=as_json)


def report(run: Path, /) -> int:
    """Write the report of a run again from its analysis.

    Args:
        run: The run's folder.
    """
    from harness import run_folder
    from harness.cli import ending
    from harness.cli.screen import stdout

    path = ending.write_report(run, run_folder.read_analysis(run))
    stdout().print(str(path), markup=False, soft_wrap=True)
    return 0
