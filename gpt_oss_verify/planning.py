"""From options to the plan of a run, a new one or an earlier one: provider, tasks and budget."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from evals.declaration import scripts
from evals.own import own_name
from evals.prompts import choose_prompts
from evals.python_tool import MOST_REQUESTS, planned_tool
from evals.registry import QUICK_TRIES, eval_of
from evals.restoring import all_tasks
from evals.task import EvalTask
from gpt_oss_verify.options import Options, SamplingOptions, parse_list, refuse, run_place
from gpt_oss_verify.resolve import Chosen, gate_of_run, load_questions, recorded, resolve
from gpt_oss_verify.screen import say
from harmony.installed import harmony_package
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.records.analysis import TaskResult
from harness.records.conditions import EFFORTS, MODES, Condition, Mode
from harness.records.runs import RunInfo, RunSettings
from harness.records.settings import Layer, Sampling, Thresholds, layered
from harness.repeat.retest import not_passed
from harness.run.cases import Suite, load_suite
from harness.run.run_log import read_run_info
from harness.tasks.plan import Plan, continued, new_info
from harness.tasks.suite import restored_tasks, suite_tasks
from harness.tasks.task import Task
from harness.verdict.success_rate import fewest_tries, further_tries

DEFAULT_TRIES = 5
FIRST_TRIES = 2
"""Tries that a run without `--tries` makes before it looks whether they found something."""
MOST_FURTHER = 4
"""Further tries of each case on average; they cost as many requests as all tries of the suite."""
DEFAULT_MAX_TURNS = 10
DEFAULT_EFFORT = "medium"
QUICK_MARGIN = 10.0
"""With 318 requests, the bounds of the difference of a healthy provider are about 6 points away;
broken providers were at least 13 points below (sources in `evals/aime25/scores.json`)."""


def new_plan(options: Options) -> Plan:
    """Plan a new run; nothing is written. Raises ConfigurationError if the options are invalid."""
    chosen = resolve(options)
    suite = None
    if not options.evals_alone:
        suite, options = _selected(options)
    settings = _settings(options, chosen, suite)
    described = chosen.provider.info()
    tasks: list[Task] = []
    if suite is not None:
        cases, sampling = options.cases, options.sampling
        tries = sampling.tries or DEFAULT_TRIES
        if settings.first_tries:
            fewest = fewest_tries(
                max(len(suite.cases), 1), settings.thresholds, alternating=settings.modes == MODES
            )
            tries = min(max(FIRST_TRIES, fewest), DEFAULT_TRIES)
        tasks += suite_tasks(
            described,
            settings,
            suite,
            golden_files.chosen(cases.golden, chosen.provider.model),
            tries=tries,
            sampling=layered(
                Sampling(max_turns=DEFAULT_MAX_TURNS),
                [Layer(chosen.provider.stated), Layer(sampling.stated), Layer(cases.stated)],
            ),
            effort=sampling.reasoning_effort,
            repeated=sampling.tries or 1,
        )
    tasks += _eval_tasks(options, chosen, settings)
    if warning := harmony_package().warning:
        say(warning)
    info = new_info(described, tasks, settings, typed_command())
    return Plan(chosen.provider, tuple(tasks), info, chosen.budget, chosen.grader)


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


def typed_command() -> tuple[str, ...]:
    """Return the command line as it was typed."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return ("python", "-m", program.parent.name, *sys.argv[1:])
    return ("gpt-oss-verify", *sys.argv[1:])


def _settings(options: Options, chosen: Chosen, suite: Suite | None) -> RunSettings:
    """Return the settings of a new run: what follows from the options, then what is stated."""
    evals, grader = chosen.evals, chosen.grader
    cases, sampling = options.cases, options.sampling
    modes = MODES
    if sampling.streaming is not None or options.evals_alone:
        modes = (MODES[0] if sampling.streaming else MODES[1],)
    quick = not options.evals_alone and evals == tuple(QUICK_TRIES)
    defaults = RunSettings(
        suite="standard",
        evals=tuple(own_name(name) or name for name in evals),
        apis=chosen.apis,
        modes=modes,
        case_ids=tuple(case.id for case in suite.cases) if suite and cases.first_cases else (),
        prompts=choose_prompts(options.data.prompts_source, scripts()) if evals else None,
        concurrency=chosen.provider.concurrency,
        thresholds=chosen.thresholds,
        grader=grader.info() if grader else None,
        budget=chosen.budget.recorded_limits,
        margins=dict.fromkeys(QUICK_TRIES, QUICK_MARGIN) if quick else {},
        first_tries=sampling.tries is None and cases.only_failed is None and suite is not None,
    )
    given = (cases, options.data, options.baseline, options.decision, sampling)
    settings = layered(defaults, [*chosen.layers, *(Layer(group.stated) for group in given)])
    first_tries = settings.first_tries and not settings.ends_at_failure
    return settings.model_copy(update={**recorded(settings), "first_tries": first_tries})


def _eval_tasks(options: Options, chosen: Chosen, settings: RunSettings) -> Iterator[EvalTask]:
    if not chosen.evals:
        return
    provider = chosen.provider
    sampling = options.sampling
    if not options.evals_alone:  # The other options apply to tool calling.
        sampling = SamplingOptions(seed=sampling.seed)
    wanted = sampling.reasoning_effort or DEFAULT_EFFORT
    efforts = parse_list("--reasoning-effort", wanted, EFFORTS)
    mode: Mode = MODES[0] if sampling.streaming else MODES[1]
    conditions = [
        Condition(model=model, effort=effort, api=settings.apis[0], mode=mode)
        for model, effort in product(chosen.models, efforts)
    ]
    python: dict[str, object] = {}
    if options.data.with_tools is not None:
        tool = planned_tool(settings.apis[0], provider.limitations)
        python = {"python": tool, "max_turns": MOST_REQUESTS}
    for name in chosen.evals:
        data = chosen.own.get(name) or load_questions(name, options)
        limit = eval_of(data.info).facts.max_tokens
        used = layered(
            Sampling(temperature=1.0, top_p=1.0, max_tokens=limit),
            [Layer(provider.stated), Layer(sampling.stated)],
        ).model_copy(update=python)
        tries = sampling.tries if options.evals_alone else QUICK_TRIES.get(name)
        yield EvalTask(
            data,
            conditions,
            tries,
            used,
            settings,
            extra_body=provider.extra_body,
            grader=chosen.grader,
        )


def with_further_tries(plan: Plan, folder: Path) -> Plan:
    """Return the plan of a run whose first tries found something, with all tries.

    Raises ConfigurationError or RunLogError.
    """
    info = read_run_info(folder)
    info = _with_tries(folder, info, DEFAULT_TRIES) if info.of_kind("tool_calling") else info
    settings = info.settings.model_copy(update={"first_tries": False})
    return _going_on(plan, folder, info.model_copy(update={"settings": settings}))


def undecided_tries(thresholds: Thresholds, results: Sequence[TaskResult]) -> Mapping[str, int]:
    """Return the tries that may decide the rate of tool calls, by API and mode: `further_tries`.

    They are at most `MOST_FURTHER` of each case, over all APIs and modes together.
    """
    if thresholds.by_guide or not results:
        return {}
    made = sum(sum(result.further.values()) for result in results)
    most = sum(result.samples * MOST_FURTHER for result in results)
    return further_tries(results, thresholds, most - made)


def with_tries_beyond(plan: Plan, folder: Path, further: Mapping[str, int]) -> Plan:
    """Return the plan of a run with so many more tries of tool calls, by API and mode.

    Raises ConfigurationError or RunLogError.
    """
    info = read_run_info(folder)
    tasks = tuple(
        task.model_copy(
            update={
                "further": dict(Counter(task.further) + Counter(further)),
                "planned": task.planned + sum(further.values()),
            }
        )
        if task.kind == "tool_calling"
        else task
        for task in info.tasks
    )
    return _going_on(plan, folder, info.model_copy(update={"tasks": tasks}))


def _going_on(plan: Plan, folder: Path, info: RunInfo) -> Plan:
    """Return the plan with the tasks of `info`, of a run that goes on; evals stay as they are."""
    info = info.model_copy(update={"ended": None, "finished_at": None})
    evals = (task for task in plan.tasks if isinstance(task, EvalTask))
    tasks = (*restored_tasks(folder, info), *evals)
    info = info.model_copy(update={"tasks": tuple(task.info for task in tasks)})
    return replace(plan, tasks=tasks, info=info)


def resume(folder: Path, options: Options) -> Plan:
    """Return the plan that finishes a run, or adds the tries of the options to it.

    Raises ConfigurationError or RunLogError.
    """
    info = read_run_info(folder)
    if options.sampling.tries is not None:
        info = _with_tries(folder, info, options.sampling.tries)
        settings = info.settings.model_copy(update={"first_tries": False})
        info = info.model_copy(update={"settings": settings})
    if info.retest is not None:  # a finding may need the load of the run that it was found in
        options = replace(options, concurrency=options.concurrency or info.settings.concurrency)
    _, changes = gate_of_run(options.gate, info)
    settings = info.settings.model_copy(update=changes)
    info = info.model_copy(update={"settings": settings})
    chosen = resolve(options, info)
    tasks = all_tasks(folder, info, chosen.grader)
    return continued(info, chosen.provider, tasks, chosen.budget, chosen.thresholds)


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
        task.model_copy(
            update={
                "tries": tries,
                "further": {},
                "planned": (task.planned - sum(task.further.values())) // task.tries * tries,
            }
        )
        if task in more
        else task
        for task in info.tasks
    )
    return info.model_copy(update={"tasks": tasks, "ended": None, "finished_at": None})
