"""Samples eval runs on a Ray cluster: one shard for each CPU; this machine joins the logs."""

import os
import socket
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from evals.restoring import restored_evals
from harmony.extras import install_command
from harness.errors import ConfigurationError, HarnessError, ProviderUnavailableError, StoppedError
from harness.providers.entries import Provider
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.run.budget import Budget
from harness.run.run_folder import EVAL_FILES, write_text
from harness.run.run_log import ROLLOUTS_FILE, RunLog, read_rollouts, write_run_info
from harness.run.sampling import Observer, run_until_stopped
from harness.session import sample
from harness.tasks.plan import Plan, continued, ended, started

_CONNECT_SECONDS = 10
"""Ray itself tries for many minutes to reach a cluster that does not answer."""


@dataclass(frozen=True)
class ShardJob:
    """Everything needed to sample one shard anywhere, as JSON and files by name, without keys.

    `part` is that of the plan.
    """

    part: tuple[int, int]
    provider: str
    info: str
    questions: dict[str, str]


@dataclass(frozen=True)
class SampledShard:
    """The compressed log of a shard, and the error that ended its sampling early, if any.

    `unavailable`: the provider could not be sampled.
    """

    log: bytes
    error: str | None = None
    unavailable: bool = False


class RayExecutor:
    """Each shard is a Ray task that takes one CPU.

    The cluster is the one that `RAY_ADDRESS` names, otherwise one on this machine. Its nodes need
    this tool and the environment variables with keys.
    """

    def __init__(self) -> None:
        """Connect, or start a cluster here. Raises ConfigurationError if Ray cannot be used."""
        self._ray = _library()
        _reach(os.environ.get("RAY_ADDRESS", ""))
        try:
            self._ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigurationError(
                f"Ray cannot be used: {_one_line(error)}; RAY_ADDRESS names the cluster, and "
                "without it one is started on this machine."
            ) from None

    @property
    def workers(self) -> int:
        """The number of shards that can be sampled concurrently: the CPUs of the cluster."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def execute(self, shards: Sequence[ShardJob]) -> Iterator[SampledShard]:
        """Sample the shards; each is yielded as soon as it is finished or has failed."""
        task = self._ray.remote(sample_shard)
        waiting = [task.remote(shard) for shard in shards]
        try:
            while waiting:
                done, waiting = self._ray.wait(waiting)
                try:
                    sampled = self._ray.get(done[0])
                except self._ray.exceptions.RayError as error:
                    sampled = SampledShard(zlib.compress(b""), _one_line(error))
                yield sampled
        finally:
            self._ray.shutdown()


def divided(plan: Plan, folder: Path, count: int) -> list[ShardJob]:
    """Return the plan of a run divided into `count` shards, which share its provider's limits."""
    limits = {name: getattr(plan.provider, name) for name in ("concurrency", "rpm", "tpm")}
    shares = {name: limit and max(1, limit // count) for name, limit in limits.items()}
    entry = plan.provider.model_copy(update=shares)
    questions = {
        path.name: path.read_text(encoding="utf-8")
        for pattern in EVAL_FILES
        for path in folder.glob(pattern)
    }
    return [
        ShardJob(
            (part, count),
            entry.model_dump_json(exclude_unset=True),  # the default timeout depends on the task
            plan.info.model_dump_json(),
            questions,
        )
        for part in range(1, count + 1)
    ]


def sample_shard(shard: ShardJob) -> SampledShard:
    """Sample one shard in its own folder. A HarnessError is returned in the result, not raised."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        info = RunInfo.model_validate_json(shard.info)
        write_run_info(folder, info)
        for name, text in shard.questions.items():
            write_text(folder / name, text)
        error, unavailable = None, False
        try:
            provider = Provider.model_validate_json(shard.provider)
            tasks = restored_evals(folder, info)
            plan = replace(continued(info, provider, tasks, Budget()), part=shard.part)
            sample(plan, folder, Observer())
        except HarnessError as problem:
            error = str(problem)
            unavailable = isinstance(problem, ProviderUnavailableError) and problem.tested
        log = folder / ROLLOUTS_FILE
        packed = zlib.compress(log.read_bytes() if log.exists() else b"", 1)
        return SampledShard(packed, error, unavailable)


def sample_in_shards(plan: Plan, folder: Path, executor: RayExecutor, observer: Observer) -> None:
    """Sample in shards, join their logs, and grade.

    Raises ProviderUnavailableError if a shard failed (the others are kept), RunLogError, and
    StoppedError when the user stops the run, which loses the shards in progress.
    """
    plan = started(plan, folder)
    count = max(1, min(executor.workers, plan.info.planned))
    observer.stage(f"sampling {count} shards")
    observer.begin({task.name: task.planned for task in plan.info.tasks})
    try:
        _join_shards(plan, folder, executor, count, observer)
    except KeyboardInterrupt:
        raise StoppedError("stopped before the end; finish it with --resume") from None
    for task in plan.tasks:
        run_until_stopped(task.grade(folder, observer, plan.budget))
    write_run_info(folder, ended(plan, "complete"))


def _join_shards(
    plan: Plan, folder: Path, executor: RayExecutor, count: int, observer: Observer
) -> None:
    errors, unavailable = [], False
    with RunLog(folder) as log:
        for shard in executor.execute(divided(plan, folder, count)):
            if shard.error is not None:
                errors.append(shard.error)
                unavailable = unavailable or shard.unavailable
            for rollout in _unpacked(shard):
                log.append(rollout)
                observer.finished(rollout)
    if errors:
        failed = ProviderUnavailableError(f"{len(errors)} of {count} shards failed: {errors[0]}")
        failed.tested = unavailable
        raise failed


def _unpacked(shard: SampledShard) -> Iterator[Rollout]:
    with TemporaryDirectory() as place:
        (Path(place) / ROLLOUTS_FILE).write_bytes(zlib.decompress(shard.log))
        yield from read_rollouts(Path(place))


def _reach(address: str) -> None:
    """Raise ConfigurationError if nothing answers at the host and port of RAY_ADDRESS."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigurationError(
            f"The Ray cluster at {address}, which RAY_ADDRESS names, cannot be reached: "
            f"{error.strerror or error}."
        ) from None


def _one_line(error: Exception) -> str:
    """Return the message of an error of Ray: in those of tasks, the last line is the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else type(error).__name__


def _library() -> ModuleType:
    try:
        return import_module("ray")
    except ImportError:
        raise ConfigurationError(
            f"Ray is not installed. Leave out --executor, or use: {install_command('ray')}"
        ) from None
