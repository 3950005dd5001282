"""Judge a run from its folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo, Thresholds
from harness.run.run_log import read_rollouts
from harness.tasks.plan import Plan
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, analyze
from harness.verdict.exchange_counts import ExchangeCounter


def judge(
    folder: Path,
    info: RunInfo,
    tasks: Sequence[Task],
    *,
    thresholds: Thresholds | None = None,
) -> Judged:
    """Judge a run from its folder, without writing files or using the network.

    `info` is its `run.json`, perhaps with other settings, such as another baseline. `thresholds`
    replace its own. Raises RunLogError.
    """
    for task in tasks:
        task.read_grades(folder)
    counter = ExchangeCounter()

    def counted() -> Iterator[Rollout]:
        for rollout in read_rollouts(folder):
            counter.add(rollout)
            yield rollout

    plan = Plan(tuple(tasks), info.shard)
    analysis, scores = analyze(counted(), plan, info, run_id=folder.name, thresholds=thresholds)
    return Judged(analysis.model_copy(update={"exchanges": counter.counts()}), scores)
