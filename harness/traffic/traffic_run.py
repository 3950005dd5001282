"""Write conversations of other clients as a run folder, in the form of sampled ones."""

from collections.abc import Sequence
from pathlib import Path

from harness.records.conditions import APIS, MODES
from harness.records.runs import ProviderInfo, RunSettings
from harness.run import run_folder
from harness.run.run_log import RunLog, write_run_info
from harness.tasks.plan import new_info, now
from harness.tasks.recorded import ImportedTraffic, traffic_info
from harness.traffic.conversations import Traffic


def write_traffic(
    traffic: Traffic, provider: ProviderInfo, *, out: Path, command: Sequence[str], verdict: bool
) -> Path:
    """Write the conversations into a new run folder in `out`, and return it.

    Without `verdict`, the run has only findings. Raises RunLogError.
    """
    task = ImportedTraffic(traffic_info(traffic.rollouts, traffic.info))
    seen = {rollout.condition.api for rollout in traffic.rollouts}
    settings = RunSettings(
        apis=tuple(api for api in APIS if api in seen),
        modes=MODES,
        concurrency=1,
        findings_only=not verdict,
    )
    info = new_info(provider, [task], settings, command)
    folder = run_folder.create(out, provider.name)
    with RunLog(folder) as log:
        for rollout in traffic.rollouts:
            log.append(rollout)
    finished = info.model_copy(update={"finished_at": now(), "ended": "complete"})
    write_run_info(folder, finished)
    return folder
