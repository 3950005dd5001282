"""An eval run made in parts, by whatever runs functions elsewhere; the logs are joined here."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from evals.job import EvalJob, ended, grade_answers, prepare, resumed, sample
from evals.records import EvalRunInfo
from evals.run_folder import questions_file
from harness.errors import HarnessError, ProviderUnavailableError
from harness.providers.entries import Provider, changed
from harness.records.rollouts import Rollout
from harness.sampling.attempts import Attempt
from harness.sampling.watching import Watcher
from harness.storage.run_folder import write_text
from harness.storage.run_log import ROLLOUTS_FILE, RunLog, read_rollouts, write_run_info
from harness.storage.sealing import sealed


@dataclass(frozen=True)
class Part:
    """All it takes to make one shard anywhere; keys are looked up there, by name.

    `provider` and `info` are JSON, `questions` the content of files by name.
    """

    provider: str
    info: str
    questions: dict[str, str]


@dataclass(frozen=True)
class Made:
    """What making a part came to: its log, compressed, and why it is not whole if it is not."""

    log: bytes
    error: str | None = None


class Executor(Protocol):
    """Runs `make_part` somewhere. `workers` is how many parts can be made at once."""

    @property
    def workers(self) -> int:
        """How many parts can be made at once."""
        ...

    def execute(self, parts: Sequence[Part]) -> Iterator[Made]:
        """Make the parts, each given back as soon as it is made."""
        ...


class _Silent:
    """A watcher for where nobody looks."""

    def stage(self, text: str) -> None:
        """Nothing to say."""

    def begin(self, planned: int, finished: int, what: str = "attempts") -> None:
        """Nothing to say."""

    def limit_changed(self, limit: int, most: int) -> None:
        """Nothing to say."""

    def started(self, attempt: Attempt) -> None:
        """Nothing to say."""

    def finished(self, rollout: Rollout) -> None:
        """Nothing to say."""


def divided(job: EvalJob, count: int) -> list[Part]:
    """The job in `count` parts that share its provider's limits between them."""
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
        Part(
            entry.model_dump_json(),
            job.info.model_copy(update={"shard": (part, count)}).model_dump_json(),
            questions,
        )
        for part in range(1, count + 1)
    ]


def make_part(part: Part) -> Made:
    """Sample one part in a folder of its own. Never raises a HarnessError: it is in the result."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_run_info(folder, EvalRunInfo.model_validate_json(part.info))
        for name, text in part.questions.items():
            write_text(folder / name, text)
        error = None
        try:
            job = resumed(folder, Provider.model_validate_json(part.provider), None)
            sample(job, _Silent())
        except HarnessError as problem:
            error = str(problem)
        log = folder / ROLLOUTS_FILE
        return Made(zlib.compress(log.read_bytes() if log.exists() else b"", 1), error)


def sample_in_parts(job: EvalJob, executor: Executor, watcher: Watcher) -> None:
    """Carry out a whole job in parts, join their logs, and grade here.

    Raises:
        ProviderUnavailableError: A part could not be made; the others are kept.
        RunLogError: The run folder could not be written.
    """
    prepare(job)
    count = max(1, min(executor.workers, job.plan.planned))
    watcher.stage(f"{count} parts on their way")
    watcher.begin(job.plan.planned, 0)
    with sealed(job.folder) as ending:
        _join_parts(job, executor, count, watcher)
        grade_answers(job, watcher)
        ending.info = ended(job, "all tries")


def _join_parts(job: EvalJob, executor: Executor, count: int, watcher: Watcher) -> None:
    errors = []
    with RunLog(job.folder) as log:
        for made in executor.execute(divided(job, count)):
            if made.error is not None:
                errors.append(made.error)
            for rollout in _unpacked(made):
                log.append(rollout)
                watcher.finished(rollout)
    if errors:
        raise ProviderUnavailableError(f"{len(errors)} of {count} parts failed: {errors[0]}")


def _unpacked(made: Made) -> Iterator[Rollout]:
    with TemporaryDirectory() as place:
        (Path(place) / ROLLOUTS_FILE).write_bytes(zlib.decompress(made.log))
        yield from read_rollouts(Path(place))
