"""The self-test: servers with faults, runs against them, and the matrix."""

import asyncio
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random

from harness.errors import HarnessError
from harness.golden import files as golden_files
from harness.providers.entries import Launch, Provider, changed
from harness.records.analysis import RuleResult
from harness.records.conditions import BOTH_APIS
from harness.records.diagnosis import Diagnosis
from harness.records.runs import RunInfo, RunSettings
from harness.records.settings import Sampling, SuiteName
from harness.rules.suites import CASES, choose
from harness.run import run_folder
from harness.run.cases import load_suite, planned_cases
from harness.run.launch import launched
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import Observer
from harness.selftest import rows
from harness.selftest.faults import HEALTHY, LAWS, ONLY_NAMED, STYLES, Fault, FaultRow, Matrix
from harness.selftest.recorded_run import RecordedRun
from harness.selftest.rows import DefectRun
from harness.selftest.stages import RunStage, stages
from harness.selftest.styles import StyledRun, StyledServer, styles_of
from harness.session import Session
from harness.tasks.plan import Plan, ended, new_info, started
from harness.tasks.suite import suite_tasks
from harness.tasks.task import Task
from harness.transport.retry import NO_RETRIES
from harness.verdict.judge import Judge, judge

CONTEXT, LONG_CONTEXT = 2048, 8192
"""Tokens. The second is for long probes and exceeds the 4,096 positions on which the model was
first trained. A larger context would prolong runs with defects whose replies never end."""
_SHARES = (0.03, 0.1, 0.3, 0.7)  # of the attempts of a run, which are judged alone
_LOOP = 192  # output tokens after which worse models loop; the healthy one ends before
_COMMAND = (
    "{python} -m reference_engine serve --prescribed --port {port} --max-batch 64 --threads 1"
).split()
_SERVER = Provider(
    name="selftest",
    base_url="http://127.0.0.1:{port}/v1",
    model="gpt-oss-small",
    apis=BOTH_APIS,
    timeout=600,  # the machine may be busy
    concurrency=24,
    launch=Launch(
        command=tuple(_COMMAND), ready_url="http://127.0.0.1:{port}/health", ready_timeout=300
    ),
)
Reporter = Callable[[FaultRow], None]
"""Called with every row after its first run, and again after its last repetition."""

_RETRIED = "request.failed.always"  # this check judges requests by all their tries


@dataclass(frozen=True)
class SelfTestPlan:
    """What to test: faults (the healthy engine first), the final suite, and a folder.

    `workers` runs are made concurrently. `everything` is true if `faults` is the whole catalogue.
    The healthy engine and the allowed variations are run `repeat` times. If `whole` is set, every
    fault except those of the model is tested with the whole suite from the start. Faults with a row
    in `finished`, by name, are not tested again, except the healthy engine if `repeat` is above 1.
    `server` makes the server of styles, for a context of so many tokens. `read` lets the reference
    read the replies of a run, for faults that a rule about readings should detect.
    """

    faults: Sequence[Fault]
    everything: bool
    suite: SuiteName
    workers: int
    out: Path
    repeat: int = 1
    whole: bool = False
    finished: Mapping[str, FaultRow] = field(default_factory=dict)
    server: Callable[[int], StyledServer] | None = None
    read: Callable[[Path, RunInfo], None] | None = None

    def queue(self) -> Sequence[tuple[Fault, int]]:
        """Return the runs except the healthy engine's first, longest first: fault, repetition."""
        healthy, *others = self.faults
        once = sorted(others, key=lambda fault: (not fault.model, bool(fault.detectors)))
        allowed = [fault for fault in self.faults if fault.allowed]
        again = [(fault, number) for number in range(1, self.repeat) for fault in allowed]
        every = [*((fault, 0) for fault in once), *again]
        return [run for run in every if run[0] is healthy or run[0].name not in self.finished]


async def selftest(plan: SelfTestPlan, report: Reporter) -> Matrix:
    """Run the tool against the engine with each fault. Raises HarnessError."""
    began, started_at = time.monotonic(), datetime.now(UTC)
    runs = _Runs(plan)
    queue = iter(plan.queue())

    async with engine(plan.out / "engine.log") as shared:
        await runs.run_healthy(shared)
        report(runs.rows[plan.faults[0].name])

        async def work() -> None:
            for fault, repetition in queue:
                await runs.run(fault, repetition, shared)
                if repetition in (0, plan.repeat - 1):
                    report(runs.rows[fault.name])

        await asyncio.gather(*(work() for _ in range(plan.workers)))
    every = tuple(runs.rows[fault.name] for fault in plan.faults)
    return Matrix(
        tool_version=version("gpt-oss-verify"),
        suite=plan.suite,
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        rows=every,
        innocent=rows.healthy_runs(every),
    )


@asynccontextmanager
async def engine(
    log: Path, fault: Fault | None = None, *, long: bool = False
) -> AsyncIterator[Provider]:
    """Start a server with one fault, or with faults chosen by requests. Raises LaunchError."""
    options = ("--faults-by-request",) if fault is None else ("--fault", fault.name)
    context = ("--max-context", str(LONG_CONTEXT if long else CONTEXT))
    assert _SERVER.launch is not None
    command = (*_SERVER.launch.command, *context, *options)
    launch = _SERVER.launch.model_copy(update={"command": command})
    async with launched(_SERVER.model_copy(update={"launch": launch}), log) as running:
        yield changed(running, launch=None)


class _Runs:
    """Runs against servers with faults; `rows` has the row of each fault so far."""

    def __init__(self, plan: SelfTestPlan) -> None:
        self.rows: dict[str, FaultRow] = dict(plan.finished)
        self._plan = plan
        self._made: dict[str, list[DefectRun]] = defaultdict(list)
        self._healthy: list[DefectRun] = []
        self._baseline: rows.Baseline = {}
        self._healthy_stages = healthy_stages(plan)
        self._covered: set[RunStage] = set()
        self._styled: StyledRun | None = None
        self._lock = asyncio.Lock()

    async def run_healthy(self, shared: Provider) -> None:
        """Run the first stages of all faults, and if needed the suite, unless already done."""
        healthy = self._plan.faults[0]
        finished = self.rows.get(healthy.name)
        if finished is not None and finished.baseline is not None and self._plan.repeat == 1:
            self._baseline = finished.baseline
            self._covered.update(self._healthy_stages)
            return
        for stage in self._healthy_stages:
            if stage.long:
                log = self._plan.out / "engine-healthy.log"
                async with engine(log, long=True) as provider:
                    await self._run_healthy(provider, stage)
            else:
                await self._run_healthy(shared, stage)
        self._made[healthy.name] += self._healthy
        row = rows.row(healthy, self._healthy, {})
        self.rows[healthy.name] = row.model_copy(update={"baseline": self._baseline})

    async def run(self, fault: Fault, repetition: int, shared: Provider) -> None:
        """Run a fault for the first time, or repeat an allowed variation."""
        if fault.name in self.rows and self.rows[fault.name].status == "failed":
            return
        if (nothing := rows.row_without_run(fault)) is not None:
            self.rows[fault.name] = nothing
            return
        try:
            if fault.layer == STYLES:
                await self._judge_styles(fault, shared)
                return
            long = stages(fault, self._plan.suite)[0].long
            if fault.model or long:
                log = self._plan.out / f"engine-{fault.name}.log"
                async with engine(log, fault, long=long) as provider:
                    await self._run_stages(fault, repetition, provider, shared)
            else:
                await self._run_stages(fault, repetition, shared, shared)
        except HarnessError as error:
            self.rows[fault.name] = FaultRow(fault=fault, status="failed", note=str(error))
            return
        self.rows[fault.name] = rows.row(fault, self._made[fault.name], self._baseline)

    async def _run_stages(
        self, fault: Fault, repetition: int, provider: Provider, shared: Provider
    ) -> None:
        healthy = fault is self._plan.faults[0]
        planned = stages(fault, self._plan.suite, repetition)
        if self._plan.whole and not (fault.allowed or fault.model):
            planned = planned[-1:]
        for stage in self._healthy_stages if healthy else planned:
            if stage.whole and not fault.worse_model:
                await self._run_healthy(shared, stage)
            run = await self._run(provider, fault, stage, keep=repetition == 0)
            self._made[fault.name].append(run)
            if not healthy and rows.needs_no_more_stages(fault, run, self._baseline):
                break

    async def _judge_styles(self, fault: Fault, shared: Provider) -> None:
        """Judge the default run of the healthy engine, made once, in the styles of a fault."""
        async with self._lock:
            if self._styled is None:
                assert self._plan.server is not None
                stage = stages(fault, self._plan.suite)[0]
                folder, info, tasks = await self._sampled(shared, self._plan.faults[0], stage)
                run = RecordedRun(folder, info, tasks, tuple(read_rollouts(folder)))
                self._styled = StyledRun(run, partial(self._plan.server, CONTEXT))
            for style in styles_of(fault.name.removeprefix(f"{STYLES}:")):
                began = time.monotonic()
                analysis = await asyncio.to_thread(self._styled.judged, style)
                seconds = time.monotonic() - began
                made = DefectRun(
                    results=_applicable(analysis.checks),
                    causes=_named(analysis.diagnosis),
                    requests=0,
                    tokens=0,
                    seconds=seconds,
                )
                self._made[fault.name].append(made)
        self.rows[fault.name] = rows.row(fault, self._made[fault.name], self._baseline)

    async def _run_healthy(self, provider: Provider, stage: RunStage) -> None:
        async with self._lock:
            if stage not in self._covered:
                self._covered.add(stage)
                self._healthy.append(await self._run(provider, self._plan.faults[0], stage))
                self._baseline = rows.baseline(self._healthy)

    async def _sampled(
        self, provider: Provider, fault: Fault, stage: RunStage
    ) -> tuple[Path, RunInfo, Sequence[Task]]:
        """Run a stage; return its folder, the run and its tasks. Raises HarnessError."""
        plan = _plan(provider, fault, stage)
        folder = run_folder.create(self._plan.out / "runs", plan.provider.name)
        plan = started(plan, folder)
        with RunLog(folder) as log:
            async for _ in Session(plan, folder, Observer()).attempts(plan.provider, log):
                pass
        return folder, ended(plan, "complete"), plan.tasks

    async def _run(
        self, provider: Provider, fault: Fault, stage: RunStage, *, keep: bool = True
    ) -> DefectRun:
        """Run a stage; unless `keep`, delete the folder if it has no error. Raises HarnessError."""
        began = time.monotonic()
        folder, info, planned = await self._sampled(provider, fault, stage)
        if stage.read and self._plan.read is not None:
            await asyncio.to_thread(self._plan.read, folder, info)
        analysis, scores = await asyncio.to_thread(judge, folder, info, planned)
        alone: Diagnosis | None = None
        if fault.worse_model:
            tasks = _plan(provider, fault, stage, golden=False).tasks
            alone = (await asyncio.to_thread(judge, folder, info, tasks)).analysis.diagnosis
        parts: tuple[RuleResult, ...] = ()
        if fault.layer == LAWS:
            parts = await asyncio.to_thread(_judged_in_parts, folder, info, planned)
        made = DefectRun(
            causes=_named(analysis.diagnosis),
            causes_alone=_named(alone),
            results=_applicable((*analysis.checks, *parts)),
            requests=sum(score.requests for score in scores),
            tokens=sum((score.usage.input or 0) + (score.usage.output or 0) for score in scores),
            seconds=time.monotonic() - began,
        )
        if not (keep or rows.has_error(made)):
            await asyncio.to_thread(shutil.rmtree, folder)
        return made


def _applicable(results: Sequence[RuleResult]) -> tuple[RuleResult, ...]:
    """Return the results that judged something."""
    return tuple(result for result in results if result.applicable or result.examples)


def _judged_in_parts(folder: Path, info: RunInfo, tasks: Sequence[Task]) -> tuple[RuleResult, ...]:
    """Judge random shares of the attempts of a run, each as if only these had been made."""
    rollouts = list(read_rollouts(folder))
    results: list[RuleResult] = []
    for share in _SHARES:
        part, random = Judge(folder, tasks), Random(share)  # noqa: S311 (not a secret)
        for rollout in rollouts:
            if random.random() < share:
                part.add(rollout)
        results += part.judged(info).analysis.checks
    return tuple(results)


def _named(diagnosis: Diagnosis | None) -> tuple[str, ...]:
    return () if diagnosis is None else tuple(cause.component for cause in diagnosis.causes)


def _plan(provider: Provider, fault: Fault, stage: RunStage, *, golden: bool = True) -> Plan:
    """Return the plan of a stage; a fault that is not of the model is in a header."""
    settings = RunSettings(
        apis=stage.apis,
        modes=stage.modes,
        concurrency=provider.concurrency,
        suite=stage.suite,
        only=stage.only,
        case_ids=stage.cases,
        max_context=LONG_CONTEXT if stage.long else CONTEXT,
    )
    tasks = tuple(
        suite_tasks(
            provider.info(),
            settings,
            planned_cases(load_suite(), settings),
            golden_files.fitting(provider.model) if golden else None,
            tries=stage.tries,
            sampling=Sampling(max_turns=3, max_tokens=_LOOP if fault.worse_model else None),
        )
    )
    by_request = fault.name != HEALTHY and not fault.model and fault.layer != LAWS
    headers = {"X-Fault": fault.name} if by_request else provider.headers
    faulty = changed(provider, headers=headers, name=fault.name.replace(":", "-"))
    command = ("gpt-oss-verify", "selftest", "--faults", fault.name)
    info = new_info(faulty.info(), tasks, settings, command)
    return Plan(faulty, tasks, info, retries=None if _RETRIED in fault.detectors else NO_RETRIES)


def healthy_stages(plan: SelfTestPlan) -> Sequence[RunStage]:
    """Return what the healthy engine runs before any fault."""
    first = {
        name
        for fault in plan.faults[1:]
        if rows.row_without_run(fault) is None and fault.layer not in ONLY_NAMED
        for name in stages(fault, plan.suite)[0].only
    }
    whole = RunStage(plan.suite, ())
    if all(fault.layer in ONLY_NAMED for fault in plan.faults[1:]) and plan.faults[1:]:
        return ()
    if plan.whole:
        return (whole,)
    if plan.everything:
        first -= {CASES, *(probe.id for probe in choose(plan.suite).probes)}
    long = {name for name in first if RunStage(plan.suite, (name,)).long}
    few = [RunStage(plan.suite, tuple(sorted(names))) for names in (first - long, long) if names]
    return (*few, whole) if plan.everything or not first else tuple(few)
