"""Servers of the reference engine with faults, and runs of the tool against them."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from harness.golden import files as golden_files
from harness.providers.entries import Launch, Provider, changed
from harness.records.analysis import Analysis
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.runs import RunSettings, Sampling
from harness.records.scores import Score
from harness.run import run_folder
from harness.run.cases import Suite, load_suite
from harness.run.launch import launched
from harness.run.run_log import RunLog
from harness.run.sampling import Observer
from harness.selftest.faults import HEALTHY, Fault
from harness.selftest.rows import DefectRun, has_error
from harness.selftest.stages import FEW_CASES, Stage
from harness.session import Session
from harness.tasks.plan import Plan, ended, new_info, started
from harness.tasks.suite import suite_tasks
from harness.transport import NO_RETRIES
from harness.verdict.judge import judge

_MODEL = "gpt-oss-small"
_HEADER = "X-Fault"
CONTEXT, LONG_CONTEXT = 2048, 8192
"""Tokens. The second is for long probes and exceeds the 4,096 positions on which the model was
first trained. A larger context would prolong runs with defects whose replies never end."""
_COMMAND = (
    *("{python}", "-m", "reference_engine", "serve", "--port", "{port}"),
    *("--max-batch", "64", "--threads", "1"),
)
_TIMEOUT = 600.0  # seconds; long, because the machine may be busy


def context(*, long: bool) -> int:
    """The context length of a server in tokens, with or without long probes."""
    return LONG_CONTEXT if long else CONTEXT


def _provider(concurrency: int, tokens: int, *more: str) -> Provider:
    return Provider(
        name="selftest",
        base_url="http://127.0.0.1:{port}/v1",
        model=_MODEL,
        apis=BOTH_APIS,
        timeout=_TIMEOUT,
        concurrency=concurrency,
        launch=Launch(
            command=(*_COMMAND, "--max-context", f"{tokens}", *more),
            ready_url="http://127.0.0.1:{port}/health",
            ready_timeout=300,
        ),
    )


@asynccontextmanager
async def engine(
    log: Path, concurrency: int, fault: Fault | None = None, *, long: bool = False
) -> AsyncIterator[Provider]:
    """A server with one fault, or with faults chosen by requests. Raises LaunchError."""
    options = ("--faults-by-request",) if fault is None else ("--fault", fault.name)
    async with launched(_provider(concurrency, context(long=long), *options), log) as provider:
        yield changed(provider, launch=None)


def with_fault(provider: Provider, fault: Fault) -> Provider:
    """The provider with a fault in every request."""
    if fault.name == HEALTHY or fault.model:
        return provider
    return changed(provider, headers={_HEADER: fault.name})


CONCURRENCY = 24  # concurrent requests of one run
_MAX_TURNS = 3


class Runner:
    """Runs a few cases, and probes, against servers with faults."""

    def __init__(self, out: Path) -> None:
        """Write the cases to a file in the folder `out`. Raises HarnessError."""
        lines = load_suite().cases_file.text.splitlines()
        ids = [f'"id": "{case}"' for case in FEW_CASES]
        path = out / "cases.jsonl"
        few = [line for line in lines if any(each in line for each in ids)]
        run_folder.write_text(path, "\n".join(few) + "\n")
        self._cases, self._folder = load_suite(path), out / "runs"

    async def run(
        self, provider: Provider, fault: Fault, stage: Stage, *, keep: bool = True
    ) -> DefectRun:
        """Run a stage; unless `keep`, delete the folder if it has no error. Raises HarnessError."""
        began = time.monotonic()
        settings = RunSettings(
            apis=provider.apis,
            modes=MODES,
            concurrency=CONCURRENCY,
            suite=stage.suite,
            only=stage.only,
            max_context=context(long=stage.long),
        )
        folder, analysis, scores = await sampled(
            provider, fault, settings, self._cases, self._folder, stage.tries
        )
        made = DefectRun(
            results=tuple(each for each in analysis.checks if each.applicable or each.examples),
            requests=sum(score.requests for score in scores),
            tokens=sum((score.usage.input or 0) + (score.usage.output or 0) for score in scores),
            seconds=time.monotonic() - began,
        )
        if not (keep or has_error(made)):
            await asyncio.to_thread(shutil.rmtree, folder)
        return made


async def sampled(
    provider: Provider,
    fault: Fault,
    settings: RunSettings,
    cases: Suite,
    out: Path,
    tries: int = 1,
) -> tuple[Path, Analysis, Sequence[Score]]:
    """Sample a faulty server into a new folder, and judge the run. Raises HarnessError."""
    faulty = with_fault(provider, fault).model_copy(update={"name": fault.name.replace(":", "-")})
    tasks = tuple(
        suite_tasks(
            provider.info(),
            settings,
            cases,
            golden_files.fitting(provider.model),
            tries=tries,
            sampling=Sampling(max_turns=_MAX_TURNS),
        )
    )
    command = ("gpt-oss-verify", "selftest", "--faults", fault.name)
    info = new_info(faulty.info(), tasks, settings, command)
    folder = run_folder.create(out, faulty.name)
    plan = started(Plan(faulty, tasks, info, retries=NO_RETRIES), folder)
    with RunLog(folder) as log:
        await Session(plan, folder, Observer()).make_requests(faulty, log)
    analysis, scores = await asyncio.to_thread(judge, folder, ended(plan, "complete"), tasks)
    return folder, analysis, scores
