"""A run against one provider, of cases and probes: planning, carrying out, judging its folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.api.base import Settings
from harness.api.conversation import Message
from harness.endpoints.launch import launched
from harness.endpoints.preflight import preflight
from harness.golden import files as golden_files
from harness.golden.records import Golden
from harness.probes import plan as probe_plan
from harness.probes.suites import choose
from harness.providers.entries import Provider, changed
from harness.records.analysis import Analysis
from harness.records.judgements import Examination
from harness.records.runs import RunInfo, RunSettings, Thresholds
from harness.sampling.budget import Budget
from harness.sampling.run import run_attempts, run_until_stopped
from harness.sampling.watching import Observer, Watcher
from harness.storage import run_folder
from harness.storage.run_log import RunLog, read_rollouts, read_run_info, write_run_info
from harness.storage.sealing import sealed
from harness.storage.versions import versions
from harness.tasks.attempts import Attempt, Sample, plan
from harness.tasks.cases import Suite
from harness.transport import RetryPolicy, open_transport
from harness.verdict.analysis import analyse

_PACKAGES_THAT_MATTER = ("aiohttp", "jsonschema", "openai", "pydantic", "uvloop")


@dataclass(frozen=True)
class Job:
    """Everything needed to carry out or go on with one run."""

    provider: Provider
    suite: Suite
    info: RunInfo
    folder: Path
    budget: Budget = field(default_factory=Budget)

    @property
    def golden(self) -> bool:
        """Whether the run has a golden file."""
        return self.info.golden_sha256 is not None


def new_job(
    provider: Provider,
    suite: Suite,
    settings: RunSettings,
    *,
    out: Path,
    command: Sequence[str],
    budget: Budget | None = None,
    golden: Golden | None = None,
) -> Job:
    """Plan a run and make its folder, with a golden file in it if anything is compared with one.

    `golden` is by default the file that ships for the model, if one does. Raises RunLogError.
    """
    now = datetime.now(UTC)
    golden = _needed(golden or golden_files.fitting(provider.model), settings)
    info = RunInfo(
        tool_version=version("gpt-oss-verify"),
        command=tuple(command),
        provider=provider.info(),
        settings=settings,
        cases_file=suite.cases_file.name,
        cases_sha256=suite.cases_file.sha256,
        tools_file=suite.tools_file.name,
        tools_sha256=suite.tools_file.sha256,
        golden_sha256=golden and golden_files.digest(golden),
        planned=sum(1 for _ in _attempts(provider, suite, settings, golden=golden is not None)),
        versions=versions(_PACKAGES_THAT_MATTER),
        started_at=now.isoformat(timespec="seconds"),
    )
    folder = run_folder.create(out, provider.name, now)
    if golden is not None:
        golden_files.keep(folder, golden)
    return Job(provider, suite, info, folder, budget or Budget())


def sample(job: Job, watcher: Watcher) -> None:
    """Carry out a run, or what is left of it; everything finished is in its folder, and sealed.

    Raises:
        ProviderUnavailableError: The provider could not be sampled at all.
        RunLogError: The run folder could not be written.
        StoppedError: The user stopped the run.
    """
    with sealed(job.folder) as ending:
        run_until_stopped(carry_out(job, watcher))
        stopped = job.budget.stopped
        finished_at = None if stopped else datetime.now(UTC).isoformat(timespec="seconds")
        changes = {"finished_at": finished_at, "stopped": stopped}
        ending.info = job.info.model_copy(update=changes)


def judge(
    folder: Path,
    thresholds: Thresholds | None = None,
    keep: Callable[[Iterable[Examination]], object] = iter,
) -> Analysis:
    """Judge what is in a run folder, by other thresholds than its own if given.

    `keep` is given what was judged of every single rollout.
    """
    info = read_run_info(folder)
    suite = run_folder.read_suite(folder, info)
    return analyse(
        read_rollouts(folder),
        run_id=folder.name,
        run=info,
        suite=suite,
        thresholds=thresholds,
        golden=golden_files.kept(folder, info),
        keep=keep,
    )


async def carry_out(job: Job, watcher: Watcher) -> None:
    """Make every request of a job that is not in its log yet; see `sample` for the errors."""
    write_run_info(job.folder, job.info)
    run_folder.write_suite(job.folder, job.suite)
    settings = job.info.settings
    with RunLog(job.folder) as log:
        attempts = _attempts(job.provider, job.suite, settings, golden=job.golden)
        finished = sum(attempt.id in log.finished for attempt in attempts)
        if finished == job.info.planned:
            return
        watcher.stage("starting the provider" if job.provider.launch else "asking the provider")
        async with launched(job.provider, job.folder / run_folder.PROVIDER_LOG) as provider:
            job.budget.note(await preflight(provider, settings.apis))
            watcher.begin(job.info.planned, finished)
            await make_requests(job, provider, log, watcher)


async def make_requests(
    job: Job,
    provider: Provider,
    log: RunLog,
    observer: Observer,
    retries: RetryPolicy | None = None,
) -> None:
    """Make every request of a job that is not in its log yet, of a provider that is there.

    Args:
        job: The run.
        provider: Its provider, as it can be reached now.
        log: The log of its folder.
        observer: Told what happens.
        retries: Another policy than the usual one.

    Raises:
        RunLogError: The log could not be written.
    """
    settings = job.info.settings
    for concurrency, attempts in _rounds(provider, job.suite, settings, golden=job.golden):
        widened = changed(provider, concurrency=concurrency)
        async with open_transport(widened, retries=retries) as transport:
            await run_attempts(
                attempts,
                transport=transport,
                log=log,
                concurrency=concurrency,
                observer=observer,
                allowance=job.budget.of(provider),
            )


def _needed(golden: Golden | None, settings: RunSettings) -> Golden | None:
    """The golden file, if anything that is chosen compares with it."""
    chosen = choose(settings.suite, settings.only, settings.skip)
    return golden if any(probe.group.golden for probe in chosen.probes) else None


def _attempts(
    provider: Provider, suite: Suite, settings: RunSettings, *, golden: bool
) -> Iterator[Attempt]:
    for _, attempts in _rounds(provider, suite, settings, golden=golden):
        yield from attempts


def _rounds(
    provider: Provider, suite: Suite, settings: RunSettings, *, golden: bool
) -> Iterator[tuple[int, Iterator[Attempt]]]:
    """What is asked one after the other: attempts, and how many of them at once."""
    chosen = choose(settings.suite, settings.only, settings.skip)
    how = Settings(provider.model, extra_body=provider.extra_body)
    asking = [probe for probe in chosen.probes if golden or not probe.group.golden]
    steady, bursts = probe_plan.rounds(asking)
    cases = _case_attempts(provider, suite, settings) if chosen.cases else ()
    probed = probe_plan.attempts(steady, how, settings.apis)
    yield settings.concurrency, itertools.chain(cases, probed)
    for at_once, probes in bursts:
        yield (
            max(at_once, settings.concurrency),
            probe_plan.attempts(probes, how, settings.apis),
        )


def _case_attempts(provider: Provider, suite: Suite, settings: RunSettings) -> Iterator[Attempt]:
    how = Settings(
        model=provider.model,
        reasoning_effort=settings.reasoning_effort,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        seed=settings.seed,
        extra_body=provider.extra_body,
    )
    samples = [
        Sample(case.id, (Message("user", case.prompt),), case.instructions, suite.tools)
        for case in suite.cases
    ]
    return plan(
        samples,
        how,
        apis=settings.apis,
        modes=settings.streaming,
        tries=settings.tries,
        max_turns=settings.max_turns,
    )
