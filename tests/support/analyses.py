"""Analyses of tool-calling runs that were never sampled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from healthy import STARTED, SUITE
from replies import MODEL

from harness.golden.files import fitting
from harness.records.analysis import Analysis
from harness.records.conditions import BOTH_APIS, MODES, Api, Condition, Mode
from harness.records.rollouts import Rollout
from harness.records.runs import ProviderInfo, RunInfo, RunSettings
from harness.records.scores import Score
from harness.records.settings import Sampling, Thresholds
from harness.rules.probe import ProbeOptions
from harness.rules.suites import choose
from harness.run.cases import Suite, planned_cases
from harness.tasks.probing import probe_tasks
from harness.tasks.task import Task
from harness.tasks.tool_calling import ToolCalling
from harness.verdict.analyze import Judged
from harness.verdict.judge import Judge

PROVIDER = ProviderInfo(
    name="mock",
    base_url="http://127.0.0.1:1/v1",
    model=MODEL,
    extra_body={},
    header_names=(),
    launch_command=None,
)


@dataclass(frozen=True)
class Planned:
    """A run before it is sampled."""

    suite: Suite = field(default_factory=lambda: SUITE.first(3))
    apis: tuple[Api, ...] = BOTH_APIS
    modes: tuple[Mode, ...] = MODES
    tries: int = 2
    settings: RunSettings = field(
        default_factory=lambda: RunSettings(apis=BOTH_APIS, modes=MODES, concurrency=8)
    )
    model: str = MODEL

    @property
    def tasks(self) -> Sequence[Task]:
        """Tool calling and the probe groups that the settings choose."""
        settings = self.settings
        chosen = choose(settings.suite, settings.only, settings.skip)
        conditions = [
            Condition(model=self.model, api=api, mode=mode)
            for api in self.apis
            for mode in self.modes
        ]
        calling = ToolCalling(
            planned_cases(self.suite, settings),
            conditions,
            tries=self.tries,
            sampling=Sampling(max_turns=10),
            strict=settings.strict,
        )
        options = ProbeOptions(self.model, self.apis, golden=fitting(self.model))
        return [*([calling] if chosen.cases else []), *probe_tasks(chosen.probes, options)]

    @property
    def info(self) -> RunInfo:
        """Its `run.json`."""
        return RunInfo(
            tool_version="0.1.0",
            command=("gpt-oss-verify", "--provider", "mock"),
            provider=PROVIDER.model_copy(update={"model": self.model}),
            settings=self.settings.model_copy(update={"apis": self.apis, "modes": self.modes}),
            tasks=tuple(task.info for task in self.tasks),
            versions={"python": "3.11.0"},
            started_at=STARTED,
        )


def planned(
    *,
    apis: tuple[Api, ...] = BOTH_APIS,
    modes: tuple[Mode, ...] = MODES,
    tries: int = 2,
    suite: Suite | None = None,
    **settings: object,
) -> Planned:
    base = RunSettings(apis=apis, modes=modes, concurrency=8).model_copy(update=settings)
    return Planned(suite or SUITE.first(3), apis, modes, tries, base)


def analysis_of(
    rollouts: Iterable[Rollout],
    run: Planned | None = None,
    *,
    info: RunInfo | None = None,
    thresholds: Thresholds | None = None,
) -> Analysis:
    return _judged(rollouts, run or planned(), info, thresholds).analysis


def scored(rollouts: Iterable[Rollout], run: Planned) -> tuple[Score, ...]:
    return _judged(rollouts, run).scores


def _judged(
    rollouts: Iterable[Rollout],
    run: Planned,
    info: RunInfo | None = None,
    thresholds: Thresholds | None = None,
) -> Judged:
    judge = Judge(Path("mock-20260102-030405"), run.tasks)
    for each in rollouts:
        judge.add(each)
    return judge.judged(info or run.info, thresholds)
