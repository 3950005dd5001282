"""From options to the plan of a run, a new one or an earlier one: provider, tasks and budget."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from evals.baselines.choice import choose_baseline
from evals.datasets import Loaded
from evals.declaration import scripts
from evals.grading.graded_eval import GradedEval
from evals.own import own_name
from evals.prompts import choose_prompts
from evals.python_tool import MOST_REQUESTS, planned_tool
from evals.registry import EVALS, NAMES, QUICK_TRIES, eval_of, load_data, make_eval
from evals.restoring import all_tasks
from evals.task import EvalTask
from gpt_oss_verify.choice import (
    budget_of,
    chosen_grader,
    chosen_provider,
    gate_for,
    grader_of_run,
    recorded,
    same_provider,
    score_gate,
    thresholds_of,
    thresholds_of_run,
)
from gpt_oss_verify.options import (
    BaselineOptions,
    BudgetOptions,
    CaseOptions,
    DataOptions,
    DecisionOptions,
    GateOptions,
    ProviderOptions,
    SamplingOptions,
    parse_apis,
    parse_list,
    refuse,
    run_place,
)
from gpt_oss_verify.screen import say
from harmony.installed import harmony_package
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.providers.entries import Provider
from harness.records.conditions import EFFORTS, MODES, Api, Condition, Mode
from harness.records.runs import RunInfo, RunSettings, ScoreGate
from harness.records.settings import Layer, Sampling, layered, names
from harness.repeat.retest import not_passed
from harness.run.budget import Budget
from harness.run.cases import Suite, load_suite
from harness.run.run_log import read_run_info
from harness.tasks.plan import Plan, continued, new_info
from harness.tasks.suite import suite_tasks
from harness.tasks.task import Task
from harness.verdict.reference_rate import default_thresholds

DEFAULT_TRIES = 5
DEFAULT_MAX_TURNS = 10
DEFAULT_EVALS = ",".join(QUICK_TRIES)
DEFAULT_EFFORT = "medium"
QUICK_MARGIN = 10.0
"""With 318 requests, the bounds of the difference of a healthy provider are about 6 points away;
broken providers were at least 13 points below (sources in `evals/aime25/scores.json`)."""


@dataclass(frozen=True)
class Options:
    """All options of a run."""

    provider: ProviderOptions
    sampling: SamplingOptions
    gate: GateOptions
    budget: BudgetOptions
    evals: str | None = None
    """Names, or `quick`; None for those of the gate or, with `evals_alone`, the default ones."""
    concurrency: int | None = None
    cases: CaseOptions = field(default_factory=CaseOptions)
    evals_alone: bool = False
    """Whether to leave out tool calling and probes, which `cases` chooses."""
    data: DataOptions = field(default_factory=DataOptions)
    baseline: BaselineOptions = field(default_factory=BaselineOptions)
    decision: DecisionOptions = field(default_factory=DecisionOptions)
    executor: str | None = None
    """What distributes the run over machines."""
    dry_run: bool = False
    """Whether nothing will be sent."""


def new_plan(options: Options) -> Plan:
    """Plan a new run; nothing is written. Raises ConfigurationError if the options are invalid."""
    provider = chosen_provider(options.provider, options.concurrency)
    models: Sequence[str] = (provider.model,)
    if options.evals_alone:
        models = parse_list("--model", provider.model)
        provider = provider.model_copy(update={"model": models[0]})
    layers = gate_for(provider, options.provider.providers_file, options.gate, options.budget)
    gate = score_gate(layers)
    evals = _evals(options, gate)
    apis = parse_apis(options.provider.apis) or provider.apis
    if options.evals_alone and len(apis) > 1:
        if options.provider.apis is not None:
            raise ConfigurationError("Evals use one API; choose --api responses or --api chat.")
        apis = apis[:1]
    grader = None
    own = {name: _load(name, options) for name in evals if own_name(name) is not None}
    if any(_needs_grader(name, own) for name in evals):
        grader = provider
        if options.decision.grader_name is not None or not options.data.samples:
            name, file = options.decision.grader_name, options.provider.providers_file
            grader = chosen_grader(name, file, send=not options.dry_run)
    budget = budget_of(layers, provider, *filter(None, [grader]))
    _check(options, budget)
    suite = None
    if not options.evals_alone:
        suite, options = _selected(options)
    settings = _settings(options, layers, evals, apis, provider, grader, budget, suite)
    described = provider.info()
    tasks: list[Task] = []
    if suite is not None:
        cases, sampling = options.cases, options.sampling
        tasks += suite_tasks(
            described,
            settings,
            suite,
            golden_files.chosen(cases.golden, provider.model),
            tries=sampling.tries or DEFAULT_TRIES,
            sampling=layered(
                Sampling(max_turns=DEFAULT_MAX_TURNS),
                [Layer(provider.stated), Layer(sampling.stated), Layer(cases.stated)],
            ),
            effort=sampling.reasoning_effort,
        )
    tasks += _eval_tasks(options, provider, models, settings, evals, grader, own)
    if warning := harmony_package().warning:
        say(warning)
    info = new_info(described, tasks, settings, typed_command())
    return Plan(provider, tuple(tasks), info, budget, grader)


def _selected(options: Options) -> tuple[Suite, Options]:
    """Return the cases, and the options with the probes of `only_failed` in `only`.

    Raises ConfigurationError or RunLogError.
    """
    cases = options.cases
    if cases.only_failed is None:
        suite = load_suite(cases.cases, cases.tools).spread(cases.first_cases)
        for bad in suite.bad_lines:
            say(f"{suite.cases_file.name}, line {bad.number} is left out: {bad.reason}")
        return suite, options
    run = run_place(cases.only_failed)
    own = {name: getattr(cases, name) for name in ("only", "cases", "tools", "first_cases")}
    refuse(f"--only-failed {run} selects the cases and probes itself;", **own)
    failed, chosen = not_passed(run)
    if read_run_info(run).of_kind("eval"):
        say(f"--only-failed leaves out the evals of {run}; gpt-oss-verify eval samples them again.")
    count = len(failed.cases) if failed else None
    selected = cases.model_copy(update={"only": chosen, "first_cases": count})
    return failed or load_suite(), replace(options, cases=selected)


def _needs_grader(name: str, own: Mapping[str, Loaded[Any]]) -> bool:
    """Return whether answers of an eval are graded; those of the user's own if it has rubrics."""
    if name not in own:
        return EVALS[name].needs_grader
    return isinstance(make_eval(own[name], 0), GradedEval)


def typed_command() -> tuple[str, ...]:
    """Return the command line as it was typed."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return ("python", "-m", program.parent.name, *sys.argv[1:])
    return ("gpt-oss-verify", *sys.argv[1:])


def _check(options: Options, budget: Budget) -> None:
    """Refuse conflicting options before anything is loaded. Raises ConfigurationError."""
    decision = options.decision
    if not decision.until_decided and (decision.budget_samples or decision.budget_tokens):
        raise ConfigurationError(
            "--budget-samples and --budget-tokens need --until-decided; add it."
        )
    choose_baseline(options.baseline.baseline)
    effort = options.sampling.reasoning_effort
    if effort is not None and not effort.isprintable():
        raise ConfigurationError(f"--reasoning-effort takes a name such as low, not {effort!r}.")
    whole = (decision.until_decided, options.data.with_tools, budget.recorded_limits)
    if options.executor is not None and any(whole):
        raise ConfigurationError(
            "--executor samples on other machines, where budgets and sandboxes are not enforced; "
            "leave out --until-decided, --with-tools and budgets."
        )


def _evals(options: Options, gate: ScoreGate) -> tuple[str, ...]:
    """Return the evals to run: the requested ones, or those that the gate requires."""
    if options.evals_alone:
        requested = options.evals or ",".join(gate.required_evals) or DEFAULT_EVALS
        parse_list("--eval", requested)
        return _distinct("--eval", tuple(map(_known_eval, names(requested))))
    if options.evals == "quick":
        return tuple(QUICK_TRIES)
    if options.evals is not None:
        parse_list("--evals", options.evals, NAMES)
        return _distinct("--evals", names(options.evals))
    for name in gate.required_evals:
        if name not in QUICK_TRIES:
            raise ConfigurationError(
                f"{gate.origins['required_evals']}: the eval {name} is not part of --evals quick "
                f"({', '.join(QUICK_TRIES)}); run it with `gpt-oss-verify eval` and its own gate."
            )
    return tuple(QUICK_TRIES) if gate.required_evals else ()


def _distinct(option: str, evals: Sequence[str]) -> tuple[str, ...]:
    """Return the evals. Raises ConfigurationError if two have one name, as files and in tables."""
    by_name: dict[str, str] = {}
    for spec in evals:
        name = (own_name(spec) or spec).casefold()
        if name in by_name:
            raise ConfigurationError(
                f"{option}: {by_name[name]} and {spec} both have the name {name}, by which results "
                "are kept; rename a file, or leave one out."
            )
        by_name[name] = spec
    return tuple(evals)


def _known_eval(spec: str) -> str:
    """Return the name of an eval, or the place of the user's own questions."""
    name = own_name(spec)
    if name is None:
        return parse_list("--eval", spec, NAMES)[0]
    if name in NAMES:
        raise ConfigurationError(f"{spec} has the name of the eval {name}; rename the file.")
    return spec


def _settings(
    options: Options,
    gate: Sequence[Layer],
    evals: tuple[str, ...],
    apis: tuple[Api, ...],
    provider: Provider,
    grader: Provider | None,
    budget: Budget,
    suite: Suite | None,
) -> RunSettings:
    """Return the settings of a new run: what follows from the options, then what is stated."""
    cases, sampling = options.cases, options.sampling
    modes = MODES
    if sampling.streaming is not None or options.evals_alone:
        modes = (MODES[0] if sampling.streaming else MODES[1],)
    quick = not options.evals_alone and evals == tuple(QUICK_TRIES)
    defaults = RunSettings(
        suite="standard",
        evals=tuple(own_name(name) or name for name in evals),
        apis=apis,
        modes=modes,
        case_ids=tuple(case.id for case in suite.cases) if suite and cases.first_cases else (),
        prompts=choose_prompts(options.data.prompts_source, scripts()) if evals else None,
        concurrency=provider.concurrency,
        thresholds=thresholds_of(gate, default_thresholds(provider.model, strict=cases.strict)),
        grader=grader.info() if grader else None,
        budget=budget.recorded_limits,
        margins=dict.fromkeys(QUICK_TRIES, QUICK_MARGIN) if quick else {},
    )
    given = (cases, options.data, options.baseline, options.decision, sampling)
    settings = layered(defaults, [*gate, *(Layer(group.stated) for group in given)])
    return settings.model_copy(update=recorded(settings))


def _eval_tasks(
    options: Options,
    provider: Provider,
    models: Sequence[str],
    settings: RunSettings,
    evals: Sequence[str],
    grader: Provider | None,
    own: Mapping[str, Loaded[Any]],
) -> Iterator[EvalTask]:
    if not evals:
        return
    sampling = options.sampling
    if not options.evals_alone:  # The other options apply to tool calling.
        sampling = SamplingOptions(seed=sampling.seed)
    wanted = sampling.reasoning_effort or DEFAULT_EFFORT
    efforts = parse_list("--reasoning-effort", wanted, EFFORTS)
    mode: Mode = MODES[0] if sampling.streaming else MODES[1]
    conditions = [
        Condition(model=model, effort=effort, api=settings.apis[0], mode=mode)
        for model, effort in product(models, efforts)
    ]
    python: dict[str, object] = {}
    if options.data.with_tools is not None:
        tool = planned_tool(settings.apis[0], provider.limitations)
        python = {"python": tool, "max_turns": MOST_REQUESTS}
    for name in evals:
        data = own.get(name) or _load(name, options)
        limit = eval_of(data.info).facts.max_tokens
        chosen = layered(
            Sampling(temperature=1.0, top_p=1.0, max_tokens=limit),
            [Layer(provider.stated), Layer(sampling.stated)],
        ).model_copy(update=python)
        tries = sampling.tries if options.evals_alone else QUICK_TRIES.get(name)
        yield EvalTask(
            data, conditions, tries, chosen, settings, extra_body=provider.extra_body, grader=grader
        )


def _load(name: str, options: Options) -> Loaded[Any]:
    """Return the rows of an eval; in the main job, sample data if the hub cannot be reached."""
    evals = (options.evals or DEFAULT_EVALS).split(",")
    if options.evals_alone:
        return load_data(name, options.data.place(evals))
    try:
        return load_data(name)
    except ConfigurationError as error:
        say(f"Using sample questions instead of {name}: {error}")
        return load_data(name, "samples")


def resume(
    folder: Path,
    provider: ProviderOptions,
    gate: GateOptions,
    budget: BudgetOptions,
    concurrency: int | None,
    tries: int | None = None,
) -> Plan:
    """Return the plan that finishes a run, or adds `tries` to it.

    Raises ConfigurationError or RunLogError.
    """
    info = read_run_info(folder)
    if tries is not None:
        info = _with_tries(folder, info, tries)
    if info.retest is not None:  # a finding may need the load of the run that it was found in
        concurrency = concurrency or info.settings.concurrency
    entry = same_provider(info.provider, provider, concurrency)
    grader = grader_of_run(info, entry, provider.providers_file)
    limits = gate_for(entry, provider.providers_file, gate, budget)
    spending = budget_of(limits, entry, *filter(None, [grader]))
    thresholds = thresholds_of_run(gate, info)
    return continued(info, entry, all_tasks(folder, info, grader), spending, thresholds)


def _with_tries(folder: Path, info: RunInfo, tries: int) -> RunInfo:
    """Return `run.json` with more tries at each tool-call case, or question if it has no cases.

    Raises ConfigurationError.
    """
    if info.retest is not None:
        again = f"gpt-oss-verify retest {info.retest.run} -k {tries}"
        raise ConfigurationError(f"{folder} is a retest; make one with more tries: {again}")
    more = info.of_kind("tool_calling") or info.of_kind("eval")
    if not more or info.settings.until_decided:
        raise ConfigurationError(f"{folder} cannot get more tries; leave out --tries.")
    most = max(task.tries for task in more)
    if tries < most:
        raise ConfigurationError(f"{folder} has {most} tries of each case; --tries must be larger.")
    if all(task.tries == tries for task in more):
        return info
    tasks = tuple(
        task.model_copy(update={"tries": tries, "planned": task.planned // task.tries * tries})
        if task in more
        else task
        for task in info.tasks
    )
    return info.model_copy(update={"tasks": tasks, "ended": None, "finished_at": None})
