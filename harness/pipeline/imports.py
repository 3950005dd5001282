"""Make a run folder from imported traffic, as if the conversations had been sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.integrity.seal import sealed
from harness.pipeline.job import new_info
from harness.pipeline.plan import Plan
from harness.records.conditions import APIS, MODES
from harness.records.runs import AgentResult, ProviderInfo, RunSettings
from harness.storage import run_folder
from harness.storage.run_log import RunLog, write_run_info
from harness.tasks.traffic import ImportedTraffic, traffic_info
from harness.traffic.rollouts import Traffic


def write_run(
    traffic: Traffic,
    provider: ProviderInfo,
    *,
    out: Path,
    command: Sequence[str],
    verdict: bool,
    agents: Mapping[str, AgentResult] | None = None,
) -> Path:
    """Write a run folder with all conversations, sealed; nothing is judged yet.

    Args:
        traffic: What was imported.
        provider: The provider that answered.
        out: The folder in which the run's folder is made.
        command: The command line, for `run.json`.
        verdict: Whether the run is to get a verdict.
        agents: The agents that made the traffic, by name, with their results.

    Raises:
        RunLogError: The folder cannot be written.
    """
    imported = traffic.info.model_copy(update={"agents": agents or {}})
    task = traffic_info(traffic.rollouts, imported)
    settings = RunSettings(
        apis=tuple(api for api in APIS if any(each.api == api for each in task.conditions)),
        modes=tuple(mode for mode in MODES if any(each.mode == mode for each in task.conditions)),
        concurrency=1,
        findings_only=not verdict,
    )
    info = new_info(provider, Plan((ImportedTraffic(task),)), settings, command)
    info = info.model_copy(update={"finished_at": info.started_at, "ended": "complete"})
    folder = run_folder.create(out, provider.name, datetime.now(UTC))
    write_run_info(folder, info)
    with sealed(folder) as ending, RunLog(folder) as log:
        for rollout in traffic.rollouts:
            log.append(rollout)
        ending.info = info
    return folder
