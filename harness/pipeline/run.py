"""One run: sampled into its folder, and judged from its folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.integrity.seal import sealed
from harness.pipeline.analyze import analyze
from harness.pipeline.job import Job, ended, learned, prepare
from harness.pipeline.looks import Looks
from harness.pipeline.parallel import read_scored
from harness.pipeline.plan import Plan, decisive_first
from harness.providers.entries import Provider, changed
from harness.records.analysis import Analysis
from harness.records.conditions import Api, Condition
from harness.records.runs import RunEnd, RunInfo, Thresholds
from harness.records.scores import Score
from harness.sampling.attempts import Attempt
from harness.sampling.run import Watcher, run_attempts, run_until_stopped
from harness.storage import run_folder
from harness.storage.run_log import RunLog, read_rollouts, write_run_info
from harness.tasks.base import Task
from harness.transport import RetryPolicy, open_transport

PATIENT = RetryPolicy(retries_when_broken=4)
"""A broken response does not measure the model's ability: it is requested again, and recorded."""
FIRST_LOOK = 2
"""The first round after which `until_decided` looks at the scores."""
FIRST_PORTION = 16
"""Attempts after which `until_fail` first looks at the verdict."""
LONG_REPLY = 1800.0
"""Seconds that a request of a patient task may take unless a timeout is set: replies are long."""


def sample(job: Job, watcher: Watcher) -> None:
    """Sample what is left of a run, and grade it; everything is in its folder, which is sealed.

    Raises:
        ProviderUnavailableError: The provider or the grader could not be used at all.
        RunLogError: The run folder could not be written.
        StoppedError: The user stopped the run.
    """
    prepare(job)
    with sealed(job.folder) as ending:
        ending.info = ended(job, run_until_stopped(_sample(job, watcher)))


def grade(job: Job, watcher: Watcher) -> None:
    """Only grade the answers of a run; the grader is then the run's.

    Raises:
        ProviderUnavailableError: The grader could not be used at all.
        RunLogError: The run folder could not be written.
        StoppedError: The user stopped it.
    """
    with sealed(job.folder) as ending:
        run_until_stopped(_grade(job, watcher))
        sampled = sum(1 for _ in read_rollouts(job.folder))
        if job.info.ended is None and sampled >= job.info.planned:
            ending.info = ended(job, "complete")
        else:
            ending.info = job.info.model_copy(update={"stopped": job.budget.stopped})


def judge(
    folder: Path,
    info: RunInfo,
    tasks: Sequence[Task],
    *,
    thresholds: Thresholds | None = None,
    keep: Callable[[Iterable[Score]], object] = iter,
) -> Analysis:
    """Judge a run from its folder; nothing is written, and nothing needs the network.

    Args:
        folder: The run's.
        info: Its `run.json`, perhaps with other settings, such as another baseline.
        tasks: Its tasks, restored from the folder.
        thresholds: Other thresholds than the run's own.
        keep: Called with every score.

    Raises:
        RunLogError: The folder cannot be read.
    """
    for task in tasks:
        task.read_grades(folder)
    plan = Plan(tuple(tasks), info.shard)
    return analyze(
        read_scored(folder, plan),
        plan,
        info,
        run_id=folder.name,
        thresholds=thresholds,
        keep=keep,
    )


def as_sampled(provider: Provider, concurrency: int, *, patient: bool) -> Provider:
    """The provider as a stage samples it: patient tasks wait longer unless a timeout is set."""
    if patient and "timeout" not in provider.model_fields_set:
        return changed(provider, concurrency=concurrency, timeout=LONG_REPLY)
    return changed(provider, concurrency=concurrency)


async def make_requests(job: Job, provider: Provider, log: RunLog, watcher: Watcher) -> bool:
    """Make every planned request that is not in the log yet; whether it made all of them.

    With `until_fail`, it judges the run after each portion, and stops at a verdict of fail.
    Raises RunLogError.
    """
    looks = Looks(job.folder, job.plan) if job.info.settings.until_fail else None
    for stage in job.plan.stages:
        burst = max(stage.burst or 0, job.info.settings.concurrency)
        planned = job.plan.attempts(stage)
        portions = _portions(decisive_first(planned, job.plan.tasks)) if looks else [planned]
        for attempts in portions:
            await _attempt(job, provider, log, watcher, attempts, burst, patient=stage.patient)
            if job.budget.stopped is not None:
                return True
            if looks is not None and looks.verdict(job.info).decision == "fail":
                return False
    return True


def _portions(attempts: Sequence[Attempt]) -> Iterator[Iterable[Attempt]]:
    """The attempts in portions, each of half as many as came before."""
    made = 0
    while made < len(attempts):
        end = made + max(FIRST_PORTION, made // 2)
        yield attempts[made:end]
        made = end


async def _sample(job: Job, watcher: Watcher) -> RunEnd | None:
    if job.info.ended == "decided":
        return "decided"
    with RunLog(job.folder) as log:
        if job.info.settings.until_decided:
            return await _until_decided(job, log, watcher)
        done = sum(attempt.id in log.finished for attempt in job.plan.attempts())
        if done < job.info.planned:
            async with _ready(job, watcher) as provider:
                watcher.begin(job.info.planned, done)
                if not await make_requests(job, provider, log, watcher):
                    return "decided"
    await _grade(job, watcher)
    return None if job.budget.stopped else "complete"


async def _until_decided(job: Job, log: RunLog, watcher: Watcher) -> RunEnd | None:
    """Sample in rounds: one more try at every sample of the results that are undecided."""
    settings = job.info.settings
    if job.info.ended is not None:
        return job.info.ended
    undecided: set[tuple[str, Condition]] | None = None
    looks = Looks(job.folder, job.plan)
    made = 0
    async with _ready(job, watcher) as provider:
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
            watcher.begin(len(attempts), sum(each.id in log.finished for each in attempts))
            await _attempt(job, provider, log, watcher, attempts, settings.concurrency)
            await _grade(job, watcher)
            if job.budget.stopped is not None:
                return None
            if number < FIRST_LOOK:
                continue
            results = looks.results()
            undecided = {
                (each.task, each.condition)
                for each in results
                if each.baseline is not None and each.baseline.decision == "inconclusive"
            }
            every = len(results)
            watcher.stage(f"round {number}: {every - len(undecided)} of {every} results decided")
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
    watcher: Watcher,
    attempts: Iterable[Attempt],
    concurrency: int,
    *,
    patient: bool = True,
) -> None:
    async with open_transport(
        as_sampled(provider, concurrency, patient=patient),
        retries=job.retries or (PATIENT if patient else None),
        limit_changed=watcher.limit_changed,
    ) as transport:
        await run_attempts(
            attempts,
            transport=transport,
            log=log,
            concurrency=concurrency,
            watcher=watcher,
            budget=job.budget,
            prices=provider.prices,
        )


@asynccontextmanager
async def _ready(job: Job, watcher: Watcher) -> AsyncIterator[Provider]:
    """The provider, started if it has a launch command, after a request for each model and API."""
    watcher.stage("starting the provider" if job.provider.launch else "contacting the provider")
    log = job.folder / run_folder.PROVIDER_LOG
    apis: dict[str, dict[Api, None]] = {}
    for task in job.info.tasks:
        for condition in task.conditions:
            apis.setdefault(condition.model, {})[condition.api] = None
    async with launched(job.provider, log) as provider:
        for model, used in apis.items():
            job.budget.note(await preflight(changed(provider, model=model), tuple(used)))
        for planned in job.plan.tasks:
            job.budget.note(await planned.learn(provider))
        write_run_info(job.folder, learned(job))
        yield provider


async def _grade(job: Job, watcher: Watcher) -> None:
    for task in job.plan.tasks:
        if not job.budget.stopped:
            await task.grade(job.folder, watcher, job.budget)
