"""Sample a run into its folder."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import StoppedAnsweringError
from harness.providers.entries import Provider, changed
from harness.records.analysis import TaskResult, Verdict
from harness.records.conditions import Api, Condition
from harness.records.runs import RunEnd, RunInfo
from harness.records.scores import Score
from harness.run import run_folder
from harness.run.attempts import Attempt
from harness.run.launch import launched
from harness.run.preflight import preflight, smallest_exchange
from harness.run.run_log import RunLog, follow_rollouts, read_rollouts, write_run_info
from harness.run.sampling import Observer, run_attempts, run_until_stopped
from harness.statistics.noninferiority import FIRST_LOOK
from harness.tasks.job import Job, ended, learned, prepare
from harness.tasks.plan import Plan, decisive_first, portions
from harness.transport import RetryPolicy, open_transport
from harness.transport.outage import Outage
from harness.verdict.analyze import analyze
from harness.verdict.planned_scores import Scorer

PATIENT = RetryPolicy(retries_when_broken=4)
"""A broken response does not measure the model's ability: it is requested again, and recorded."""
T = TypeVar("T")
LONG_REPLY = 1800.0
"""Seconds that a request of a patient task may take unless a timeout is set: replies are long."""


@dataclass
class InterimResults:
    """The results of a run while it is sampled."""

    folder: Path
    plan: Plan
    _position: int = 0
    _scores: dict[str, Score] = field(default_factory=dict)
    _scorer: Scorer = field(init=False)

    def __post_init__(self) -> None:
        self._scorer = Scorer(self.plan)

    def results(self) -> list[TaskResult]:
        """Return the figures of all tasks so far. Raises RunLogError."""
        every = self._read()
        return [
            result
            for task in self.plan.tasks
            for result in task.results([each for each in every if each.task == task.name])
        ]

    def verdict(self, info: RunInfo) -> Verdict:
        """The verdict on what was sampled so far; `info` is its `run.json`. Raises RunLogError."""
        scores, probed = self._read(), self._scorer.probed
        judged = analyze(scores, self.plan, info, run_id=self.folder.name, probed=probed)
        return judged.analysis.verdict

    def _read(self) -> list[Score]:
        """The scores so far. With a graded task, all are read again: it may have new grades."""
        for task in self.plan.tasks:
            task.read_grades(self.folder)
        if any(task.graded for task in self.plan.tasks):
            self._position = 0
            self._scores.clear()
            self._scorer = Scorer(self.plan)
        for rollout, end in follow_rollouts(self.folder, start=self._position):
            self._position = end
            if rollout.id not in self._scores:
                for score in self._scorer.scores([rollout], missing=False):
                    self._scores[rollout.id] = score
        return list(self._scores.values())


def sample(job: Job, observer: Observer) -> None:
    """Sample the rest of a run, and grade it.

    Raises ProviderUnavailableError if the provider or the grader could not be used at all,
    StoppedAnsweringError if it stopped answering, RunLogError, and StoppedError.
    """
    prepare(job)
    try:
        end = run_until_stopped(_before_deadline(job, _sample(job, observer)))
    except StoppedAnsweringError as error:
        why = f"{str(error).capitalize()}; finish the run with --resume RUN."
        write_run_info(job.folder, ended(job, None).model_copy(update={"stopped": why}))
        raise
    write_run_info(job.folder, ended(job, end))


def grade(job: Job, observer: Observer) -> None:
    """Grade the answers of a run without sampling, and set its grader.

    Raises the errors of `sample`.
    """
    run_until_stopped(_before_deadline(job, _grade(job, observer)))
    info = job.info.model_copy(update={"stopped": job.budget.stopped})
    if info.ended is None and sum(1 for _ in read_rollouts(job.folder)) >= info.planned:
        info = ended(job, "complete")
    write_run_info(job.folder, info)


def as_sampled(provider: Provider, concurrency: int, *, patient: bool) -> Provider:
    """The provider as a stage samples it: patient tasks wait longer unless a timeout is set."""
    if patient and "timeout" not in provider.model_fields_set:
        return changed(provider, concurrency=concurrency, timeout=LONG_REPLY)
    return changed(provider, concurrency=concurrency)


async def make_requests(job: Job, provider: Provider, log: RunLog, observer: Observer) -> bool:
    """Make every planned request that is not in the log yet, as far as the budget allows.

    The attempts that show most defects come first. With `until_fail`, the run is judged after each
    portion, and ends at a verdict of fail: then the result is False. Raises RunLogError, and
    StoppedAnsweringError.
    """
    interim = InterimResults(job.folder, job.plan) if job.info.settings.until_fail else None
    outage = _outage(job, provider)
    for stage in job.plan.stages:
        burst = max(stage.burst or 0, job.info.settings.concurrency)
        planned: Iterable[Attempt] = job.plan.attempts(stage)
        if not stage.patient:  # an eval may have too many attempts to sort, and has no better order
            planned = decisive_first(planned, job.plan.tasks)
        for attempts in portions(list(planned)) if interim else [planned]:
            await _attempt(
                job, provider, log, observer, attempts, burst, outage, patient=stage.patient
            )
            if job.budget.stopped is not None:
                return True
            if interim is not None and interim.verdict(job.info).decision == "fail":
                return False
    return True


async def _before_deadline(job: Job, main: Coroutine[Any, Any, T]) -> T | None:
    """Return what `main` returns; at the deadline of the budget, cancel it and return None."""
    try:
        async with asyncio.timeout(job.budget.seconds_left) as limit:
            return await main
    except TimeoutError:
        if not limit.expired():
            raise
        job.budget.deadline_passed()
        return None


async def _sample(job: Job, observer: Observer) -> RunEnd | None:
    if job.info.ended == "decided":
        return "decided"
    with RunLog(job.folder) as log:
        if job.info.settings.until_decided:
            return await _until_decided(job, log, observer)
        planned = job.plan.attempts() if log.finished else ()
        done = sum(attempt.id in log.finished for attempt in planned)
        if done < job.info.planned:
            async with _ready(job, observer) as provider:
                observer.begin(job.info.planned, done)
                if not await make_requests(job, provider, log, observer):
                    return "decided"
    await _grade(job, observer)
    return None if job.budget.stopped else "complete"


async def _until_decided(job: Job, log: RunLog, observer: Observer) -> RunEnd | None:
    """Sample in rounds: one more try at every sample of the results that are undecided."""
    settings = job.info.settings
    if job.info.ended is not None:
        return job.info.ended
    undecided: set[tuple[str, Condition]] | None = None
    interim = InterimResults(job.folder, job.plan)
    made = 0
    async with _ready(job, observer) as provider:
        outage = _outage(job, provider)
        for number in range(1, job.plan.rounds + 1):
            attempts = [
                attempt
                for task in job.plan.tasks
                for attempt in task.attempts(number)
                if undecided is None or (attempt.task, attempt.condition) in undecided
            ]
            made += len(attempts)
            if settings.budget_samples is not None and made > settings.budget_samples:
                return "budget"
            observer.begin(len(attempts), sum(each.id in log.finished for each in attempts))
            await _attempt(job, provider, log, observer, attempts, settings.concurrency, outage)
            await _grade(job, observer)
            if job.budget.stopped is not None:
                return None
            if number < FIRST_LOOK:
                continue
            results = interim.results()
            undecided = {
                (each.task, each.condition)
                for each in results
                if each.baseline is not None and each.baseline.decision == "inconclusive"
            }
            every = len(results)
            observer.stage(f"round {number}: {every - len(undecided)} of {every} results decided")
            if not undecided:
                return "decided"
            used = sum(result.tokens.output for result in results)
            if settings.budget_tokens is not None and used >= settings.budget_tokens:
                return "budget"
    return "complete"


async def _attempt(
    job: Job,
    provider: Provider,
    log: RunLog,
    observer: Observer,
    attempts: Iterable[Attempt],
    concurrency: int,
    outage: Outage,
    *,
    patient: bool = True,
) -> None:
    async with open_transport(
        as_sampled(provider, concurrency, patient=patient),
        retries=job.retries or (PATIENT if patient else None),
        limit_changed=observer.limit_changed,
        outage=outage,
    ) as transport:
        await run_attempts(
            attempts,
            transport=transport,
            log=log,
            concurrency=concurrency,
            observer=observer,
            budget=job.budget,
            prices=provider.prices,
            outage=outage,
        )


def _outage(job: Job, provider: Provider) -> Outage:
    """What the run knows of an outage; the first condition of the plan has the model and API."""
    conditions = [each for info in job.info.tasks for each in info.conditions]
    model, api = (conditions[0].model, conditions[0].api) if conditions else (None, None)
    used = changed(provider, model=model or provider.model)
    return Outage(partial(smallest_exchange, used, api or provider.apis[0]))


@asynccontextmanager
async def _ready(job: Job, observer: Observer) -> AsyncIterator[Provider]:
    """The provider, launched if necessary, after a test request for each model and API."""
    observer.stage("starting the provider" if job.provider.launch else "contacting the provider")
    log = job.folder / run_folder.PROVIDER_LOG
    apis: dict[str, dict[Api, None]] = {}
    for condition in (each for info in job.info.tasks for each in info.conditions):
        apis.setdefault(condition.model, {})[condition.api] = None
    async with launched(job.provider, log) as provider:
        for model, used in apis.items():
            model_of_run = changed(provider, model=model)
            job.budget.add_requests(await preflight(model_of_run, tuple(used), observer.stage))
        for task in job.plan.tasks:
            job.budget.add_requests(await task.learn(provider))
        write_run_info(job.folder, learned(job))
        yield provider


async def _grade(job: Job, observer: Observer) -> None:
    for task in job.plan.tasks:
        if not job.budget.stopped:
            await task.grade(job.folder, observer, job.budget)
