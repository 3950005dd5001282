"""Run folders of traffic: conversations of other clients, in the form of sampled ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.records.conditions import MODES, Api
from harness.records.runs import AgentResult, ImportInfo, ProviderInfo, RunSettings
from harness.run import run_folder
from harness.run.run_log import RunLog, read_rollouts, read_run_info, write_run_info
from harness.tasks.job import new_info, now
from harness.tasks.plan import Plan
from harness.tasks.recorded import ImportedTraffic, traffic_info
from harness.traffic.conversations import Traffic


def create(
    provider: ProviderInfo,
    apis: Sequence[Api],
    *,
    out: Path,
    command: Sequence[str],
    verdict: bool,
    agents: Mapping[str, AgentResult] | None = None,
) -> Path:
    """Create a run folder without conversations; `agents` will add theirs. Raises RunLogError."""
    task = traffic_info((), ImportInfo(files={}, requests=0, left_out={}, agents=agents or {}))
    settings = RunSettings(apis=tuple(apis), modes=MODES, concurrency=1, findings_only=not verdict)
    info = new_info(provider, Plan((ImportedTraffic(task),)), settings, command)
    folder = run_folder.create(out, provider.name)
    write_run_info(folder, info)
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[TrafficRun]:
    """Open the run in a folder to add conversations. Raises RunLogError."""
    with RunLog(folder) as log:
        yield TrafficRun(folder, log)


class TrafficRun:
    """A run folder that grows and is consistent after each addition; `info` is its `run.json`."""

    def __init__(self, folder: Path, log: RunLog) -> None:
        self.info = read_run_info(folder)
        self._folder = folder
        self._log = log
        self._rollouts = list(read_rollouts(folder))

    @property
    def imported(self) -> ImportInfo:
        """What has been added so far."""
        found = self.info.tasks[0].imported
        assert found is not None
        return found

    def resume(self) -> None:
        """Note the time of another session."""
        self._write({"resumed": (*self.info.resumed, now())})

    def add(self, traffic: Traffic, agents: Mapping[str, AgentResult] | None = None) -> None:
        """Add conversations, and the results of the agents that had them."""
        for rollout in traffic.rollouts:
            self._log.append(rollout)
            self._rollouts.append(rollout)
        before, more = self.imported, traffic.info
        imported = ImportInfo(
            files={**before.files, **more.files},
            requests=before.requests + more.requests,
            left_out=Counter(before.left_out) + Counter(more.left_out),
            agents={**before.agents, **(agents or {})},
        )
        self._write({"tasks": (traffic_info(self._rollouts, imported),)})

    def complete(self) -> None:
        """Note that nothing is missing."""
        self._write({"finished_at": now(), "ended": "complete"})

    def _write(self, changes: Mapping[str, object]) -> None:
        self.info = self.info.model_copy(update=changes)
        write_run_info(self._folder, self.info)
