"""The grading phase: one request to a grader for every rubric item of every answer.

A grade is recorded as a `Rollout` with the id `<answer>/<item>/<request>` and the sample
`<answer>/<item>`, so replies may arrive in any order. Each grader has a log of its own beside the
log of the run, and an item that has a grade is not requested again. A reply without an unambiguous
grade has none; an item without a grade is requested again, up to `REQUESTS` times.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.healthbench.grader import (
    GradingTask,
    grader_api,
    grader_settings,
    grades_file,
)
from harness.api import DIALECTS
from harness.api.base import UnreadableReplyError
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.providers.entries import Provider
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt, Sample
from harness.sampling.budget import Budget
from harness.sampling.run import Watcher, run_attempts
from harness.storage.run_log import RunLog, read_rollouts
from harness.transport import open_transport

REQUESTS = 3
"""Requests about one item before its missing grade counts as an error of the grader."""

Verdicts = Mapping[str, Mapping[str, bool]]
"""Whether each item is met, by answer and item; an item that is missing has no grade."""

_MOST_OBJECTS = 64
_KEY = "criteria_met"


@dataclass(frozen=True)
class Grade:
    """Whether an answer meets a rubric item, and the grader's explanation."""

    met: bool
    explanation: str


def parse_grade(text: str) -> Grade | None:
    """The grade in a reply: a JSON object with a boolean `criteria_met`, anywhere in the text.

    Code fences and text around the object are ignored, and the explanation may be missing. There
    is no grade if `criteria_met` is not true or false, or if several objects disagree. A grade is
    never inferred from words.
    """
    grades = [grade for value in _objects(text) if (grade := _grade(value)) is not None]
    if len({grade.met for grade in grades}) != 1:
        return None
    return grades[-1]


def grade_of(rollout: Rollout) -> Grade | None:
    """The grade in the reply to a grading request, if there is one."""
    if rollout.end != "answered":
        return None
    try:
        reply = DIALECTS[rollout.api].read(rollout.exchanges[-1])
    except UnreadableReplyError:
        return None
    return parse_grade(reply.text)


def verdicts_in(folder: Path, log: str) -> Verdicts:
    """The grades in a grader's log; none if there is no log. Raises RunLogError."""
    return read_verdicts(read_rollouts(folder, log)) if (folder / log).exists() else {}


def read_verdicts(records: Iterable[Rollout]) -> Verdicts:
    """The grades in a log, by answer and item. The first grade of an item counts."""
    verdicts: dict[str, dict[str, bool]] = defaultdict(dict)
    for record in records:
        grade = grade_of(record)
        if grade is not None:
            answer, _, item = record.sample.rpartition("/")
            verdicts[answer].setdefault(item, grade.met)
    return dict(verdicts)


class Ledger:
    """Which items have a grade, and how many requests the others have had.

    Holds one id for each item, never a reply.
    """

    def __init__(self, records: Iterable[Rollout]) -> None:
        """Read the records of a log."""
        self._graded: set[str] = set()
        self._requests: Counter[str] = Counter()
        self._garbled: Counter[str] = Counter()
        for record in records:
            self.note(record)

    def note(self, record: Rollout) -> None:
        """Add one more reply."""
        task = record.sample
        if task in self._graded:
            return
        if grade_of(record) is not None:
            self._graded.add(task)
            self._requests.pop(task, None)
            self._garbled.pop(task, None)
            return
        self._requests[task] = max(self._requests[task], record.attempt)
        self._garbled[task] += record.end != "failed"

    @property
    def settled(self) -> bool:
        """Whether no item that was requested can be requested again."""
        return all(self._garbled[task] >= REQUESTS for task in self._requests)

    def next_request(self, task: str) -> int | None:
        """The number of the next request about an item; None if there is none to send.

        An item with `REQUESTS` replies without a grade is final. Requests that failed do not count:
        a later call sends them again.
        """
        if task in self._graded or self._garbled[task] >= REQUESTS:
            return None
        return self._requests[task] + 1


def _objects(text: str) -> list[dict[str, object]]:
    """The outermost JSON objects in a text, in order; gives up on texts that are mostly braces."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, strict=False)
    found: list[dict[str, object]] = []
    at = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
            found.append(value)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _grade(value: dict[str, object]) -> Grade | None:
    met, explanation = value.get(_KEY), value.get("explanation")
    if not isinstance(met, bool):
        return None
    return Grade(met, explanation if isinstance(explanation, str) else "")


GRADER_LOG = "grader.log"
GRADING = "grading"
"""The task name of grades."""


class _Noting(Watcher):
    """Keeps the ledger, and forwards to another watcher."""

    def __init__(self, ledger: Ledger, watcher: Watcher) -> None:
        self._ledger = ledger
        self._watcher = watcher

    def started(self, attempt: Attempt) -> None:
        self._watcher.started(attempt)

    def finished(self, rollout: Rollout) -> None:
        self._ledger.note(rollout)
        self._watcher.finished(rollout)


async def grade_with(
    grader: Provider,
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    watcher: Watcher | None = None,
    budget: Budget | None = None,
) -> str:
    """Grade into `folder` with `grader`, started first if it has a `launch` command.

    Goes on where an earlier call stopped. Where nothing is left to grade, no grader is needed.

    Args:
        grader: The grader; `concurrency` requests are in flight.
        tasks: Makes all items each time it is called, preferably one at a time from disk.
        folder: The run folder.
        watcher: Notified of every request.
        budget: What grading may use.

    Returns:
        The name of the log with the grades.

    Raises:
        ConfigurationError: The grader's key is not set.
        ProviderUnavailableError: The grader could not be reached at all.
        RunLogError: The log could not be read or written.
    """
    name = grades_file(grader.name, grader.model)
    with RunLog(folder, name) as log:
        ledger = Ledger(read_rollouts(folder, name))
        noting = _Noting(ledger, watcher or Watcher())
        budget = budget or Budget()
        if all(ledger.next_request(task.id) is None for task in tasks()):
            return name
        async with launched(grader, folder / GRADER_LOG) as ready:
            budget.note(await preflight(ready, (grader_api(ready),)))
            async with open_transport(ready) as transport:
                # An item without a readable grade is requested again in the next round.
                for _ in range(REQUESTS):
                    await run_attempts(
                        _attempts(tasks(), ledger, ready),
                        transport=transport,
                        log=log,
                        concurrency=ready.concurrency,
                        watcher=noting,
                        budget=budget,
                        prices=ready.prices,
                    )
                    if ledger.settled:
                        break
    return name


async def grade_run(
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    grader: Provider,
    watcher: Watcher,
    budget: Budget | None,
    unit: str = "rubric items",
) -> Verdicts:
    """Grade what has no grade yet, and show the progress in items called `unit`.

    Returns:
        All grades.

    Raises:
        ConfigurationError: The grader's key is not set.
        ProviderUnavailableError: The grader could not be used at all.
        RunLogError: A log could not be read or written.
    """
    log = grades_file(grader.name, grader.model)
    graded = sum(map(len, verdicts_in(folder, log).values()))
    watcher.stage(f"grading with {grader.name}")
    watcher.begin(sum(1 for _ in tasks()), graded, unit)
    await grade_with(grader, tasks, folder, watcher, budget)
    return verdicts_in(folder, log)


def _attempts(tasks: Iterable[GradingTask], ledger: Ledger, grader: Provider) -> Iterator[Attempt]:
    """A request for every item that has no grade yet."""
    settings, api = grader_settings(grader), grader_api(grader)
    condition = Condition(model=settings.model, api=api, mode="non-streaming")
    for task in tasks:
        number = ledger.next_request(task.id)
        if number is not None:
            sample = Sample(task.id, task.messages)
            identity = f"{task.id}/{number}"
            yield Attempt(identity, GRADING, sample, condition, number=number, settings=settings)
