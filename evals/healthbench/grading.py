"""The grading phase: one request to a grader for every rubric item of every answer.

A grade is recorded as a `Rollout` with the id `<answer>/<item>/<request>` and the sample
`<answer>/<item>`, so replies may arrive in any order. Each grader has its own log next to the log
of the run, and an item with a grade is not requested again.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evals.healthbench.grades import REQUESTS, Ledger
from evals.healthbench.grading_tasks import GradingTask, grader_api, grader_settings, grades_file
from harness.providers.entries import Provider
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.run.attempts import Attempt, Sample
from harness.run.budget import Budget
from harness.run.launch import launched
from harness.run.preflight import preflight
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import Observer, run_attempts
from harness.transport import open_transport

GRADER_LOG = "grader.log"
GRADING = "grading"  # the task name of grades


class _LedgerObserver(Observer):
    """Updates the ledger, and forwards to another observer."""

    def __init__(self, ledger: Ledger, observer: Observer) -> None:
        self._ledger = ledger
        self._watcher = observer

    def started(self, attempt: Attempt) -> None:
        self._watcher.started(attempt)

    def finished(self, rollout: Rollout) -> None:
        self._ledger.note(rollout)
        self._watcher.finished(rollout)


async def grade_with(
    grader: Provider,
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    observer: Observer | None = None,
    budget: Budget | None = None,
    unit: str = "rubric items",
) -> None:
    """Grade all items without a grade with `grader`, launching it first if its entry says how.

    Continues where an earlier call stopped. If nothing is left to grade, no grader is needed. Each
    call of `tasks` yields all items, preferably one at a time from disk. The log of the grader is
    written to the run folder. `unit` is the unit of the progress display.

    Raises ConfigurationError if the grader's key is not set, ProviderUnavailableError if the grader
    could not be reached at all, and RunLogError.
    """
    name = grades_file(grader.name, grader.model)
    observer, budget = observer or Observer(), budget or Budget()
    with RunLog(folder, name) as log:
        ledger = Ledger(read_rollouts(folder, name))
        observer.stage(f"grading with {grader.name}")
        observer.begin(sum(1 for _ in tasks()), ledger.graded, unit)
        if any(ledger.next_request(task.id) is not None for task in tasks()):
            async with launched(grader, folder / GRADER_LOG) as ready:
                budget.add_requests(await preflight(ready, (grader_api(ready),)))
                async with open_transport(ready) as transport:
                    # An item without a readable grade is requested again in the next round.
                    for _ in range(REQUESTS):
                        await run_attempts(
                            _attempts(tasks(), ledger, ready),
                            transport=transport,
                            log=log,
                            concurrency=ready.concurrency,
                            observer=_LedgerObserver(ledger, observer),
                            budget=budget,
                            prices=ready.prices,
                        )
                        if ledger.settled:
                            break


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
