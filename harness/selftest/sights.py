"""One run of the harness against a server, as the self-test makes it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.api import DIALECTS
from harness.api.base import UnreadableReplyError
from harness.providers.entries import Provider
from harness.records.rollouts import Rollout
from harness.records.runs import RunSettings
from harness.sampling.attempts import Attempt
from harness.selftest import engines
from harness.selftest.faults import Fault
from harness.selftest.rows import Sight, accused
from harness.selftest.stages import FEW_CASES, Stage
from harness.storage import run_folder
from harness.storage.run_log import RunLog, read_rollouts, write_run_info
from harness.tasks.cases import Suite, load_suite
from harness.transport import NO_RETRIES
from harness.verification import smoke

CONCURRENCY = 24
"""Requests at once of one run."""
_MAX_TURNS = 3


@dataclass(frozen=True)
class Observatory:
    """Where runs are made: their cases, and the folder that theirs are in."""

    cases: Suite
    folder: Path

    async def see(
        self, provider: Provider, fault: Fault, stage: Stage, *, keep: bool = True
    ) -> Sight:
        """Run a stage against a server with a fault.

        Unless it is to be kept, the folder of a run in which no error was found is deleted.

        Raises:
            HarnessError: The run could not be made or not be written.
        """
        began = time.monotonic()
        faulty = engines.with_fault(provider, fault)
        settings = RunSettings(
            apis=provider.apis,
            streaming=(True, False),
            tries=1,
            max_turns=_MAX_TURNS,
            strict=False,
            concurrency=CONCURRENCY,
            suite=stage.suite,
            only=stage.only,
        )
        name = fault.name.replace(":", "-")
        job = smoke.new_job(
            faulty.model_copy(update={"name": name}),
            self.cases,
            settings,
            out=self.folder,
            command=("gpt-oss-verify", "selftest", "--faults", fault.name),
        )
        write_run_info(job.folder, job.info)
        run_folder.write_suite(job.folder, job.suite)
        with RunLog(job.folder) as log:
            await smoke.make_requests(job, faulty, log, _Unseen(), NO_RETRIES)
        analysis = await asyncio.to_thread(smoke.judge, job.folder)
        requests, tokens = await asyncio.to_thread(_cost, job.folder)
        sight = Sight(
            results=tuple(each for each in analysis.checks if each.examples),
            requests=requests,
            tokens=tokens,
            seconds=time.monotonic() - began,
        )
        if not (keep or accused(sight)):
            await asyncio.to_thread(shutil.rmtree, job.folder)
        return sight


def observatory(out: Path) -> Observatory:
    """Write down the few cases that are asked, and where runs go. Raises HarnessError."""
    lines = load_suite().cases_file.text.splitlines()
    ids = [f'"id": "{case}"' for case in FEW_CASES]
    path = out / "cases.jsonl"
    few = [line for line in lines if any(each in line for each in ids)]
    run_folder.write_text(path, "\n".join(few) + "\n")
    return Observatory(load_suite(path), out / "runs")


class _Unseen:
    """Watches nothing."""

    def started(self, attempt: Attempt) -> None:
        """Nothing to say."""

    def finished(self, rollout: Rollout) -> None:
        """Nothing to say."""


def _cost(folder: Path) -> tuple[int, int]:
    """Requests made in a run, and tokens read and written as far as they were reported."""
    requests = tokens = 0
    for rollout in read_rollouts(folder):
        requests += len(rollout.exchanges)
        tokens += sum(_tokens(rollout))
    return requests, tokens


def _tokens(rollout: Rollout) -> Iterator[int]:
    for exchange in rollout.exchanges:
        try:
            usage = DIALECTS[rollout.api].read(exchange).usage
        except UnreadableReplyError:
            continue
        if usage is not None:
            yield (usage.input_tokens or 0) + (usage.output_tokens or 0)
