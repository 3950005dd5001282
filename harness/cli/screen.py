"""The two places a command writes to: results to stdout, talk to stderr."""

from __future__ import annotations

from rich.console import Console


def stdout() -> Console:
    """For results. Colours and width follow the terminal and NO_COLOR."""
    return Console(highlight=False, markup=False)


def stderr() -> Console:
    """For progress and talk."""
    return Console(stderr=True, highlight=False, markup=False)
