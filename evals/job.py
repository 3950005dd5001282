"""An eval run: planning it, carrying it out, going on with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evals.datasets.load import Loaded
from evals.grading import grade_run, graded_evals
from evals.judging import restored_plan
from evals.plan import Plan, Try
from evals.records import EvalRunInfo, EvalSettings, RunEnd
from evals.registry import make_eval
from evals.rounds import sample_rounds
from evals.run_folder import read_eval_info, write_questions
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.errors import ConfigurationError
from harness.providers.entries import Provider, changed
from harness.sampling.budget import Budget
from harness.sampling.run import run_attempts, run_until_stopped
from harness.sampling.watching import Watcher
from harness.storage import run_folder
from harness.storage.run_log import RunLog, read_rollouts, write_run_info
from harness.storage.sealing import sealed
from harness.storage.versions import versions
from harness.transport import RetryPolicy, Transport, open_transport

PATIENT = RetryPolicy(retries_when_broken=4)
"""A broken answer says nothing of the model's ability: it is asked for again, and on record."""

_PACKAGES_THAT_MATTER = ("aiohttp", "numpy", "openai", "pydantic", "scipy")


@dataclass(frozen=True)
class EvalJob:
    """Everything needed to carry out or go on with one eval run.

    `data` is None where the folder already holds the questions; `grader` where nothing is graded.
    """

    provider: Provider
    grader: Provider | None
    info: EvalRunInfo
    plan: Plan
    folder: Path
    data: tuple[Loaded[Any], ...] | None
    budget: Budget = field(default_factory=Budget)


def new_info(
    provider: Provider,
    settings: EvalSettings,
    data: Sequence[Loaded[Any]],
    *,
    shard: tuple[int, int] | None,
    command: Sequence[str],
) -> tuple[EvalRunInfo, Plan]:
    """Plan a run; nothing is written. Raises ConfigurationError."""
    evals = {loaded.info.eval: make_eval(loaded, settings.seed) for loaded in data}
    plan = Plan(settings, evals, shard=shard, extra_body=provider.extra_body)
    info = EvalRunInfo(
        tool_version=version("gpt-oss-verify"),
        command=tuple(command),
        provider=provider.info(),
        settings=settings,
        datasets=tuple(loaded.info for loaded in data),
        planned=plan.planned,
        shard=shard,
        versions=versions(_PACKAGES_THAT_MATTER),
        started_at=_now(),
    )
    return info, plan


def new_folder(out: Path, provider: str) -> Path:
    """Make the folder of a new run below `out`. Raises RunLogError."""
    return run_folder.create(out, f"eval-{provider}", datetime.now(UTC))


def resumed(
    folder: Path, provider: Provider, grader: Provider | None, budget: Budget | None = None
) -> EvalJob:
    """Go on with the run in `folder`. Raises ConfigurationError or RunLogError."""
    spending = budget or Budget()
    info = read_eval_info(folder)
    changes = {"concurrency": provider.concurrency, "budget": spending.noted}
    settings = info.settings.model_copy(update=changes)
    again = {"settings": settings, "resumed": (*info.resumed, _now()), "stopped": None}
    info = info.model_copy(update=again)
    return EvalJob(provider, grader, info, restored_plan(folder, info), folder, None, spending)


def sample(job: EvalJob, watcher: Watcher) -> None:
    """Carry out a run, or what is left of it, grading included; all is in its folder, and sealed.

    Raises:
        ProviderUnavailableError: The provider or the grader could not be asked at all.
        RunLogError: The run folder could not be written.
        StoppedError: The user stopped the run.
    """
    prepare(job)
    with sealed(job.folder) as ending:
        ending.info = ended(job, run_until_stopped(_sample(job, watcher)))


def prepare(job: EvalJob) -> None:
    """Write what a run folder holds before anything is sampled. Raises RunLogError."""
    write_run_info(job.folder, job.info)
    for loaded in job.data or ():
        write_questions(job.folder, loaded)


def ended(job: EvalJob, end: RunEnd | None) -> EvalRunInfo:
    """What `run.json` says when sampling has come to its end, or has been stopped before."""
    finished_at = None if end is None else _now()
    finished = {"finished_at": finished_at, "ended": end, "stopped": job.budget.stopped}
    return job.info.model_copy(update=finished)


def grade_answers(job: EvalJob, watcher: Watcher) -> None:
    """Grade every answer that has no grade yet, where answers are graded.

    Raises:
        ProviderUnavailableError: The grader could not be asked at all.
        StoppedError: The user stopped it.
    """
    run_until_stopped(_grade(job, watcher))


def grade(job: EvalJob, watcher: Watcher) -> None:
    """Only grade what a run has answered, by the job's grader, which is then the run's.

    Raises:
        ConfigurationError: Nothing in the run is graded.
        ProviderUnavailableError: The grader could not be asked at all.
    """
    if not graded_evals(job.plan):
        raise ConfigurationError(f"{job.folder} holds no HealthBench answers, so nothing to grade.")
    with sealed(job.folder) as ending:
        grade_answers(job, watcher)
        sampled = sum(job.plan.find(rollout) is not None for rollout in read_rollouts(job.folder))
        if job.info.ended is None and sampled == job.plan.planned:
            ending.info = ended(job, "all tries")
        else:
            ending.info = job.info.model_copy(update={"stopped": job.budget.stopped})


async def _sample(job: EvalJob, watcher: Watcher) -> RunEnd | None:
    with RunLog(job.folder) as log:
        if job.info.settings.until_decided:
            return await _sample_until_decided(job, log, watcher)
        done = sum(one.id in log.finished for one in job.plan.every_try())
        if done < job.plan.planned:
            async with _opened(job, watcher) as transport:
                watcher.begin(job.plan.planned, done)
                await run_attempts(
                    (job.plan.attempt(one) for one in job.plan.every_try()),
                    transport=transport,
                    log=log,
                    concurrency=job.info.settings.concurrency,
                    observer=watcher,
                    allowance=job.budget.of(job.provider),
                )
    await _grade(job, watcher)
    return None if job.budget.stopped else "all tries"


async def _sample_until_decided(job: EvalJob, log: RunLog, watcher: Watcher) -> RunEnd | None:
    if job.info.ended is not None:
        return job.info.ended
    async with _opened(job, watcher) as transport:

        async def carry_out(tries: Sequence[Try]) -> bool:
            watcher.begin(len(tries), sum(one.id in log.finished for one in tries))
            await run_attempts(
                map(job.plan.attempt, tries),
                transport=transport,
                log=log,
                concurrency=job.info.settings.concurrency,
                observer=watcher,
                allowance=job.budget.of(job.provider),
            )
            await _grade(job, watcher)
            return job.budget.stopped is None

        return await sample_rounds(
            job.plan, job.info.settings, job.folder, carry_out, watcher.stage
        )


@asynccontextmanager
async def _opened(job: EvalJob, watcher: Watcher) -> AsyncIterator[Transport]:
    """A transport to the provider, started if need be and asked for each model."""
    watcher.stage("starting the provider" if job.provider.launch else "asking the provider")
    log = job.folder / run_folder.PROVIDER_LOG
    async with launched(job.provider, log) as provider:
        for model in job.info.settings.models:
            asked = changed(provider, model=model)
            job.budget.note(await preflight(asked, (job.info.settings.api,)))
        async with open_transport(
            provider, retries=PATIENT, limit_changed=watcher.limit_changed
        ) as transport:
            yield transport


async def _grade(job: EvalJob, watcher: Watcher) -> None:
    if graded_evals(job.plan) and job.grader is not None and not job.budget.stopped:
        await grade_run(job.plan, job.folder, job.grader, watcher, job.budget)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
