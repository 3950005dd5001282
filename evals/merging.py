"""Runs joined into one: the shards of a run, or tries taken on different days or machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evals.judging import restored_plan
from evals.records import EvalRunInfo
from evals.run_folder import questions_file, read_eval_info
from harness.errors import ConfigurationError, RunLogError
from harness.records.rollouts import Rollout
from harness.storage.run_folder import write_text
from harness.storage.run_log import RunLog, read_rollouts, write_run_info
from harness.storage.sealing import logs_of, sealed

MAY_DIFFER = {
    "concurrency",
    "tries",
    "budget",
    "baseline",
    "margin",
    "margins",
    "must_ask",
    "origins",
}


def merged_info(folders: Sequence[Path]) -> EvalRunInfo:
    """What the runs come to together.

    Shards of one run keep the ids of their tries. Whole runs become one with as many tries as all
    of them have; later ones get the numbers after those of the earlier.

    Raises:
        ConfigurationError: The runs asked other questions, or in another way, or the same tries.
        RunLogError: A folder is not that of an eval run.
    """
    if len(folders) < 2:
        raise ConfigurationError("There is nothing to merge: name two runs or more.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigurationError("The same run is named twice: its tries would count twice.")
    infos = [read_eval_info(folder) for folder in folders]
    for folder, info in zip(folders[1:], infos[1:], strict=True):
        _require_same(infos[0], info, folders[0], folder)
    sharded = any(info.shard is not None for info in infos)
    if sharded:
        _require_shards(infos)
    first = infos[0]
    tries = {
        name: first.settings.tries[name]
        if sharded
        else sum(info.settings.tries[name] for info in infos)
        for name in first.settings.evals
    }
    whole = first.model_copy(
        update={
            "settings": first.settings.model_copy(update={"tries": tries}),
            "shard": None,
            "ended": None if None in [info.ended for info in infos] else "all tries",
            "merged": tuple(folder.resolve().name for folder in folders),
            "merged_seals": tuple(info.seals[-1].hash if info.seals else None for info in infos),
            "resumed": (),
            "seals": (),
            "started_at": min(info.started_at for info in infos),
            "finished_at": max(info.finished_at or info.started_at for info in infos),
        }
    )
    return whole.model_copy(update={"planned": restored_plan(folders[0], whole).planned})


def merge(folders: Sequence[Path], info: EvalRunInfo, out: Path) -> None:
    """Write the folder of a merged run: its questions, rollouts and grades, newly chained.

    Args:
        folders: The runs.
        info: What they come to, from `merged_info`.
        out: An empty folder.

    Raises:
        RunLogError: A log cannot be read or written.
    """
    write_run_info(out, info)
    for data in info.datasets:
        source = folders[0] / questions_file(data.eval)
        if source.exists():
            write_text(out / source.name, source.read_text(encoding="utf-8"))
    before = dict.fromkeys(info.settings.evals, 0)
    with sealed(out):
        for folder in folders:
            part = read_eval_info(folder)
            _join(folder, part, out, before)
            if part.shard is None:
                for name, tries in part.settings.tries.items():
                    before[name] += tries


def _join(folder: Path, part: EvalRunInfo, out: Path, before: dict[str, int]) -> None:
    """Append the logs of one run to those in `out`."""
    rename = _renaming(folder, part, dict(before))
    for log in logs_of(folder):
        _append(out, log.name, _renamed(read_rollouts(folder, log.name), rename))


def _append(folder: Path, name: str, rollouts: Iterator[Rollout]) -> None:
    with RunLog(folder, name) as log:
        for rollout in rollouts:
            log.append(rollout)


def _renamed(rollouts: Iterator[Rollout], rename: Callable[[str], str]) -> Iterator[Rollout]:
    """The rollouts with new ids. `attempt` stays: it says how the question was put."""
    for rollout in rollouts:
        changes = {"id": rename(rollout.id), "sample": rename(rollout.sample)}
        yield rollout.model_copy(update=changes)


def _renaming(folder: Path, info: EvalRunInfo, before: dict[str, int]) -> Callable[[str], str]:
    """How the ids of a run's records read in the merged run.

    The id of a try ends in its number; that of a grade goes on after it.
    """
    if not any(before.values()):
        return lambda identity: identity
    plan = restored_plan(folder, info)
    stems = {
        f"{cell.name}/{question.id}/": before[cell.eval]
        for cell in plan.cells
        for question in plan.questions[cell.eval]
    }

    def rename(identity: str) -> str:
        end = identity.find("/")
        while end >= 0:
            stem = identity[: end + 1]
            if stem in stems:
                number, slash, rest = identity[end + 1 :].partition("/")
                return f"{stem}{int(number) + stems[stem]}{slash}{rest}"
            end = identity.find("/", end + 1)
        return identity

    return rename


def _require_same(first: EvalRunInfo, other: EvalRunInfo, path: Path, other_path: Path) -> None:
    ours = first.settings.model_dump(exclude=MAY_DIFFER)
    theirs = other.settings.model_dump(exclude=MAY_DIFFER)
    differing = [name for name in ours if ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise ConfigurationError(
            f"{path} and {other_path} cannot be merged: they differ in {name} "
            f"({ours[name]} and {theirs[name]})."
        )
    if (first.provider.base_url, first.provider.name) != (
        other.provider.base_url,
        other.provider.name,
    ):
        raise ConfigurationError(
            f"{path} and {other_path} cannot be merged: they are runs of different providers."
        )
    hashes = [[data.sha256 for data in info.datasets] for info in (first, other)]
    if hashes[0] != hashes[1]:
        raise ConfigurationError(
            f"{path} and {other_path} cannot be merged: they asked different questions."
        )
    if first.shard is None and other.shard is None and first.settings.send_seed:
        raise ConfigurationError(
            f"{path} and {other_path} cannot be merged: with the same --seed their tries are the "
            "same requests, not new ones."
        )


def _require_shards(infos: Sequence[EvalRunInfo]) -> None:
    parts = [info.shard for info in infos]
    if None in parts or len(set(parts)) < len(parts):
        raise ConfigurationError("Merge either whole runs or different shards of one run.")
    if len({part[1] for part in parts if part is not None}) > 1 or any(
        info.settings.tries != infos[0].settings.tries for info in infos
    ):
        raise RunLogError("These shards are of runs that were divided differently.")
