"""What the user sees during a run: a live line on a terminal, plain lines elsewhere."""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from evals.healthbench.grades import grade_of
from evals.healthbench.grading import GRADING
from gpt_oss_verify.screen import stderr
from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.checks import CHECKS
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
        self._grades["without a grade" if grade is None else "met" if grade else "not met"] += 1
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


class FirstFinding:
    """Reports the first finding; the verdict is decided at the end.

    It judges finished attempts, and the probes of a group when its last attempt has finished.
    It stops at the first error. Errors of checks with a tolerated share are left out, because a
    few of them may come from the model. It works in a thread, so that recorded times are right.
    """

    def __init__(
        self, tasks: Sequence[Task], may_warn: Collection[str], tell: Callable[[str], None]
    ) -> None:
        """Judge for these tasks; errors of rules in `may_warn` are warnings.

        `tell` gets one sentence, in a thread.
        """
        self._tasks = {task.name: task for task in tasks if task.info.kind != "eval"}
        self._tell = tell
        self._strict = {name for name, check in CHECKS.items() if not check.tolerated}
        self._may_warn = may_warn
        self._found = False
        self._made: Counter[str] = Counter()
        self._groups: dict[str, dict[str, list[ParsedRollout]]] = defaultdict(dict)
        self._judge = ThreadPoolExecutor(1, thread_name_prefix="first-finding")

    def add(self, rollout: Rollout) -> None:
        """Judge an attempt soon, unless there was a finding."""
        task = self._tasks.get(rollout.task)
        if task is not None and not self._found:
            self._judge.submit(self._add, task, rollout)

    def close(self) -> None:
        """Judge nothing more."""
        self._found = True
        self._judge.shutdown(cancel_futures=True)

    def _add(self, task: Task, rollout: Rollout) -> None:
        if self._found:
            return
        parsed = parse_rollout(rollout)
        score = task.score(parsed)
        for finding in () if score is None else score.findings:
            if finding.severity == "error" and finding.id in self._strict - set(self._may_warn):
                self._report(finding.id, finding.message)
                return
        if task.info.kind != "probes":
            return
        samples = self._groups[task.name]
        samples.setdefault(rollout.sample, []).append(parsed)
        self._made[task.name] += 1
        if self._made[task.name] == task.info.planned:
            for result in task.probe_results(samples):
                if result.status == "failed" and result.check.id not in self._may_warn:
                    first = result.examples[0].message if result.examples else result.check.summary
                    self._report(result.check.id, first)
                    return
            del self._groups[task.name]

    def _report(self, rule: str, message: str) -> None:
        if not self._found:
            self._found = True
            self._groups.clear()
            self._tell(f"first finding: {rule}: {message}")


class LineDisplay(Observer):
    """Prints a line at intervals, for logs, pipes and CI."""

    def __init__(
        self, console: Console, tasks: Sequence[Task] = (), may_warn: Collection[str] = ()
    ) -> None:
        """Print to `console`; errors of rules in `may_warn` are not reported as first finding."""
        self.tally = Tally(tasks)
        self._console = console
        self._first_finding = FirstFinding(tasks, may_warn, self._print)
        self._stage = ("", 0.0)
        self._under_way: dict[str, tuple[str, float]] = {}
        self._planned = 0
        self._done = 0
        self._pace = ""
        self._printed_at = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Call `tick` every second, from a thread, because nothing happens while the run waits."""
        ended = threading.Event()

        def ticks() -> None:
            while not ended.wait(_TICK):
                self.tick()

        thread = threading.Thread(target=ticks, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._first_finding.close()
            ended.set()
            thread.join()

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
        self._pace = f" · overloaded, concurrency {limit}" if limit < most else ""

    def started(self, attempt: Attempt) -> None:
        """Remember what is under way."""
        self._under_way[attempt.id] = (f"{attempt.task}/{attempt.sample.id}", time.monotonic())

    def tick(self) -> None:
        """Print what the run waits for, if nothing else was printed for a while."""
        waiting = self._waiting()
        if waiting and time.monotonic() - self._printed_at >= LONG_WAIT:
            self._print(waiting)

    def _waiting(self) -> str:
        """Return what has been under way for longest, if that is long: `waiting for …, 154 s`."""
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
        self._first_finding.add(rollout)
        self._done += self.tally.add(rollout)
        due = time.monotonic() - self._printed_at >= SECONDS_BETWEEN_LINES
        if self._done == self._planned or due:
            waiting = self._waiting()
            named = f" · {waiting}" if waiting else ""
            self._print(f"{self._done}/{self._planned} · {self.tally}{self._pace}{named}")

    def _print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        self._console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(LineDisplay):
    """A line that redraws itself, for terminals."""

    def __init__(
        self, console: Console, tasks: Sequence[Task] = (), may_warn: Collection[str] = ()
    ) -> None:
        super().__init__(console, tasks, may_warn)
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

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the line."""
        with self.progress, super().shown():
            yield

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
        self._first_finding.add(rollout)
        self.progress.update(self._task, advance=self.tally.add(rollout))
        self.tick()

    def tick(self) -> None:
        """Show the counts, and what the run waits for."""
        waiting = self._waiting()
        if self._stage[0]:
            text = waiting or f"{self._stage[0]} …"
        else:
            text = f"{self.tally}{self._pace}{f' · {waiting}' if waiting else ''}"
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
    console = console or stderr()
    kind = DebugDisplay if debug else LiveDisplay if console.is_terminal else LineDisplay
    screen = kind(console, tasks, may_warn)
    with screen.shown():
        yield screen


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
