"""What the user sees during a run: a live line on a terminal, plain lines elsewhere."""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from evals.grading.grades import grade_of
from evals.grading.requests import GRADING
from gpt_oss_verify.screen import stderr
from gpt_oss_verify.time_left import TimeLeft
from harness.api import DIALECTS
from harness.api.items import UnreadableReplyError
from harness.api.statuses import unanswered
from harness.records.rollouts import Exchange, Rollout
from harness.records.runs import RunInfo
from harness.run.attempts import Attempt
from harness.run.sampling import Observer
from harness.text import plain
from harness.transport.receiver import ARRIVAL, Arrival
from reports.text import clipped, counted, wrapped

SECONDS_BETWEEN_LINES = 10.0
LONG_WAIT = 15.0  # seconds after which the line names what it waits for
_LONG_STAGE = 5.0  # seconds after which the line says how long a stage has taken
_UNUSUAL = 3  # times the mean of the others: a reply that takes longer is named
_TICK = 1.0
_RETRYING = 2.0  # seconds for which the answer to a repeated try is not yet a late reply
_NO_GRADE = "without a grade"  # of a grader's replies; the item is asked again
_BAR, _BESIDE = 20, 16  # columns of the bar, and of everything else before the text
_BOUNDS = "--reply-timeout (also with --resume) or, in a new run, --max-tokens bounds it"
_WAITING = "waiting for"
_IN_SECONDS = 100  # an estimate below is shown in seconds


class Counts:
    """What the progress line says of the replies: nothing that only a judgement can tell."""

    def __init__(self, info: RunInfo) -> None:
        """Count nothing yet; `info` is the `run.json` of the run."""
        self._probes = {task.name for task in info.of_kind("probes")}
        self._replies = self._errors = self._tokens = 0

    def add(self, rollout: Rollout) -> None:
        """Count the exchanges of one rollout. Refusals that probes provoke are not errors."""
        for exchange in rollout.exchanges:
            response = exchange.response
            good = exchange.failure is None and response is not None and response.good_status
            if not good:
                self._errors += rollout.task not in self._probes or unanswered(exchange)
                continue
            self._replies += 1
            with suppress(UnreadableReplyError):  # it was read when it came
                self._tokens += DIALECTS[rollout.api].read(exchange).output_tokens or 0

    def __str__(self) -> str:
        """The counts, without those of errors if there are none."""
        parts = [counted(self._replies, "reply", "replies")]
        parts += [counted(self._errors, "error")] if self._errors else []
        return " · ".join([*parts, f"{self._tokens:,} tokens"])


class LineDisplay(Observer):
    """Prints a line at intervals, for logs, pipes and CI."""

    def __init__(self, console: Console, info: RunInfo) -> None:
        """Print to `console`; `info` is the `run.json` of the run."""
        self._console = console
        self._lock = threading.RLock()  # `tick` reads, in its thread, what the event loop changes
        self._counts = Counts(info)
        self._grades: Counter[str] = Counter()
        self._stage = ("", 0.0)
        self._under_way: dict[str, tuple[str, float, Arrival]] = {}
        self._planned = 0
        self._done = 0
        self._left = TimeLeft({}, 0.0)
        self._took = (0.0, 0)  # seconds of all ended attempts, and their number
        self._refused: Counter[str] = Counter()  # tries that were repeated, by status or failure
        self._again = -math.inf  # when the next of them is sent
        budget = info.settings.budget
        self._deadline = None if budget is None else budget.deadline
        self._opened = time.monotonic()
        self._pace = ""
        self._printed_at = 0.0
        self._bounded = False  # whether the options that bound a reply were named

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Call `tick` every second in a thread."""
        ended = threading.Event()

        def ticks() -> None:
            while not ended.wait(_TICK):
                with suppress(Exception):  # a run does not depend on its display
                    self.tick()

        thread = threading.Thread(target=ticks, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._end_stage()

    def stage(self, text: str) -> None:
        """Print the current activity, after the counts of the attempts before it."""
        self._end_stage()
        self._stage = (text, time.monotonic())
        self.tell(f"{text} …")

    def begin(self, left: Mapping[str, int], finished: int = 0, what: str = "attempts") -> None:
        """Print the number of planned attempts."""
        self._end_stage()
        self._planned = planned = finished + sum(left.values())
        self._done, self._stage = finished, ("", 0.0)
        with self._lock:
            self._left = TimeLeft(left, time.monotonic())
        self._announce(planned, finished, what)

    def _announce(self, planned: int, finished: int, what: str) -> None:
        already = f", {finished} of which are done" if finished else ""
        verb = "sampling" if what == "attempts" else "grading"
        if what == "requests alone":
            self.tell(f"sending {counted(planned, 'failed request')} again, one at a time")
            return
        self.tell(f"{verb} {counted(planned, what.removesuffix('s'))}{already}")

    def before(self, rollout: Rollout) -> None:
        """Learn how long the attempts of an earlier session took."""
        self._left.before(rollout.task, _took(rollout))

    def limit_changed(self, limit: int, most: int) -> None:
        """Note the concurrency that the provider allows, if it is less than requested."""
        self._pace = f" · overloaded, concurrency {limit}" if limit < most else ""

    def started(self, attempt: Attempt) -> None:
        """Remember what is under way, and where its reply arrives: this is the attempt's task."""
        name, arrival, now = f"{attempt.task}/{attempt.sample.id}", Arrival(), time.monotonic()
        ARRIVAL.set(arrival)
        with self._lock:
            self._under_way[attempt.id] = (name, now, arrival)
            self._left.started(attempt.id, attempt.task, now)

    def ended(self, attempt: Attempt) -> None:
        """Wait for an attempt no longer, and learn how long attempts take."""
        with self._lock:
            _, began, _ = self._under_way.pop(attempt.id)
            self._left.stopped(attempt.id)
        seconds, attempts = self._took
        self._took = seconds + time.monotonic() - began, attempts + 1

    def retrying(self, exchange: Exchange, number: int, waited: float) -> None:
        """Count a try that is repeated."""
        response, failure, now = exchange.response, exchange.failure, time.monotonic()
        with self._lock:
            self._refused[str(response.status if response else failure and failure.kind)] += 1
        self._again = min(self._again if self._again > now else math.inf, now + waited)

    def tick(self) -> None:
        """Print what the run waits for, if nothing else was printed for a while."""
        waiting, (stage, began) = self._waiting(), self._stage
        pause = max(_LONG_STAGE, self._printed_at - began) if stage else LONG_WAIT
        if waiting and time.monotonic() - self._printed_at >= pause:
            self.tell(waiting + self._bounds(waiting))

    def _bounds(self, waiting: str) -> str:
        """Return how long replies are bounded, once."""
        if self._bounded or not waiting.startswith(_WAITING) or "so far" in waiting:
            return ""
        self._bounded = True
        return f"; {_BOUNDS}"

    def _time_left(self) -> str:
        """Return how long the other attempts will take, but at most until the deadline."""
        now = time.monotonic()
        with self._lock:
            seconds, end = self._left.estimate(now), ""
        if seconds is None or self._done >= self._planned:
            return ""
        if self._deadline is not None:
            rest = max(0.0, self._deadline - (now - self._opened))
            seconds, end = min((seconds, ""), (rest, " until the deadline"))
        if seconds < _IN_SECONDS:
            return f" · about {max(1, math.ceil(seconds / 10)) * 10} s left{end}"
        return f" · about {seconds / 60:.0f} min left{end}"

    def _waiting(self) -> str:
        """Return what the run waits for, if that is unusual: a stage, a retry, or a late reply."""
        now, (stage, began) = time.monotonic(), self._stage
        if stage and now - began >= _LONG_STAGE:
            return f"{stage} … {now - began:.0f} s"
        under_way = list(self._under_way.values())
        if self._again > now - _RETRYING:
            with self._lock:
                counts = [f"{count:,} × {why}" for why, count in self._refused.most_common(2)]
            left = self._again - now
            then = f"next try in {left:.0f} s" if left >= 1 else "trying again"
            return f"{', '.join(counts)}, {then}"
        oldest = min(under_way, key=lambda begun: begun[1], default=None)
        seconds, attempts = self._took
        mean = seconds / attempts if attempts else 0.0
        late = max(LONG_WAIT, _UNUSUAL * mean)
        if oldest is not None and now - oldest[1] >= late:
            usual = f" (mean of the others: {mean:.0f} s)" if attempts else ""
            waited = sum(now - began >= late for _, began, _ in under_way)
            replies = counted(waited, "reply", "replies")
            name, began, arrival = oldest
            made = 0 if arrival.receiver is None else arrival.receiver.characters()
            text = f", {counted(made, 'character')} so far" if made else ""
            return f"{_WAITING} {replies}, longest {now - began:.0f} s: {name}{text}{usual}"
        return ""

    def finished(self, rollout: Rollout) -> None:
        """Count one more rollout, and print a line if it is time."""
        self._count(rollout)
        if time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES:
            self.tell(self._line())

    def _count(self, rollout: Rollout) -> None:
        """Count one more rollout; a grader's reply without a grade is repeated."""
        if rollout.task != GRADING:
            self._counts.add(rollout)
        else:
            grade = grade_of(rollout)
            self._grades[_NO_GRADE if grade is None else "met" if grade else "not met"] += 1
            if grade is None:
                return
        self._done += 1
        with self._lock:
            self._left.ended(rollout.task, _took(rollout))

    def _end_stage(self) -> None:
        """Print the counts of all attempts of a stage, once."""
        if self._planned:
            self.tell(self._line())
        self._planned = 0

    def _line(self) -> str:
        waiting = self._waiting()
        named = f" · {waiting}" if waiting else ""
        return f"{self._done}/{self._planned}{self._time_left()} · {self._counted()}{named}"

    def _counted(self) -> str:
        if self._grades:
            parts = [f"{self._grades[kind]:,} {kind}" for kind in ("met", "not met")]
            if without := self._grades[_NO_GRADE]:
                parts.append(f"{counted(without, 'reply', 'replies')} {_NO_GRADE}")
            return " · ".join(parts) + self._pace
        return f"{self._counts}{self._pace}"

    def tell(self, text: str) -> None:
        """Print a line, above the live one if there is one."""
        self._printed_at = time.monotonic()
        shown = plain(text)
        if self._console.is_terminal:
            shown = wrapped(shown, self._console.width)
        self._console.print(shown, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(LineDisplay):
    """A line that redraws itself, for terminals."""

    def __init__(self, console: Console, info: RunInfo) -> None:
        super().__init__(console, info)
        self.progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=_BAR),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._task = self.progress.add_task("getting ready …", total=None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the line."""
        with self.progress, super().shown():
            yield

    def stage(self, text: str) -> None:
        """Show the current activity."""
        self._stage = (text, time.monotonic())
        self.progress.reset(self._task, total=None, description=f"{text} …")

    def _announce(self, planned: int, finished: int, what: str) -> None:
        self.progress.reset(self._task, total=planned, completed=finished, description=what)

    def finished(self, rollout: Rollout) -> None:
        """Count one more rollout; `tick` shows it."""
        self._count(rollout)

    def _end_stage(self) -> None:
        """Print nothing: the line is removed at the end."""

    def tick(self) -> None:
        """Show the counts, and what the run waits for."""
        waiting = self._waiting()
        if self._stage[0]:
            text = waiting or f"{self._stage[0]} …"
        else:
            if bounds := self._bounds(waiting):
                self.tell(waiting + bounds)
            beside = f" · {waiting}" if waiting else ""
            text = f"{self._counted()}{self._time_left()}{beside}"
        text = clipped(plain(text), max(10, self.progress.console.width - _BAR - _BESIDE))
        self.progress.update(self._task, completed=self._done, description=text)


class DebugDisplay(LineDisplay):
    """Also prints every request and response; keys were redacted when they were recorded."""

    def tested(self, exchange: Exchange) -> None:
        """Print an exchange before the run."""
        self.tell(f"──── before the run\n{_exchange_text(exchange)}")

    def finished(self, rollout: Rollout) -> None:
        """Print the exchanges of one rollout."""
        for number, exchange in enumerate(rollout.exchanges):
            self.tell(f"──── {rollout.id} · request {number + 1}\n{_exchange_text(exchange)}")
        super().finished(rollout)


@contextmanager
def display(info: RunInfo, *, debug: bool, console: Console | None = None) -> Iterator[LineDisplay]:
    """Show the progress of a run until the end of the block, in the form that suits stderr.

    `info` is its `run.json`.
    """
    console = console or stderr()
    live = console.is_terminal and console.is_interactive and not console.is_dumb_terminal
    kind = DebugDisplay if debug else LiveDisplay if live else LineDisplay
    screen = kind(console, info)
    with screen.shown():
        yield screen


def _took(rollout: Rollout) -> float:
    return sum(exchange.elapsed for exchange in rollout.exchanges)


def _exchange_text(exchange: Exchange) -> str:
    request = exchange.request
    body = request.text
    if body is None and request.body is not None:
        body = json.dumps(request.body, ensure_ascii=False)
    lines = [f"{request.method} {request.url}", body or ""]
    if exchange.failure is not None:
        lines.append(f"failed: {exchange.failure.kind}: {exchange.failure.message}")
    if exchange.response is not None:
        lines.append(f"status {exchange.response.status} after {exchange.elapsed:.2f} s")
        lines.append(exchange.response.body or "")
        lines.extend(part.raw for part in exchange.response.parts)
    return "\n".join(line for line in lines if line)
