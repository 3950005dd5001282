"""The command `history`: all runs of a provider over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.screen import print_raw, stdout
from harness.comparison.history import history_of
from harness.errors import ConfigurationError
from reports.history import print_history


def history(
    *,
    provider: Annotated[str | None, Parameter(alias="-p")] = None,
    runs: Path = Path("runs"),
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Show the runs of a provider over time; `site` makes pages of them.

    Args:
        provider: Only this provider. Default: all.
        runs: The folder with the run folders. Default: runs.
        as_json: Print the history as JSON on stdout.
    """
    if not runs.is_dir():
        raise ConfigurationError(f"There is no folder {runs}; name the one with your runs: --runs.")
    found = history_of(runs, provider)
    if provider is not None and not found.lines and not found.unread:
        raise ConfigurationError(f"There is no run of {provider} in {runs}.")
    if as_json:
        print_raw(found.model_dump_json(indent=2))
    else:
        print_history(found, stdout())
    return 0
