"""Samples eval runs on a Ray cluster: one shard for each CPU; this machine joins the logs."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from evals.datasets.rows import questions_file
from evals.restoring import restored_evals
from harness.errors import ConfigurationError, HarnessError, ProviderUnavailableError
from harness.integrity.seal import sealed
from harness.pipeline.job import Job, ended, prepare, resumed
from harness.pipeline.run import sample
from harness.providers.entries import Provider, changed
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.sampling.budget import Budget
from harness.sampling.run import Observer, run_until_stopped
from harness.storage.run_folder import write_text
from harness.storage.run_log import ROLLOUTS_FILE, RunLog, read_rollouts, write_run_info


@dataclass(frozen=True)
class ShardJob:
    """Everything needed to sample one shard anywhere, as JSON and files by name, without keys."""

    provider: str
    info: str
    questions: dict[str, str]


@dataclass(frozen=True)
class SampledShard:
    """The compressed log of a shard, and the error that ended its sampling early, if any."""

    log: bytes
    error: str | None = None


class RayExecutor:
    """Each shard is a Ray task that takes one CPU.

    The cluster is the one that `RAY_ADDRESS` names, otherwise one on this machine. Its nodes need
    this tool and the environment variables with keys.
    """

    def __init__(self) -> None:
        """Connect, or start a cluster here. Raises ConfigurationError if Ray is not installed."""
        self._ray = _library()
        self._ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")

    @property
    def workers(self) -> int:
        """The number of shards that can be sampled concurrently: the CPUs of the cluster."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def execute(self, shards: Sequence[ShardJob]) -> Iterator[SampledShard]:
        """Sample the shards; each is yielded as soon as it is finished."""
        task = self._ray.remote(sample_shard)
        waiting = [task.remote(shard) for shard in shards]
        try:
            while waiting:
                done, waiting = self._ray.wait(waiting)
                yield self._ray.get(done[0])
        finally:
            self._ray.shutdown()


def divided(job: Job, count: int) -> list[ShardJob]:
    """The job divided into `count` shards, which share its provider's limits."""
    entry = changed(
        job.provider,
        concurrency=max(1, job.provider.concurrency // count),
        rpm=job.provider.rpm and max(1, job.provider.rpm // count),
        tpm=job.provider.tpm and max(1, job.provider.tpm // count),
    )
    questions = {
        name: (job.folder / name).read_text(encoding="utf-8")
        for name in map(questions_file, job.info.settings.evals)
        if (job.folder / name).exists()
    }
    return [
        ShardJob(
            entry.model_dump_json(),
            job.info.model_copy(update={"shard": (part, count)}).model_dump_json(),
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
        error = None
        try:
            provider = Provider.model_validate_json(shard.provider)
            tasks = restored_evals(folder, info)
            sample(resumed(folder, provider, tasks, Budget()), Observer())
        except HarnessError as problem:
            error = str(problem)
        log = folder / ROLLOUTS_FILE
        return SampledShard(zlib.compress(log.read_bytes() if log.exists() else b"", 1), error)


def sample_in_shards(job: Job, executor: RayExecutor, observer: Observer) -> None:
    """Sample in shards, join their logs, and grade.

    Raises ProviderUnavailableError if a shard failed (the others are kept), and RunLogError.
    """
    prepare(job)
    count = max(1, min(executor.workers, job.info.planned))
    observer.stage(f"sampling {count} shards")
    observer.begin(job.info.planned, 0)
    with sealed(job.folder) as ending:
        _join_shards(job, executor, count, observer)
        for task in job.plan.tasks:
            run_until_stopped(task.grade(job.folder, observer, job.budget))
        ending.info = ended(job, "complete")


def _join_shards(job: Job, executor: RayExecutor, count: int, observer: Observer) -> None:
    errors = []
    with RunLog(job.folder) as log:
        for shard in executor.execute(divided(job, count)):
            if shard.error is not None:
                errors.append(shard.error)
            for rollout in _unpacked(shard):
                log.append(rollout)
                observer.finished(rollout)
    if errors:
        raise ProviderUnavailableError(f"{len(errors)} of {count} shards failed: {errors[0]}")


def _unpacked(shard: SampledShard) -> Iterator[Rollout]:
    with TemporaryDirectory() as place:
        (Path(place) / ROLLOUTS_FILE).write_bytes(zlib.decompress(shard.log))
        yield from read_rollouts(Path(place))


def _library() -> ModuleType:
    try:
        return import_module("ray")
    except ImportError:
        raise ConfigurationError(
            "Ray is not installed: pip install 'gpt-oss-verify[ray]', or leave out --executor."
        ) from None
