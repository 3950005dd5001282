"""Merges eval runs: the shards of a run, or whole runs of one provider."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.datasets import questions_file
from harness.errors import ConfigurationError
from harness.records.rollouts import Rollout
from harness.records.runs import GATE_SETTINGS, RunInfo
from harness.run.run_folder import write_text
from harness.run.run_log import RunLog, log_files, read_rollouts, read_run_info, write_run_info
from harness.tasks.task import Task

MAY_DIFFER = {"concurrency", "budget", *GATE_SETTINGS}
"""Settings in which the parts of a run may differ."""


def merged_info(folders: Sequence[Path]) -> RunInfo:
    """Return the `run.json` of a merged run.

    Shards of one run keep the ids of their attempts. If whole runs are merged, the result has the
    sum of their tries; attempts of later runs are numbered after those of earlier ones.
    Raises ConfigurationError or RunLogError.
    """
    if len(folders) < 2:
        raise ConfigurationError("There is nothing to merge: name two or more runs.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigurationError(
            "The same run is named twice; that would count its attempts twice."
        )
    infos = [read_run_info(folder) for folder in folders]
    for folder, info in zip(folders, infos, strict=True):
        if any(task.kind != "eval" for task in info.tasks):
            raise ConfigurationError(
                f"{folder} has tasks other than evals; only eval runs can be merged."
            )
    for folder, info in zip(folders[1:], infos[1:], strict=True):
        _require_same(infos[0], info, folders[0], folder)
    sharded = any(info.shard is not None for info in infos)
    if sharded:
        _require_shards(infos)
    first = infos[0]
    tasks = []
    for index, task in enumerate(first.tasks):
        tries = task.tries if sharded else sum(info.tasks[index].tries for info in infos)
        planned = task.samples * len(task.conditions) * tries
        tasks.append(task.model_copy(update={"tries": tries, "planned": planned}))
    return first.model_copy(
        update={
            "tasks": tuple(tasks),
            "shard": None,
            "ended": None if None in [info.ended for info in infos] else "complete",
            "merged": tuple(folder.resolve().name for folder in folders),
            "resumed": (),
            "started_at": min(info.started_at for info in infos),
            "finished_at": max(info.finished_at or info.started_at for info in infos),
        }
    )


def merge(folders: Sequence[Path], info: RunInfo, out: Path, tasks: Sequence[Task]) -> None:
    """Write a merged run: questions, rollouts and grades. Raises RunLogError."""
    write_run_info(out, info)
    for task in info.tasks:
        source = folders[0] / questions_file(task.name)
        if source.exists():
            write_text(out / source.name, source.read_text(encoding="utf-8"))
    before = {task.name: 0 for task in info.tasks}
    for folder in folders:
        part = read_run_info(folder)
        _join(folder, out, dict(before), {task.name: task for task in tasks})
        if part.shard is None:
            for task in part.tasks:
                before[task.name] += task.tries


def _join(folder: Path, out: Path, before: Mapping[str, int], tasks: Mapping[str, Task]) -> None:
    """Append the logs of one run to those in `out`, with new ids."""
    ids: dict[str, str] = {}
    for path in sorted(log_files(folder), key=lambda path: path.name.startswith("grades-")):
        with RunLog(out, path.name) as log:
            for rollout in _renumbered(read_rollouts(folder, path.name), before, tasks, ids):
                log.append(rollout)


def _renumbered(
    rollouts: Iterator[Rollout],
    before: Mapping[str, int],
    tasks: Mapping[str, Task],
    ids: dict[str, str],
) -> Iterator[Rollout]:
    """Yield the rollouts with the numbers of the merged run; `ids` collects old and new ids."""
    for rollout in rollouts:
        task = tasks.get(rollout.task)
        if task is None:
            yield _of_grade(rollout, ids)
            continue
        number = rollout.attempt + before[rollout.task]
        identity = task.attempt_id(rollout.sample, rollout.condition, number)
        ids[rollout.id] = identity
        shown = None if number == rollout.presentation else rollout.presentation
        changes = {"id": identity, "attempt": number, "presented_as": shown}
        yield rollout.model_copy(update=changes)


def _of_grade(rollout: Rollout, ids: Mapping[str, str]) -> Rollout:
    """Return a grade under the new id of its answer: its sample is `<answer>/<item>`."""
    answer, _, item = rollout.sample.rpartition("/")
    sample = f"{ids.get(answer, answer)}/{item}"
    return rollout.model_copy(update={"id": f"{sample}/{rollout.attempt}", "sample": sample})


def _require_same(first: RunInfo, other: RunInfo, path: Path, other_path: Path) -> None:
    where = f"{path} and {other_path} cannot be merged"
    ours = first.settings.model_dump(exclude=MAY_DIFFER)
    theirs = other.settings.model_dump(exclude=MAY_DIFFER)
    differing = [name for name in ours if ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise ConfigurationError(f"{where}: they differ in {name} ({ours[name]}, {theirs[name]}).")
    places = [(info.provider.base_url, info.provider.name) for info in (first, other)]
    if places[0] != places[1]:
        raise ConfigurationError(f"{where}: they are runs of different providers.")
    for here, there in zip(first.tasks, other.tasks, strict=True):
        for name in ("conditions", "sampling"):
            if getattr(here, name) != getattr(there, name):
                raise ConfigurationError(f"{where}: they differ in the {name} of {here.name}.")
    hashes = [[task.dataset and task.dataset.sha256 for task in i.tasks] for i in (first, other)]
    if hashes[0] != hashes[1]:
        raise ConfigurationError(f"{where}: they have different questions.")
    seeded = any(task.sampling.seed is not None for task in first.tasks)
    if first.shard is None and other.shard is None and seeded:
        raise ConfigurationError(
            f"{where}: with the same --seed their attempts are the same requests, not new ones."
        )


def _require_shards(infos: Sequence[RunInfo]) -> None:
    parts = [info.shard for info in infos]
    if None in parts or len(set(parts)) < len(parts):
        raise ConfigurationError("Merge either complete runs or different shards of one run.")
    tries = [[task.tries for task in info.tasks] for info in infos]
    sizes = {part[1] for part in parts if part is not None}
    if len(sizes) > 1 or any(number != tries[0] for number in tries):
        raise ConfigurationError(
            "These shards belong to runs with different numbers of shards or tries."
        )
