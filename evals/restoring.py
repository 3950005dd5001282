"""Eval runs from their folders: their tasks and scores, and several runs joined into one.

What is joined is the shards of a run, or whole runs of one provider.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.baselines.scores import EvalScores
from evals.datasets.load import Loaded
from evals.datasets.rows import questions_file, read_file, rows_sha256, validate_rows
from evals.registry import ROWS
from evals.results import rounds_of
from evals.task import EvalTask
from harness.errors import ConfigurationError, RunLogError
from harness.integrity.seal import logs_of, sealed
from harness.pipeline.judge import read_scored
from harness.pipeline.plan import Plan
from harness.pipeline.score import Scorer
from harness.providers.entries import Provider
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.runs import GATE_SETTINGS, DatasetInfo, RunInfo
from harness.records.scores import Score
from harness.storage.run_folder import write_text
from harness.storage.run_log import RunLog, read_rollouts, read_run_info, write_run_info
from harness.tasks.base import Task


def read_questions(folder: Path, info: DatasetInfo) -> Loaded[Any]:
    """The rows of an eval as the run sampled them. Raises ConfigurationError or RunLogError."""
    if info.eval not in ROWS:
        return Loaded((), info)
    path = folder / questions_file(info.eval)
    rows = validate_rows(read_file(path), ROWS[info.eval])
    if rows_sha256(row.content() for row in rows) != (info.withheld or info.sha256):
        raise RunLogError(f"{path} was changed after the run; restore it.")
    return Loaded(rows, info)


def restored_evals(folder: Path, info: RunInfo, grader: Provider | None = None) -> list[EvalTask]:
    """The evals of a run, from its folder. Raises ConfigurationError or RunLogError."""
    return [
        EvalTask(
            read_questions(folder, task.dataset),
            task.conditions,
            task.tries,
            task.sampling,
            info.settings,
            extra_body=info.provider.extra_body,
            sharded=info.shard is not None,
            grader=grader,
        )
        for task in info.of_kind("eval")
        if task.dataset is not None
    ]


def run_scores(folder: Path) -> tuple[RunInfo, list[EvalScores]]:
    """The scores of a run's evals, in complete rounds. Raises ConfigurationError, RunLogError."""
    info = read_run_info(folder)
    tasks = restored_evals(folder, info)
    found: dict[tuple[str, Condition], list[Score]] = defaultdict(list)
    for task in tasks:
        task.read_grades(folder)
    plan = Plan(tuple(tasks), info.shard)
    for score in Scorer(plan).scores(read_scored(folder, plan), missing=False):
        found[score.task, score.condition].append(score)
    results = [
        task.eval_scores(condition, found[task.name, condition])
        for task in tasks
        for condition in task.info.conditions
    ]
    for at, scores in enumerate(results) if info.settings.until_decided else ():
        rounds = rounds_of(scores.scores)
        kept = {question: tries[:rounds] for question, tries in scores.scores.items()}
        results[at] = scores.model_copy(update={"scores": kept, "planned": max(1, rounds)})
    return info, results


MAY_DIFFER = {"concurrency", "budget", *GATE_SETTINGS}
"""Settings in which the parts of a run may differ."""


def merged_info(folders: Sequence[Path]) -> RunInfo:
    """`run.json` of several eval runs as one.

    Shards of one run keep the ids of their attempts. Whole runs become one with as many tries as
    all of them have; attempts of later runs are numbered after those of earlier ones.
    Raises ConfigurationError or RunLogError.
    """
    if len(folders) < 2:
        raise ConfigurationError("There is nothing to merge: name two or more runs.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigurationError("The same run is named twice; its attempts would count twice.")
    infos = [read_run_info(folder) for folder in folders]
    for folder, info in zip(folders, infos, strict=True):
        if any(task.kind != "eval" for task in info.tasks):
            raise ConfigurationError(
                f"{folder} has other tasks than evals; only runs of evals can be merged."
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
            "schema_version": RunInfo.model_fields["schema_version"].default,
            "tasks": tuple(tasks),
            "shard": None,
            "ended": None if None in [info.ended for info in infos] else "complete",
            "merged": tuple(folder.resolve().name for folder in folders),
            "merged_seals": tuple(info.seals[-1].hash if info.seals else None for info in infos),
            "resumed": (),
            "seals": (),
            "started_at": min(info.started_at for info in infos),
            "finished_at": max(info.finished_at or info.started_at for info in infos),
        }
    )


def merge(folders: Sequence[Path], info: RunInfo, out: Path, tasks: Sequence[Task]) -> None:
    """Write a merged run: questions, rollouts and grades, newly chained. Raises RunLogError."""
    write_run_info(out, info)
    for task in info.tasks:
        source = folders[0] / questions_file(task.name)
        if source.exists():
            write_text(out / source.name, source.read_text(encoding="utf-8"))
    ids = Plan(tuple(tasks))
    before = {task.name: 0 for task in info.tasks}
    with sealed(out):
        for folder in folders:
            part = read_run_info(folder)
            _join(folder, out, dict(before), {task.name: task for task in ids.tasks})
            if part.shard is None:
                for task in part.tasks:
                    before[task.name] += task.tries


def _join(folder: Path, out: Path, before: Mapping[str, int], tasks: Mapping[str, Task]) -> None:
    """Append the logs of one run to those in `out`, with new ids."""
    ids: dict[str, str] = {}
    for path in sorted(logs_of(folder), key=lambda path: path.name.startswith("grades-")):
        with RunLog(out, path.name) as log:
            for rollout in _renumbered(read_rollouts(folder, path.name), before, tasks, ids):
                log.append(rollout)


def _renumbered(
    rollouts: Iterator[Rollout],
    before: Mapping[str, int],
    tasks: Mapping[str, Task],
    ids: dict[str, str],
) -> Iterator[Rollout]:
    """The rollouts as they are numbered in the merged run; `ids` collects old and new ids."""
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
    """A grade under the new id of its answer: its sample is `<answer>/<item>`."""
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
    if len(sizes) > 1 or any(each != tries[0] for each in tries):
        raise ConfigurationError(
            "These shards belong to runs with different numbers of shards or tries."
        )
