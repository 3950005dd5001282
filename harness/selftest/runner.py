"""One run of the tool against a server with a known fault."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from harness.cases import Suite, load_suite
from harness.golden import files as golden_files
from harness.pipeline.run import judge, make_requests, new_job, prepare
from harness.probes.suites import choose
from harness.providers.entries import Provider
from harness.records.conditions import MODES, Condition
from harness.records.runs import RunSettings, Sampling
from harness.records.scores import Score
from harness.sampling.watching import Silent
from harness.selftest import engines
from harness.selftest.faults import Fault
from harness.selftest.rows import DefectRun, accused
from harness.selftest.stages import FEW_CASES, Stage
from harness.storage import run_folder
from harness.storage.run_log import RunLog
from harness.tasks.base import Task
from harness.tasks.probing import ProbeOptions, probe_tasks
from harness.tasks.tool_calling import ToolCalling
from harness.transport import NO_RETRIES

CONCURRENCY = 24
"""Concurrent requests of one run."""
_MAX_TURNS = 3


@dataclass(frozen=True)
class Runner:
    """Makes runs against servers with faults: their cases, and the folder of their runs."""

    cases: Suite
    folder: Path

    async def run(
        self, provider: Provider, fault: Fault, stage: Stage, *, keep: bool = True
    ) -> DefectRun:
        """Make one run of a stage against a server with a fault.

        Unless `keep` is set, the folder of a run without an error is deleted.

        Raises:
            HarnessError: The run could not be made or not be written.
        """
        began = time.monotonic()
        faulty = engines.with_fault(provider, fault)
        settings = RunSettings(
            apis=provider.apis,
            modes=MODES,
            concurrency=CONCURRENCY,
            suite=stage.suite,
            only=stage.only,
            max_context=engines.context(long=stage.long),
        )
        job = new_job(
            faulty.model_copy(update={"name": fault.name.replace(":", "-")}),
            self._tasks(provider, settings),
            settings,
            out=self.folder,
            command=("gpt-oss-verify", "selftest", "--faults", fault.name),
            retries=NO_RETRIES,
        )
        prepare(job)
        with RunLog(job.folder) as log:
            await make_requests(job, faulty, log, Silent())
        scores: list[Score] = []
        analysis = await asyncio.to_thread(
            judge, job.folder, job.info, job.plan.tasks, keep=scores.extend
        )
        made = DefectRun(
            results=tuple(each for each in analysis.checks if each.applicable or each.examples),
            requests=sum(score.requests for score in scores),
            tokens=sum((score.usage.input or 0) + (score.usage.output or 0) for score in scores),
            seconds=time.monotonic() - began,
        )
        if not (keep or accused(made)):
            await asyncio.to_thread(shutil.rmtree, job.folder)
        return made

    def _tasks(self, provider: Provider, settings: RunSettings) -> list[Task]:
        chosen = choose(settings.suite, settings.only)
        tasks: list[Task] = []
        if chosen.cases:
            conditions = [
                Condition(model=provider.model, api=api, mode=mode)
                for api in provider.apis
                for mode in MODES
            ]
            sampling = Sampling(max_turns=_MAX_TURNS)
            tasks.append(ToolCalling(self.cases, conditions, tries=1, sampling=sampling))
        golden = golden_files.fitting(provider.model)
        options = ProbeOptions(
            provider.model, provider.apis, golden=golden, max_context=settings.max_context
        )
        return [*tasks, *probe_tasks(chosen.probes, options)]


def runner(out: Path) -> Runner:
    """Write the few cases that are used, and name the folder of the runs. Raises HarnessError."""
    lines = load_suite().cases_file.text.splitlines()
    ids = [f'"id": "{case}"' for case in FEW_CASES]
    path = out / "cases.jsonl"
    few = [line for line in lines if any(each in line for each in ids)]
    run_folder.write_text(path, "\n".join(few) + "\n")
    return Runner(load_suite(path), out / "runs")
