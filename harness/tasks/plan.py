"""The plan of a run: what to sample, from which provider, within which limits."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harmony.installed import harmony_package
from harness.providers.entries import Provider
from harness.records.runs import ProviderInfo, RunEnd, RunInfo, RunSettings
from harness.records.settings import Thresholds
from harness.run.budget import Budget
from harness.run.run_log import RUN_FILE, write_run_info
from harness.tasks.task import Task
from harness.transport.retry import RetryPolicy

PACKAGES = ("aiohttp", "jsonschema-rs", "numpy", "openai", "pydantic")


@dataclass(frozen=True)
class Plan:
    """Everything that a run, or the rest of an interrupted one, does.

    `info` is its `run.json`. `grader` grades answers, and `retries` replaces those of tasks. `part`
    is the part of its attempts to make: the i-th of n, counted from 1.
    """

    provider: Provider
    tasks: tuple[Task, ...]
    info: RunInfo
    budget: Budget = field(default_factory=Budget)
    grader: Provider | None = None
    retries: RetryPolicy | None = None
    part: tuple[int, int] = (1, 1)


def new_info(
    provider: ProviderInfo,
    tasks: Sequence[Task],
    settings: RunSettings,
    command: Sequence[str],
) -> RunInfo:
    """Return the `run.json` of a new run; nothing is written."""
    return RunInfo(
        tool_version=version("gpt-oss-verify"),
        command=tuple(command),
        provider=provider,
        settings=settings,
        tasks=tuple(task.info for task in tasks),
        versions={
            "python": platform.python_version(),
            "platform": platform.platform(),
            "openai_harmony": harmony_package().described,
            **{name: version(name) for name in PACKAGES},
        },
        started_at=now(),
    )


def continued(
    info: RunInfo,
    provider: Provider,
    tasks: Sequence[Task],
    budget: Budget,
    thresholds: Thresholds | None = None,
) -> Plan:
    """Return the plan that finishes a run; `info` is its `run.json`."""
    settings: dict[str, object] = {
        "concurrency": provider.concurrency,
        "budget": budget.recorded_limits,
    }
    if thresholds is not None:
        settings["thresholds"] = thresholds
    changed_settings = info.settings.model_copy(update=settings)
    changes = {"settings": changed_settings, "resumed": (*info.resumed, now()), "stopped": None}
    return Plan(provider, tuple(tasks), info.model_copy(update=changes), budget)


def started(plan: Plan, folder: Path) -> Plan:
    """Return the plan with the time of its start, and write the files of a run that starts now.

    These are the files of the tasks, then `run.json`, without which no run can be resumed.
    Raises RunLogError.
    """
    for task in plan.tasks:
        task.write_files(folder)
    if not (folder / RUN_FILE).exists():
        plan = replace(plan, info=plan.info.model_copy(update={"started_at": now()}))
    write_run_info(folder, plan.info)
    return plan


def ended(plan: Plan, end: RunEnd | None) -> RunInfo:
    """Return `run.json` after sampling has ended, or was stopped early (`end` is None)."""
    finished_at = None if end is None else now()
    return learned(plan, finished_at=finished_at, ended=end, stopped=plan.budget.stopped)


def learned(plan: Plan, **changes: object) -> RunInfo:
    """Return `run.json` with what the tasks learned about the provider, and with changes."""
    sampling = {task.name: task.info.sampling for task in plan.tasks}
    tasks = tuple(
        task.model_copy(update={"sampling": sampling.get(task.name, task.sampling)})
        for task in plan.info.tasks
    )
    return plan.info.model_copy(update={"tasks": tasks, **changes})


def now() -> str:
    """Return the current time in the format of `run.json`."""
    return datetime.now(UTC).isoformat(timespec="seconds")
