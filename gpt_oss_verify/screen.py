"""The outputs of a command: results go to stdout, progress and messages to stderr."""

import sys

from rich.console import Console

from harness.text import plain


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError; rich would exit with 1, which is a verdict."""
        raise BrokenPipeError


def stdout() -> Console:
    """For results. Colors and width follow the terminal and NO_COLOR; text has no markup."""
    return _console(stderr=False)


def stderr() -> Console:
    """For progress and messages; text has no markup."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    """A stream that is no terminal gets no escape codes, although CI sets FORCE_COLOR."""
    terminal = None if (sys.stderr if stderr else sys.stdout).isatty() else False
    return _Console(
        stderr=stderr, force_terminal=terminal, highlight=False, markup=False, emoji=False
    )


def say(text: str) -> None:
    """Print a message to stderr, with unprintable characters escaped."""
    _print(stderr(), text)


def show(text: str) -> None:
    """Print a result to stdout, with unprintable characters escaped."""
    _print(stdout(), text)


def _print(console: Console, text: str) -> None:
    shown = plain(text)
    if console.is_terminal:
        from reports.text import wrapped  # with the types of an analysis, which no help needs

        shown = wrapped(shown, console.width)
    console.print(shown, soft_wrap=True)


def print_raw(text: str) -> None:
    """Print machine-readable text to stdout without wrapping, with one line end.

    Raises BrokenPipeError at once if nobody reads it.
    """
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()
