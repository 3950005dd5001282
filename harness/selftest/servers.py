"""Servers of the reference engine with faults, and runs of the tool against them."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from harness.golden import files as golden_files
from harness.providers.entries import Launch, Provider, changed
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.runs import RunSettings, Sampling
from harness.run import run_folder
from harness.run.cases import load_suite
from harness.run.launch import launched
from harness.run.run_log import RunLog
from harness.run.sampling import Observer
from harness.selftest.faults import HEALTHY, Fault
from harness.selftest.rows import DefectRun, has_error
from harness.selftest.stages import FEW_CASES, Stage
from harness.session import Session
from harness.tasks.plan import Plan, ended, new_info, started
from harness.tasks.suite import suite_tasks
from harness.transport.retry import NO_RETRIES
from harness.verdict.judge import judge

_MODEL = "gpt-oss-small"
_HEADER = "X-Fault"
CONTEXT, LONG_CONTEXT = 2048, 8192
"""Tokens. The second is for long probes and exceeds the 4,096 positions on which the model was
first trained. A larger context would prolong runs with defects whose replies never end."""
_COMMAND = "{python} -m reference_engine serve --port {port} --max-batch 64 --threads 1".split()
_TIMEOUT = 600.0  # seconds; long, because the machine may be busy


CONCURRENCY = 24  # concurrent requests of one run
_MAX_TURNS = 3


@asynccontextmanager
async def engine(
    log: Path, fault: Fault | None = None, *, long: bool = False
) -> AsyncIterator[Provider]:
    """Start a server with one fault, or with faults chosen by requests. Raises LaunchError."""
    options = ("--faults-by-request",) if fault is None else ("--fault", fault.name)
    context = ("--max-context", str(LONG_CONTEXT if long else CONTEXT))
    provider = Provider(
        name="selftest",
        base_url="http://127.0.0.1:{port}/v1",
        model=_MODEL,
        apis=BOTH_APIS,
        timeout=_TIMEOUT,
        concurrency=CONCURRENCY,
        launch=Launch(
            command=(*_COMMAND, *context, *options),
            ready_url="http://127.0.0.1:{port}/health",
            ready_timeout=300,
        ),
    )
    async with launched(provider, log) as running:
        yield changed(running, launch=None)


class Runner:
    """Runs a few cases, and probes, against servers with faults."""

    def __init__(self, out: Path) -> None:
        """Write the cases to a file in the folder `out`. Raises HarnessError."""
        lines = load_suite().cases_file.text.splitlines()
        ids = [f'"id": "{case}"' for case in FEW_CASES]
        path = out / "cases.jsonl"
        few = [line for line in lines if any(case in line for case in ids)]
        run_folder.write_text(path, "\n".join(few) + "\n")
        self._cases, self._folder = load_suite(path), out / "runs"

    async def run(
        self, provider: Provider, fault: Fault, stage: Stage, *, keep: bool = True
    ) -> DefectRun:
        """Run a stage; unless `keep`, delete the folder if it has no error. Raises HarnessError."""
        began = time.monotonic()
        plan = self._plan(provider, fault, stage)
        folder = run_folder.create(self._folder, plan.provider.name)
        plan = started(plan, folder)
        with RunLog(folder) as log:
            await Session(plan, folder, Observer()).make_requests(plan.provider, log)
        info = ended(plan, "complete")
        analysis, scores = await asyncio.to_thread(judge, folder, info, plan.tasks)
        made = DefectRun(
            results=tuple(
                result for result in analysis.checks if result.applicable or result.examples
            ),
            requests=sum(score.requests for score in scores),
            tokens=sum((score.usage.input or 0) + (score.usage.output or 0) for score in scores),
            seconds=time.monotonic() - began,
        )
        if not (keep or has_error(made)):
            await asyncio.to_thread(shutil.rmtree, folder)
        return made

    def _plan(self, provider: Provider, fault: Fault, stage: Stage) -> Plan:
        """Return the plan of a stage; a fault that is not of the model is in a header."""
        settings = RunSettings(
            apis=provider.apis,
            modes=MODES,
            concurrency=CONCURRENCY,
            suite=stage.suite,
            only=stage.only,
            max_context=LONG_CONTEXT if stage.long else CONTEXT,
        )
        tasks = tuple(
            suite_tasks(
                provider.info(),
                settings,
                self._cases,
                golden_files.fitting(provider.model),
                tries=stage.tries,
                sampling=Sampling(max_turns=_MAX_TURNS),
            )
        )
        by_request = fault.name != HEALTHY and not fault.model
        headers = {_HEADER: fault.name} if by_request else provider.headers
        faulty = changed(provider, headers=headers, name=fault.name.replace(":", "-"))
        command = ("gpt-oss-verify", "selftest", "--faults", fault.name)
        info = new_info(faulty.info(), tasks, settings, command)
        return Plan(faulty, tasks, info, retries=NO_RETRIES)
