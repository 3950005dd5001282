"""From options to runs: the tasks of a new run, or those of one in a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from evals.baselines.choice import choose_baseline
from evals.datasets.load import Loaded
from evals.healthbench.bench import NAMES as HEALTHBENCH
from evals.healthbench.grader import DEFAULT_GRADER, find_grader
from evals.prompts import choose_prompts
from evals.registry import NAMES, load_data
from evals.task import EvalOptions, EvalTask, restored_evals
from harness.cases import Suite, load_suite, planned_cases
from harness.cli.choice import chosen_provider, same_provider
from harness.cli.options import (
    EFFORTS,
    BaselineOptions,
    BudgetOptions,
    CaseOptions,
    DataOptions,
    DecisionOptions,
    GateOptions,
    ProviderOptions,
    SamplingOptions,
    names,
    parse_apis,
    parse_list,
)
from harness.errors import ConfigurationError, RunLogError
from harness.golden import files as golden_files
from harness.pipeline import requirements
from harness.pipeline.plan import Plan, Shard
from harness.pipeline.run import Job, new_job, resumed
from harness.pipeline.standard import default_thresholds, standard, with_reference
from harness.probes.suites import choose
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.providers.gate_entry import (
    FLAG,
    Gate,
    Layer,
    joined,
    load_gate_file,
    provider_layers,
)
from harness.records.conditions import MODES, Api, Condition, Mode
from harness.records.runs import (
    CONTEXT,
    SCHEMA_VERSION,
    Limits,
    ProviderInfo,
    RunInfo,
    RunSettings,
    Sampling,
    Thresholds,
)
from harness.sampling.budget import Budget
from harness.storage.run_folder import CASES_FILE, GOLDEN_FILE, TOOLS_FILE
from harness.storage.run_log import read_run_info
from harness.tasks.base import Task
from harness.tasks.probing import ProbeOptions, probe_tasks
from harness.tasks.tool_calling import NAME as TOOL_CALLING
from harness.tasks.tool_calling import ToolCalling
from harness.tasks.traffic import ImportedTraffic
from harness.text import suggestion

DEFAULT_TRIES = 5
DEFAULT_MAX_TURNS = 10
DEFAULT_EVALS = "aime25,gpqa"
DEFAULT_EFFORT = "medium"
DEFAULT_MAX_TOKENS = 131_072
QUICK_TRIES: Mapping[str, int] = {"aime25": 4, "gpqa": 1}
QUICK_MARGIN = 10.0
"""With 318 requests the bounds of a healthy provider's difference are about 6 points away, and
broken providers were 13 points and more below (sources in `evals/data/baselines.json`)."""


@dataclass(frozen=True)
class Options:
    """All options of a run."""

    provider: ProviderOptions
    sampling: SamplingOptions
    gate: GateOptions
    budget: BudgetOptions
    cases: CaseOptions | None = None
    """None for a run of evals alone."""
    evals: str | None = None
    """Names, or `quick`; None for the gate's, or in a run of evals alone the default ones."""
    data: DataOptions = field(default_factory=DataOptions)
    baseline: BaselineOptions = field(default_factory=BaselineOptions)
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    concurrency: int | None = None
    shard: Shard | None = None


@dataclass(frozen=True)
class Draft:
    """A planned run before anything is written."""

    provider: Provider
    grader: Provider | None
    tasks: tuple[Task, ...]
    settings: RunSettings
    budget: Budget
    suite: Suite | None
    shard: Shard | None

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return Plan(self.tasks, self.shard)

    def job(self, out: Path) -> Job:
        """The run with its folder below `out`. Raises RunLogError."""
        return new_job(
            self.provider,
            self.tasks,
            self.settings,
            out=out,
            command=typed_command(),
            budget=self.budget,
            shard=self.shard,
        )


def draft(options: Options) -> Draft:
    """Plan a new run. Raises ConfigurationError if the options make no sense."""
    provider, models = _provider(options)
    gate = _gate(provider, options.provider.providers_file, options.gate, options.budget)
    evals = _evals(options, gate)
    apis = parse_apis(options.provider.apis) or provider.apis
    if options.cases is None and len(apis) > 1:
        if options.provider.apis is not None:
            raise ConfigurationError("Evals use one API: --api responses or --api chat.")
        apis = apis[:1]
    grader = _grader(evals, options, provider) if evals else None
    budget = _budget(gate, provider, *filter(None, [grader]))
    suite = None
    if options.cases is not None:
        suite = load_suite(options.cases.cases, options.cases.tools).spread(options.cases.first)
    settings = _settings(options, gate, evals, apis, provider, grader, budget, suite)
    tasks: list[Task] = []
    if suite is not None:
        tasks += _harness_tasks(options, provider, settings, suite)
    tasks += _eval_tasks(options, provider, models, settings, grader)
    return Draft(provider, grader, tuple(tasks), settings, budget, suite, options.shard)


def resume(
    folder: Path,
    provider: ProviderOptions,
    gate: GateOptions,
    budget: BudgetOptions,
    concurrency: int | None,
) -> Job:
    """The job that finishes the run in `folder`. Raises ConfigurationError or RunLogError."""
    info = read_run_info(folder)
    if info.schema_version != SCHEMA_VERSION:
        raise RunLogError(
            f"{folder} was recorded by version {info.tool_version}, which finishes it; this "
            "version can only judge it."
        )
    entry = same_provider(info.provider, provider, concurrency)
    grader = _grader_again(info, entry, provider)
    limits = _gate(entry, provider.providers_file, gate, budget)
    spending = _budget(limits, entry, *filter(None, [grader]))
    thresholds = thresholds_again(gate, info)
    return resumed(folder, entry, restore(folder, info, grader), spending, thresholds)


def restore(folder: Path, info: RunInfo, grader: Provider | None = None) -> list[Task]:
    """The tasks of the run in a folder.

    Args:
        folder: The run's.
        info: Its `run.json`, perhaps with other settings.
        grader: The provider that grades; None if nothing is to be graded.

    Raises:
        ConfigurationError: A file of a task cannot be read.
        RunLogError: A file is not the one that `run.json` describes.
    """
    return [*restored_harness_tasks(folder, info), *restored_evals(folder, info, grader)]


def restored_harness_tasks(folder: Path, info: RunInfo) -> Iterator[Task]:
    """The tasks of the run in a folder but its evals; raises as `restore`."""
    settings, extra_body = info.settings, info.provider.extra_body
    calling = info.task(TOOL_CALLING)
    if calling is not None:
        yield ToolCalling(
            planned_cases(_restored_suite(folder, calling.files), settings),
            calling.conditions,
            tries=calling.tries,
            sampling=calling.sampling,
            strict=settings.strict,
            extra_body=extra_body,
        )
    if info.of_kind("probes"):
        chosen = choose(settings.suite, settings.only, settings.skip)
        options = probe_options(folder, info, settings.apis)
        yield from probe_tasks(chosen.probes, options)
    yield from map(ImportedTraffic, info.of_kind("traffic"))


def probe_options(folder: Path, info: RunInfo, apis: tuple[Api, ...]) -> ProbeOptions:
    """What the probes of the run in a folder need; raises as `restore`."""
    hashes = (task.files.get(GOLDEN_FILE) for task in info.of_kind("probes"))
    golden = golden_files.kept(folder, next(filter(None, hashes), None))
    provider = info.provider
    return ProbeOptions(
        provider.model,
        apis,
        provider.limitations,
        golden,
        provider.extra_body,
        info.settings.max_context,
    )


def thresholds_again(options: GateOptions, info: RunInfo) -> Thresholds:
    """The thresholds of a finished run: its own, or another file's; options override both.

    Raises:
        ConfigurationError: A file or an option cannot be used.
    """
    base = info.settings.thresholds
    if options.gate is not None:
        base = default_thresholds(info.provider.model, strict=info.settings.strict)
    return _thresholds(_checked(joined(_own_layers(options, BudgetOptions()))), base)


def gate_changes(options: GateOptions) -> dict[str, object]:
    """What another gate file changes in the settings of evals. Raises ConfigurationError."""
    if options.gate is None:
        return {}
    return {"margin": None, **_eval_settings(_checked(joined([load_gate_file(options.gate)])))}


def typed_command() -> tuple[str, ...]:
    """The command line as it was typed."""
    if Path(sys.argv[0]).name == "__main__.py":
        return ("python", "-m", "evals", *sys.argv[1:])
    return ("gpt-oss-verify", *sys.argv[1:])


def same_grader(info: RunInfo, chosen: ProviderOptions) -> Provider:
    """The grader of an earlier run. Raises ConfigurationError."""
    before = info.settings.grader
    if before is None:
        raise ConfigurationError("The run has no grader; name one with --grader.")
    if before.name == DEFAULT_GRADER:
        return find_grader(before.name, chosen.providers_file)
    return same_provider(before, chosen, None)


def budget_for(options: BudgetOptions, provider: Provider) -> Budget:
    """A budget from options alone. Raises ConfigurationError."""
    return _budget(joined([Layer(options.entry(), FLAG)]), provider)


def _provider(options: Options) -> tuple[Provider, tuple[str, ...]]:
    """The provider with the first model, and all models."""
    provider = chosen_provider(options.provider, options.concurrency)
    if options.cases is not None:
        return provider, (provider.model,)
    models = parse_list("--model", options.provider.model or provider.model)
    return providers.changed(provider, model=models[0]), models


def _evals(options: Options, gate: Gate) -> tuple[str, ...]:
    """The evals to run: those requested, else those that the gate requires."""
    if options.cases is None:
        requested = options.evals or ",".join(gate.evals) or DEFAULT_EVALS
        return parse_list("--eval", requested, NAMES)
    if options.evals == "quick":
        return tuple(QUICK_TRIES)
    if options.evals is not None:
        return parse_list("--evals", options.evals, NAMES)
    for name in gate.evals:
        if name not in QUICK_TRIES:
            raise ConfigurationError(
                f"{gate.origins['evals']}: the eval {name} is not part of --evals quick "
                f"({', '.join(QUICK_TRIES)}); run it with `gpt-oss-verify eval` and its own gate."
            )
    return tuple(QUICK_TRIES) if gate.evals else ()


def _settings(
    options: Options,
    gate: Gate,
    evals: tuple[str, ...],
    apis: tuple[Api, ...],
    provider: Provider,
    grader: Provider | None,
    budget: Budget,
    suite: Suite | None,
) -> RunSettings:
    options.sampling.check()
    options.decision.check()
    choose_baseline(options.baseline.baseline)
    if options.shard is not None and options.decision.until_decided:
        raise ConfigurationError("--until-decided needs all attempts; leave out --shard.")
    cases = options.cases or CaseOptions()
    strict = cases.strict or False
    thresholds = _thresholds(gate, default_thresholds(provider.model, strict=strict))
    streaming = options.sampling.streaming
    modes = MODES if streaming is None else (MODES[0] if streaming else MODES[1],)
    if options.cases is None:
        modes = (MODES[0] if streaming else MODES[1],)
    settings = RunSettings(
        suite=cases.suite or thresholds.suite or "smoke",
        only=names(*cases.only),
        skip=names(*cases.skip),
        max_context=cases.max_context or CONTEXT,
        evals=evals,
        apis=apis,
        modes=modes,
        first_cases=cases.first,
        case_ids=tuple(case.id for case in suite.cases) if suite and cases.first else (),
        examples=options.data.examples,
        prompts=choose_prompts(options.data.prompts) if evals else None,
        strict=strict,
        concurrency=provider.concurrency,
        seed=options.sampling.seed,
        thresholds=thresholds,
        grader=grader.info() if grader else None,
        until_decided=options.decision.until_decided or False,
        budget_samples=options.decision.budget_samples,
        budget_tokens=options.decision.budget_tokens,
        budget=budget.noted,
    )
    choose(settings.suite, settings.only, settings.skip)
    changes = {**_eval_settings(gate), **options.baseline.changes()}
    if options.cases is not None and evals == tuple(QUICK_TRIES):
        margins: Any = changes["margins"]
        changes["margins"] = dict.fromkeys(QUICK_TRIES, QUICK_MARGIN) | margins
    return settings.model_copy(update=changes)


def _harness_tasks(
    options: Options, provider: Provider, settings: RunSettings, suite: Suite
) -> Iterator[Task]:
    """Tool calling and the probe groups of a new run."""
    cases, sampling = options.cases or CaseOptions(), options.sampling
    chosen = choose(settings.suite, settings.only, settings.skip)
    if chosen.cases:
        conditions = [
            Condition(model=provider.model, effort=sampling.reasoning_effort, api=api, mode=mode)
            for api, mode in product(settings.apis, settings.modes)
        ]
        yield ToolCalling(
            suite,
            conditions,
            tries=sampling.tries or DEFAULT_TRIES,
            sampling=Sampling(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=sampling.seed,
                max_turns=cases.max_turns or DEFAULT_MAX_TURNS,
            ),
            strict=settings.strict,
            extra_body=provider.extra_body,
        )
    golden = golden_files.fitting(provider.model)
    if cases.golden is not None:
        golden = golden_files.load(cases.golden)
    yield from probe_tasks(
        chosen.probes,
        ProbeOptions(
            provider.model,
            settings.apis,
            provider.limitations,
            golden,
            provider.extra_body,
            settings.max_context,
        ),
    )


def _eval_tasks(
    options: Options,
    provider: Provider,
    models: Sequence[str],
    settings: RunSettings,
    grader: Provider | None,
) -> Iterator[EvalTask]:
    if not settings.evals:
        return
    sampling, quick = options.sampling, options.cases is not None
    efforts: tuple[str, ...] = (DEFAULT_EFFORT,)
    if not quick:
        efforts = parse_list(
            "--reasoning-effort", sampling.reasoning_effort or DEFAULT_EFFORT, EFFORTS
        )
    mode: Mode = MODES[0] if sampling.streaming and not quick else MODES[1]
    conditions = [
        Condition(model=model, effort=effort, api=settings.apis[0], mode=mode)
        for model, effort in product(models, efforts)
    ]
    own = Sampling(
        temperature=1.0 if quick or sampling.temperature is None else sampling.temperature,
        top_p=1.0 if quick or sampling.top_p is None else sampling.top_p,
        max_tokens=DEFAULT_MAX_TOKENS if quick else sampling.max_tokens or DEFAULT_MAX_TOKENS,
        seed=sampling.seed,
    )
    shared = EvalOptions(
        examples=settings.examples,
        seed=settings.seed or 0,
        prompts=settings.prompts,
        extra_body=provider.extra_body,
        grader=None if grader is None else (grader.name, grader.model),
        baseline=settings.baseline,
        margins=_margins(settings),
        until_decided=settings.until_decided,
        sharded=options.shard is not None,
    )
    for name in settings.evals:
        data = _load(name, options)
        tries = QUICK_TRIES.get(name) if quick else sampling.tries
        yield EvalTask(data, conditions, tries, own, shared, grader)


def _margins(settings: RunSettings) -> dict[str, float]:
    if settings.margin is not None:
        return dict.fromkeys(settings.evals, settings.margin / 100)
    return {name: margin / 100 for name, margin in settings.margins.items()}


def _load(name: str, options: Options) -> Loaded[Any]:
    """The rows of an eval; beside tool calling the samples where the hub cannot be reached."""
    evals = (options.evals or DEFAULT_EVALS).split(",")
    if options.cases is None or replace(options.data, prompts=None) != DataOptions():
        return load_data(name, options.data.place(evals))
    try:
        return load_data(name)
    except ConfigurationError as error:
        from harness.cli.screen import stderr

        stderr().print(f"Sample questions instead of {name}: {error}", soft_wrap=True)
        return load_data(name, "samples")


def _restored_suite(folder: Path, hashes: Mapping[str, str]) -> Suite:
    suite = load_suite(folder / CASES_FILE, folder / TOOLS_FILE)
    found = {CASES_FILE: suite.cases_file.sha256, TOOLS_FILE: suite.tools_file.sha256}
    if found != dict(hashes):
        raise RunLogError(
            f"{CASES_FILE} or {TOOLS_FILE} in {folder} was changed after the run; restore it."
        )
    return suite


def _grader(evals: Sequence[str], options: Options, provider: Provider) -> Provider | None:
    """The provider that grades, with its key, before anything is paid for."""
    if not set(evals) & set(HEALTHBENCH):
        return None
    name = options.decision.grader
    if name is None and options.data.samples:
        return provider
    grader = find_grader(name or DEFAULT_GRADER, options.provider.providers_file)
    try:
        providers.access(grader)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"HealthBench is graded by {grader.name}, and {error}; or name another entry with "
            "--grader."
        ) from None
    return grader


def _grader_again(info: RunInfo, provider: Provider, chosen: ProviderOptions) -> Provider | None:
    before: ProviderInfo | None = info.settings.grader
    if before is None:
        return None
    if (before.name, before.base_url) == (info.provider.name, info.provider.base_url):
        # It grades itself, with the key that it was given now.
        return providers.changed(provider, model=before.model)
    return same_grader(info, ProviderOptions(providers_file=chosen.providers_file))


def _gate(
    provider: Provider, providers_file: Path | None, gate: GateOptions, budget: BudgetOptions
) -> Gate:
    """The gate of a new run: options over --gate FILE over providers.yaml."""
    source, for_all = providers.load_gate(providers_file)
    layers = provider_layers(source, for_all, provider.name, provider.gate)
    return _checked(joined([*layers, *_own_layers(gate, budget)]))


def _thresholds(gate: Gate, base: Thresholds) -> Thresholds:
    stated = gate.values.get("reference")
    others = Gate({k: v for k, v in gate.values.items() if k != "reference"}, gate.origins)
    thresholds = others.applied_to(base)
    if stated is not None:
        thresholds = with_reference(thresholds, stated, gate.origins["reference"])
    requirements.check_names(thresholds)
    standard(thresholds)
    return thresholds


def _budget(gate: Gate, *paid: Provider) -> Budget:
    budget = Budget(gate.applied_to(Limits()))
    for provider in paid:
        budget.check(provider)
    return budget


def _eval_settings(gate: Gate) -> dict[str, object]:
    """What the gate requires of scores, as settings of a run."""
    wanted = {f"margins.{name}" for name in gate.margins} | {"evals"}
    return {
        "margins": gate.margins,
        "required_evals": gate.evals,
        "origins": {name: origin for name, origin in gate.origins.items() if name in wanted},
    }


def _own_layers(gate: GateOptions, budget: BudgetOptions) -> Iterator[Layer]:
    if gate.gate is not None:
        yield load_gate_file(gate.gate)
    yield Layer(gate.entry(), FLAG)
    yield Layer(budget.entry(), FLAG)


def _checked(gate: Gate) -> Gate:
    """The gate, if the evals it names are known. Raises ConfigurationError."""
    named = dict.fromkeys(gate.evals, gate.origins.get("evals", ""))
    named |= {name: gate.origins[f"margins.{name}"] for name in gate.margins}
    for name, where in named.items():
        if name not in NAMES:
            raise ConfigurationError(
                f"{where}: there is no eval {name!r}; {suggestion(name, NAMES)}"
            )
    return gate
