"""The self-test: servers with faults, runs against them, and the matrix."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.errors import HarnessError
from harness.providers.entries import Provider
from harness.records.runs import SuiteName
from harness.rules.suites import CASES, choose
from harness.selftest import rows
from harness.selftest.faults import Fault
from harness.selftest.matrix import Matrix, Row
from harness.selftest.rows import DefectRun
from harness.selftest.servers import Runner, engine
from harness.selftest.stages import Stage, stages

Reporter = Callable[[Row], None]
"""Called with every row after its first run, and again after its last repetition."""


@dataclass(frozen=True)
class SelfTestPlan:
    """What to test: faults (the healthy engine first), the final suite, and a folder.

    `workers` runs are made concurrently. `everything` is true if `faults` is the whole catalogue.
    The healthy engine and the allowed variations are run `repeat` times. If `whole` is set, every
    fault except those of the model is tested with the whole suite from the start. Faults with a row
    in `finished`, by name, are not tested again, except the healthy engine if `repeat` is above 1.
    """

    faults: Sequence[Fault]
    everything: bool
    suite: SuiteName
    workers: int
    out: Path
    repeat: int = 1
    whole: bool = False
    finished: Mapping[str, Row] = field(default_factory=dict)

    @property
    def healthy(self) -> Sequence[Fault]:
        """The healthy engine and its allowed variations."""
        return [fault for fault in self.faults if fault.allowed]

    def queue(self) -> Sequence[tuple[Fault, int]]:
        """Return the runs except the healthy engine's first, longest first: fault, repetition."""
        once = sorted(self.faults[1:], key=lambda fault: (not fault.model, bool(fault.detectors)))
        again = [(fault, number) for number in range(1, self.repeat) for fault in self.healthy]
        every = [*((fault, 0) for fault in once), *again]
        healthy = self.faults[0]
        return [run for run in every if run[0] is healthy or run[0].name not in self.finished]


async def selftest(plan: SelfTestPlan, report: Reporter) -> Matrix:
    """Run the tool against the engine with each fault. Raises HarnessError."""
    began, started = time.monotonic(), datetime.now(UTC)
    runs = _Runs(plan, Runner(plan.out))
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
        started_at=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        rows=every,
        innocent=rows.healthy_runs(every),
    )


class _Runs:
    """Runs against servers with faults; `rows` has the row of each fault so far."""

    def __init__(self, plan: SelfTestPlan, runner: Runner) -> None:
        self.rows: dict[str, Row] = dict(plan.finished)
        self._plan = plan
        self._runner = runner
        self._made: dict[str, list[DefectRun]] = defaultdict(list)
        self._healthy: list[DefectRun] = []
        self._baseline: rows.Baseline = {}
        self._healthy_stages = _healthy_stages(plan)
        self._covered: set[Stage] = set()
        self._lock = asyncio.Lock()

    async def run_healthy(self, shared: Provider) -> None:
        """Run the first stages of all faults, and if needed the suite, unless already done."""
        healthy = self._plan.faults[0]
        finished = self.rows.get(healthy.name)
        if finished is not None and finished.baseline is not None and self._plan.repeat == 1:
            self._baseline = finished.baseline
            self._covered.update(self._healthy_stages)
            return
        log = self._plan.out / "engine-healthy.log"
        for stage in self._healthy_stages:
            if stage.long:
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
            long = stages(fault, self._plan.suite)[0].long
            if fault.model or long:
                log = self._plan.out / f"engine-{fault.name}.log"
                async with engine(log, fault, long=long) as provider:
                    await self._run_stages(fault, repetition, provider, shared)
            else:
                await self._run_stages(fault, repetition, shared, shared)
        except HarnessError as error:
            self.rows[fault.name] = Row(fault=fault, status="failed", note=str(error))
            return
        made = self._made[fault.name]
        self.rows[fault.name] = rows.row(fault, made, self._baseline)

    async def _run_stages(
        self, fault: Fault, repetition: int, provider: Provider, shared: Provider
    ) -> None:
        healthy = fault is self._plan.faults[0]
        planned = stages(fault, self._plan.suite, repetition)
        if self._plan.whole and not (fault.allowed or fault.model):
            planned = planned[-1:]
        for stage in self._healthy_stages if healthy else planned:
            if stage.whole:
                await self._run_healthy(shared, stage)
            one = await self._runner.run(provider, fault, stage, keep=repetition == 0)
            self._made[fault.name].append(one)
            if not healthy and rows.needs_no_more_stages(fault, one, self._baseline):
                break

    async def _run_healthy(self, provider: Provider, stage: Stage) -> None:
        async with self._lock:
            if stage not in self._covered:
                self._covered.add(stage)
                self._healthy.append(await self._runner.run(provider, self._plan.faults[0], stage))
                self._baseline = rows.baseline(self._healthy)


def _healthy_stages(plan: SelfTestPlan) -> Sequence[Stage]:
    first = {
        name
        for fault in plan.faults[1:]
        if rows.row_without_run(fault) is None
        for name in stages(fault, plan.suite)[0].only
    }
    whole = Stage(plan.suite, ())
    if plan.whole:
        return (whole,)
    if plan.everything:
        first -= {CASES, *(probe.id for probe in choose(plan.suite).probes)}
    long = {name for name in first if Stage(plan.suite, (name,)).long}
    few = [Stage(plan.suite, tuple(sorted(names))) for names in (first - long, long) if names]
    return (*few, whole) if plan.everything or not first else tuple(few)
