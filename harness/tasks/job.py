"""The description of a run: what to sample, from which provider, into which folder."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.providers.entries import Provider
from harness.records.runs import ProviderInfo, RunEnd, RunInfo, RunSettings, Thresholds
from harness.run import run_folder
from harness.run.budget import Budget
from harness.run.run_log import write_run_info
from harness.tasks.plan import Plan, Shard
from harness.tasks.task import Task
from harness.transport import RetryPolicy

PACKAGES = ("aiohttp", "jsonschema", "numpy", "openai", "pydantic", "scipy", "uvloop")


@dataclass(frozen=True)
class Job:
    """Everything needed to carry out a run, or to resume it."""

    provider: Provider
    plan: Plan
    info: RunInfo
    folder: Path
    budget: Budget = field(default_factory=Budget)
    retries: RetryPolicy | None = None


def new_info(
    provider: ProviderInfo, plan: Plan, settings: RunSettings, command: Sequence[str]
) -> RunInfo:
    """`run.json` of a new run; nothing is written."""
    return RunInfo(
        tool_version=version("gpt-oss-verify"),
        command=tuple(command),
        provider=provider,
        settings=settings,
        tasks=plan.infos(),
        shard=plan.shard,
        versions={
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: version(name) for name in PACKAGES},
        },
        started_at=now(),
    )


def new_job(
    provider: Provider,
    tasks: Sequence[Task],
    settings: RunSettings,
    *,
    out: Path,
    command: Sequence[str],
    budget: Budget | None = None,
    shard: Shard | None = None,
    retries: RetryPolicy | None = None,
) -> Job:
    """Plan a run and create its folder; `retries` replaces those of tasks. Raises RunLogError."""
    plan = Plan(tuple(tasks), shard)
    info = new_info(provider.info(), plan, settings, command)
    folder = run_folder.create(out, provider.name)
    return Job(provider, plan, info, folder, budget or Budget(), retries)


def resumed(
    folder: Path,
    info: RunInfo,
    provider: Provider,
    tasks: Sequence[Task],
    budget: Budget,
    thresholds: Thresholds | None = None,
) -> Job:
    """Return the job that finishes the run in `folder`; `info` is its `run.json`."""
    settings: dict[str, object] = {
        "concurrency": provider.concurrency,
        "budget": budget.recorded_limits,
    }
    if thresholds is not None:
        settings["thresholds"] = thresholds
    changed_settings = info.settings.model_copy(update=settings)
    times = (*info.resumed, now())
    changes = {"settings": changed_settings, "resumed": times, "stopped": None}
    plan = Plan(tuple(tasks), info.shard)
    return Job(provider, plan, info.model_copy(update=changes), folder, budget)


def prepare(job: Job) -> None:
    """Write the files of the tasks, then `run.json`, without which no run can be resumed.

    Raises RunLogError.
    """
    for task in job.plan.tasks:
        task.write_files(job.folder)
    write_run_info(job.folder, job.info)


def ended(job: Job, end: RunEnd | None) -> RunInfo:
    """`run.json` after sampling has ended, or was stopped early (`end` is None)."""
    finished_at = None if end is None else now()
    return learned(job, finished_at=finished_at, ended=end, stopped=job.budget.stopped)


def learned(job: Job, **changes: object) -> RunInfo:
    """`run.json` with what the tasks learned about the provider, and with changes."""
    sampling = {task.name: task.info.sampling for task in job.plan.tasks}
    tasks = tuple(
        each.model_copy(update={"sampling": sampling.get(each.name, each.sampling)})
        for each in job.info.tasks
    )
    return job.info.model_copy(update={"tasks": tasks, **changes})


def now() -> str:
    """Return the current time in the format of `run.json`."""
    return datetime.now(UTC).isoformat(timespec="seconds")
