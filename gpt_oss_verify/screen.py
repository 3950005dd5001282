"""The outputs of a command: results go to stdout, progress and messages to stderr."""

import sys

from rich.console import Console

from harness.text import plain


def stdout() -> Console:
    """For results. Colors and width follow the terminal and NO_COLOR; text has no markup."""
    return Console(highlight=False, markup=False, emoji=False)


def stderr() -> Console:
    """For progress and messages; text has no markup."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Print a message to stderr, unwrapped, with unprintable characters escaped."""
    stderr().print(plain(text), soft_wrap=True)


def show(text: str) -> None:
    """Print a result to stdout, unwrapped, with unprintable characters escaped."""
    stdout().print(plain(text), soft_wrap=True)


def print_raw(text: str) -> None:
    """Print machine-readable text to stdout without wrapping, with one line end."""
    sys.stdout.write(text.rstrip("\n") + "\n")
