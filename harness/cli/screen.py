"""The two places a command writes to: results to stdout, talk to stderr."""

from __future__ import annotations

import sys

from rich.console import Console


def stdout() -> Console:
    """For results. Colours and width follow the terminal and NO_COLOR; text is taken literally."""
    return Console(highlight=False, markup=False, emoji=False)


def stderr() -> Console:
    """For progress and talk; text is taken literally."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_raw(text: str) -> None:
    """Print what other programs read straight to stdout, with one line end: consoles wrap."""
    sys.stdout.write(text.rstrip("\n") + "\n")
