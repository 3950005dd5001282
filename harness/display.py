"""What the user sees while a run goes on: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.records.rollouts import Exchange, Request, Rollout
from harness.sampling.attempts import Attempt
from harness.text.plain import plain

SECONDS_BETWEEN_LINES = 10.0


class Tally(Protocol):
    """Counts rollouts as they finish; its `str` is what the display says of them."""

    @property
    def finished(self) -> int:
        """Everything counted so far."""
        ...

    def add(self, rollout: Rollout) -> None:
        """Count one more rollout."""
        ...


class Progress:
    """How far one stretch of sampling is; a run may have several, counted in one tally."""

    def __init__(self, tally: Tally, finished_before: int) -> None:
        self._tally = tally
        self._before = finished_before
        self._counted_before = tally.finished
        self._began_at = time.monotonic()

    @property
    def done(self) -> int:
        """Attempts finished, those before this stretch included."""
        return self._before + self._tally.finished - self._counted_before

    @property
    def seconds_each(self) -> float | None:
        """Seconds an attempt takes at this rate; None before the first has finished."""
        counted = self._tally.finished - self._counted_before
        return (time.monotonic() - self._began_at) / counted if counted else None


class LiveDisplay:
    """A line that redraws itself; for terminals."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console = console
        self._tally = tally
        self._spinner = Spinner("dots")
        self._stage = "getting ready"
        self._planned = 0
        self._progress = Progress(tally, 0)
        self._pace = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw until the end of the `with` block."""
        with Live(self, console=self._console, refresh_per_second=8, transient=True):
            yield

    def stage(self, text: str) -> None:
        """Say what goes on now."""
        self._stage = text
        self._planned = 0

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Sampling of something begins."""
        self._planned = planned
        self._progress = Progress(self._tally, finished)

    def limit_changed(self, limit: int, most: int) -> None:
        """Say how many requests the provider takes at once, where it is fewer than wanted."""
        self._pace = pace(limit, most)

    def started(self, attempt: Attempt) -> None:
        """Nothing to draw: an attempt counts when it has finished."""

    def finished(self, rollout: Rollout) -> None:
        """Count one more."""
        self._tally.add(rollout)

    def __rich__(self) -> Table:
        line = Table.grid(padding=(0, 1, 0, 0))
        if not self._planned:
            line.add_row(self._spinner, Text(f"{self._stage} …"))
            return line
        done = self._progress.done
        left = f"{done}/{self._planned} · {self._tally}{self._pace} · {self._time_left(done)}"
        bar = ProgressBar(total=self._planned, completed=done, width=20)
        line.add_row(self._spinner, bar, Text(left, no_wrap=True, overflow="ellipsis"))
        return line

    def _time_left(self, done: int) -> str:
        each = self._progress.seconds_each
        if each is None:
            return "time left unknown"
        minutes, seconds = divmod(round(each * (self._planned - done)), 60)
        return f"{minutes}:{seconds:02} left"


class LineDisplay:
    """A line now and then; for logs, pipes and CI."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console = console
        self._tally = tally
        self._planned = 0
        self._progress = Progress(tally, 0)
        self._pace = ""
        self._said_at = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Nothing to set up."""
        yield

    def stage(self, text: str) -> None:
        """Say what goes on now."""
        self._say(f"{text} …")

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Sampling of something begins."""
        self._planned = planned
        self._progress = Progress(self._tally, finished)
        already = f", {finished} of them already done" if finished else ""
        self._say(f"sampling {planned} {what}{already}")

    def limit_changed(self, limit: int, most: int) -> None:
        """Say how many requests the provider takes at once, where it is fewer than wanted."""
        self._pace = pace(limit, most)

    def started(self, attempt: Attempt) -> None:
        """Nothing to say: an attempt counts when it has finished."""

    def finished(self, rollout: Rollout) -> None:
        """Count one more, and say so if it is time."""
        self._tally.add(rollout)
        done = self._progress.done
        if done == self._planned or time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._say(f"{done}/{self._planned} · {self._tally}{self._pace}")

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


class DebugDisplay(LineDisplay):
    """Every request and response besides; keys were redacted when they were recorded."""

    def finished(self, rollout: Rollout) -> None:
        """Print the exchanges of one rollout."""
        for number, exchange in enumerate(rollout.exchanges):
            self._say(f"──── {rollout.id} · request {number + 1}\n{_exchange_text(exchange)}")
        super().finished(rollout)


def display(console: Console, tally: Tally, *, debug: bool) -> LiveDisplay | LineDisplay:
    """The display that suits where stderr goes."""
    if debug:
        return DebugDisplay(console, tally)
    return LiveDisplay(console, tally) if console.is_terminal else LineDisplay(console, tally)


def errors(count: int) -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} error{'' if count == 1 else 's'}"


def pace(limit: int, most: int) -> str:
    """What is said of a provider that is overloaded by `most` requests at once; '' of others."""
    return f" · overloaded, {limit} at once" if limit < most else ""


def _body_text(request: Request) -> str:
    return json.dumps(request.body, ensure_ascii=False) if request.text is None else request.text


def _exchange_text(exchange: Exchange) -> str:
    request = exchange.request
    lines = [f"{request.method} {request.url}", _body_text(request)]
    if exchange.failure is not None:
        lines.append(f"failed: {exchange.failure.kind}: {exchange.failure.message}")
    if exchange.response is not None:
        lines.append(f"status {exchange.response.status} after {exchange.elapsed:.2f} s")
        lines.append(exchange.response.body or "")
        lines.extend(part.raw for part in exchange.response.parts)
    return "\n".join(line for line in lines if line)
