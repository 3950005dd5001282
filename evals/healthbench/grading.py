"""The grading phase: one request to a grader for every rubric item of every answer.

A grade is recorded as a `Rollout` with the id `<answer>/<item>/<request>` and the sample
`<answer>/<item>`, so replies may arrive in any order. Each grader has a log of its own beside the
log of the run, and an item that has a grade is not requested again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evals.healthbench.grader import (
    GradingTask,
    grader_api,
    grader_settings,
    grades_file,
)
from evals.healthbench.grades import REQUESTS, Ledger, Verdicts, verdicts_in
from harness.api.base import Settings
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.providers.entries import Provider
from harness.records.conditions import Api, Condition
from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt, Sample
from harness.sampling.budget import Allowance, Budget
from harness.sampling.run import run_attempts
from harness.sampling.watching import Watcher
from harness.storage.run_log import RunLog, read_rollouts
from harness.transport import open_transport
from harness.transport.base import Transport

GRADER_LOG = "grader.log"
GRADING = "grading"
"""The task name of grades."""


class _Noting(Watcher):
    """Keeps the ledger, and forwards to another watcher."""

    def __init__(self, ledger: Ledger, watcher: Watcher | None) -> None:
        self._ledger = ledger
        self._watcher = watcher
        self.asked = 0

    def started(self, attempt: Attempt) -> None:
        self.asked += 1
        if self._watcher:
            self._watcher.started(attempt)

    def finished(self, rollout: Rollout) -> None:
        self._ledger.note(rollout)
        if self._watcher:
            self._watcher.finished(rollout)


async def grade(
    tasks: Callable[[], Iterable[GradingTask]],
    *,
    grader: Provider,
    transport: Transport,
    log: RunLog,
    ledger: Ledger,
    watcher: Watcher | None = None,
    allowance: Allowance | None = None,
) -> None:
    """Ask about every item that has no grade yet; items without one are asked about again.

    Args:
        tasks: Makes all items each time it is called, preferably one at a time from disk.
        grader: Whom to ask; `concurrency` requests are in flight.
        transport: To the grader.
        log: The grader's log.
        ledger: What is in it.
        watcher: Notified of every request.
        allowance: What grading may use.

    Raises:
        RunLogError: The log could not be written.
    """
    settings, api = grader_settings(grader), grader_api(grader)

    def attempts() -> Iterator[Attempt]:
        for task in tasks():
            number = ledger.next_request(task.id)
            if number is not None:
                yield _attempt(task, number, api, settings)

    for _ in range(REQUESTS):
        noting = _Noting(ledger, watcher)
        await run_attempts(
            attempts(),
            transport=transport,
            log=log,
            concurrency=grader.concurrency,
            watcher=noting,
            allowance=allowance,
        )
        if not noting.asked:
            return


async def grade_with(
    grader: Provider,
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    watcher: Watcher | None = None,
    budget: Budget | None = None,
) -> str:
    """Grade into `folder` with `grader`, started first if it has a `launch` command.

    Goes on where an earlier call stopped. Where nothing is left to grade, no grader is needed.

    Returns:
        The name of the log with the grades.

    Raises:
        ConfigurationError: The grader's key is not set.
        ProviderUnavailableError: The grader could not be asked at all.
        RunLogError: The log could not be read or written.
    """
    name = grades_file(grader.name, grader.model)
    with RunLog(folder, name) as log:
        ledger = Ledger(read_rollouts(folder, name))
        if all(ledger.next_request(task.id) is None for task in tasks()):
            return name
        budget = budget or Budget()
        async with launched(grader, folder / GRADER_LOG) as ready:
            budget.note(await preflight(ready, (grader_api(ready),)))
            async with open_transport(ready) as transport:
                await grade(
                    tasks,
                    grader=ready,
                    transport=transport,
                    log=log,
                    ledger=ledger,
                    watcher=watcher,
                    allowance=budget.of(ready),
                )
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


def _attempt(task: GradingTask, number: int, api: Api, settings: Settings) -> Attempt:
    sample = Sample(task.id, task.messages)
    condition = Condition(model=settings.model, api=api, mode="non-streaming")
    identity = f"{task.id}/{number}"
    return Attempt(identity, GRADING, sample, condition, number=number, settings=settings)
