"""What the user sees during a run: a live line on a terminal, plain lines elsewhere."""

import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from evals.healthbench.grades import grade_of
from evals.healthbench.grading import GRADING
from gpt_oss_verify.first_finding import FirstFinding
from gpt_oss_verify.screen import stderr
from harness.api.parsed_rollout import parse_rollout
from harness.checks.rollout_score import usage
from harness.records.rollouts import Exchange, Rollout
from harness.records.scores import Outcome
from harness.run.attempts import Attempt
from harness.run.sampling import Observer
from harness.tasks.task import Task
from harness.text import percentage, plain
from reports.text import counted

SECONDS_BETWEEN_LINES = 10.0
LONG_WAIT = 15.0  # seconds after which the line names what it waits for
_TICK = 1.0
_ERRORS: tuple[Outcome, ...] = ("provider_error", "timeout", "invalid_response")
_SHOWN: tuple[Outcome, ...] = ("truncated", "no_answer", "refused")


class Tally:
    """Counts the rollouts of a run by their provisional outcomes; they are judged at the end."""

    def __init__(self, tasks: Sequence[Task] = ()) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._outcomes: Counter[Outcome] = Counter()
        self._probed: Counter[Outcome] = Counter()
        self._values: list[float] = [0.0, 0.0]
        self._tokens = 0
        self._grades: Counter[str] = Counter()
        self.finished = 0

    def add(self, rollout: Rollout) -> bool:
        """Count one more rollout; False for a grader's reply without a grade, which is repeated."""
        if rollout.task == GRADING:
            return self._add_grade(rollout)
        self.finished += 1
        task, parsed = self._tasks.get(rollout.task), parse_rollout(rollout)
        ended = None if task is None else task.provisional(parsed)
        if task is None or ended is None:
            return True
        counter = self._probed if task.info.kind == "probes" else self._outcomes
        counter[ended["outcome"]] += 1
        self._tokens += usage(parsed).output or 0
        if ended.get("value") is not None:
            self._values[0] += ended["value"]
            self._values[1] += 1
        return True

    def _add_grade(self, rollout: Rollout) -> bool:
        grade = grade_of(rollout)
        self._grades["without a grade" if grade is None else "met" if grade.met else "not met"] += 1
        return grade is not None

    def __str__(self) -> str:
        if self._grades:
            kinds = ("met", "not met", "without a grade")
            return " · ".join(f"{self._grades[kind]:,} {kind}" for kind in kinds)
        if not self.finished:
            return "nothing finished yet"
        passed, judged = self._values
        probed = self._probed.total()
        what = " of cases" if probed else ""
        parts = [f"{percentage(passed / judged)}{what} passed so far"] if judged else []
        if probed:  # Many probes provoke errors.
            failed = sum(self._probed[outcome] for outcome in _ERRORS)
            of_them = f", {failed:,} of them errors" if failed else ""
            replies = counted(probed, "probe reply", "probe replies")
            parts.append(f"{replies}{of_them}, judged at the end")
        if self._outcomes["graded"]:
            parts.append(f"{self._outcomes['graded']:,} to grade")
        parts.append(counted(sum(self._outcomes[outcome] for outcome in _ERRORS), "error"))
        parts += [
            f"{self._outcomes[outcome]:,} {outcome.replace('_', ' ')}"
            for outcome in _SHOWN
            if self._outcomes[outcome]
        ]
        return " · ".join([*parts, f"{self._tokens:,} tokens"])


class LineDisplay(Observer):
    """Prints a line at intervals, for logs, pipes and CI."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._console = console
        self._tally = tally
        self._stage = ("", 0.0)
        self._under_way: dict[str, tuple[str, float]] = {}
        self._planned = 0
        self._done = 0
        self._pace = ""
        self._printed_at = 0.0
        self._first_finding: FirstFinding | None = None

    def watch(self, tasks: Sequence[Task], may_warn: Collection[str]) -> FirstFinding:
        """Print the first finding as soon as there is one, until the result is closed."""
        self._first_finding = FirstFinding(tasks, may_warn, self._print)
        return self._first_finding

    def _judge_soon(self, rollout: Rollout) -> None:
        if self._first_finding is not None:
            self._first_finding.add(rollout)

    def stage(self, text: str) -> None:
        """Print the current activity."""
        self._stage = (text, time.monotonic())
        self._print(f"{text} …")

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Print the number of planned attempts."""
        self._planned, self._done = planned, finished
        self._stage = ("", 0.0)
        already = f", {finished} of them already done" if finished else ""
        verb = "sampling" if what == "attempts" else "grading"
        self._print(f"{verb} {counted(planned, what.removesuffix('s'))}{already}")

    def limit_changed(self, limit: int, most: int) -> None:
        """Note the concurrency that the provider allows, if it is less than requested."""
        self._pace = pace(limit, most)

    def started(self, attempt: Attempt) -> None:
        """Remember what is under way."""
        self._under_way[attempt.id] = (f"{attempt.task}/{attempt.sample.id}", time.monotonic())

    def tick(self) -> None:
        """Print what the run waits for, if nothing else was printed for a while."""
        waiting = self._waiting()
        if waiting and time.monotonic() - self._printed_at >= LONG_WAIT:
            self._print(waiting)

    def _waiting(self) -> str:
        """What has been under way for longest, if that is long: `waiting for …, 154 s`."""
        now, (stage, began) = time.monotonic(), self._stage
        oldest = min(list(self._under_way.values()), key=lambda each: each[1], default=None)
        if stage and now - began >= LONG_WAIT:
            return f"{stage} … {now - began:.0f} s"
        if oldest is not None and now - oldest[1] >= LONG_WAIT:
            return f"waiting for {oldest[0]}, {now - oldest[1]:.0f} s"
        return ""

    def finished(self, rollout: Rollout) -> None:
        """Count one more rollout, and print a line if it is time."""
        self._under_way.pop(rollout.id, None)
        self._judge_soon(rollout)
        self._done += self._tally.add(rollout)
        due = time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES
        if self._done == self._planned or due:
            waiting = self._waiting()
            named = f" · {waiting}" if waiting else ""
            self._print(f"{self._done}/{self._planned} · {self._tally}{self._pace}{named}")

    def _print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        self._console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(LineDisplay):
    """A line that redraws itself, for terminals."""

    def __init__(self, console: Console, tally: Tally) -> None:
        super().__init__(console, tally)
        self.progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeLeft(compact=True),
            console=console,
            transient=True,
        )
        self._task = self.progress.add_task("getting ready …", total=None)

    def stage(self, text: str) -> None:
        """Show the current activity."""
        self._stage = (text, time.monotonic())
        self.progress.reset(self._task, total=None, description=f"{text} …")

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Show a bar for the planned attempts."""
        self._stage = ("", 0.0)
        self.progress.reset(self._task, total=planned, completed=finished, description=what)

    def finished(self, rollout: Rollout) -> None:
        """Count one more rollout."""
        self._under_way.pop(rollout.id, None)
        self._judge_soon(rollout)
        self.progress.update(self._task, advance=self._tally.add(rollout))
        self.tick()

    def tick(self) -> None:
        """Show the counts, and what the run waits for."""
        waiting = self._waiting()
        if self._stage[0]:
            text = waiting or f"{self._stage[0]} …"
        else:
            text = f"{self._tally}{self._pace}{f' · {waiting}' if waiting else ''}"
        self.progress.update(self._task, description=plain(text))


class DebugDisplay(LineDisplay):
    """Also prints every request and response; keys were redacted when they were recorded."""

    def finished(self, rollout: Rollout) -> None:
        """Print the exchanges of one rollout."""
        for number, exchange in enumerate(rollout.exchanges):
            self._print(f"──── {rollout.id} · request {number + 1}\n{_exchange_text(exchange)}")
        super().finished(rollout)


@contextmanager
def display(
    tasks: Sequence[Task] = (),
    *,
    debug: bool,
    may_warn: Collection[str] = (),
    console: Console | None = None,
) -> Iterator[LineDisplay]:
    """Show progress until the end of the block, in the form that suits stderr.

    The first error of a rule that is not in `may_warn` is printed as soon as it is found.
    """
    console, tally = console or stderr(), Tally(tasks)
    if debug or not console.is_terminal:
        kind = DebugDisplay if debug else LineDisplay
        screen: LineDisplay = kind(console, tally)
        with _ticking(screen), closing(screen.watch(tasks, may_warn)):
            yield screen
        return
    live = LiveDisplay(console, tally)
    with live.progress, _ticking(live), closing(live.watch(tasks, may_warn)):
        yield live


@contextmanager
def _ticking(screen: LineDisplay) -> Iterator[None]:
    """Call `tick` every second, from a thread, because nothing happens while the run waits."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(_TICK):
            screen.tick()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def pace(limit: int, most: int) -> str:
    """A note on a provider that is overloaded by `most` concurrent requests; '' otherwise."""
    return f" · overloaded, concurrency {limit}" if limit < most else ""


def _exchange_text(exchange: Exchange) -> str:
    request = exchange.request
    body = json.dumps(request.body, ensure_ascii=False) if request.text is None else request.text
    lines = [f"{request.method} {request.url}", body]
    if exchange.failure is not None:
        lines.append(f"failed: {exchange.failure.kind}: {exchange.failure.message}")
    if exchange.response is not None:
        lines.append(f"status {exchange.response.status} after {exchange.elapsed:.2f} s")
        lines.append(exchange.response.body or "")
        lines.extend(part.raw for part in exchange.response.parts)
    return "\n".join(line for line in lines if line)
