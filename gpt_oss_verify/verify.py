"""The commands that sample a provider: the main job, `eval`, and `grade`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from evals.cost import Cost, Expectation, Part, expect
from gpt_oss_verify.choice import budget_for, same_grader
from gpt_oss_verify.options import (
    DEFAULT_OUT,
    EVALS,
    RUN,
    AsJson,
    BaselineOptions,
    BudgetOptions,
    CaseOptions,
    DataOptions,
    Debug,
    DecisionOptions,
    GateOptions,
    ProviderOptions,
    ProvidersFile,
    Run,
    RunOptions,
    SamplingOptions,
    ShowQuestions,
    parse_shard,
    refuse,
)
from gpt_oss_verify.planning import Options, new_plan, restore, resume
from gpt_oss_verify.progress import display
from gpt_oss_verify.screen import print_raw, say, show
from harness import session
from harness.errors import (
    ConfigurationError,
    ProviderUnavailableError,
    StoppedAnsweringError,
    StoppedError,
)
from harness.providers.entries import find_provider
from harness.run import run_folder
from harness.run.run_log import read_run_info
from harness.run.sampling import Observer
from harness.tasks.plan import Plan
from harness.verdict import requirements
from harness.verdict.judge import InterimJudge
from reports.text import counted, visible

Sampler = Callable[[Plan, Path, Observer], None]
_RUN = Parameter(group=RUN)


def verify(
    *,
    provider: ProviderOptions = ProviderOptions(),
    cases: CaseOptions = CaseOptions(),
    sampling: SamplingOptions = SamplingOptions(),
    evals: Annotated[str | None, Parameter(group=EVALS)] = None,
    gate: GateOptions = GateOptions(),
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions = RunOptions(),
) -> int:
    """Verify a provider.

    Args:
        evals: Also run evals; quick: AIME 2025 and GPQA Diamond in 318 requests.
    """
    if run.resume is not None:
        others = replace(sampling, tries=None)
        _refuse_settings(run, provider, cases, others, evals=evals)
        plan = resume(run.resume, provider, gate, budget, run.concurrency, sampling.tries)
        return carry_out(plan, run)
    plan = new_plan(Options(provider, sampling, gate, budget, evals, run.concurrency, cases))
    if run.dry_run:
        _print_plan(plan, dry_run=True, as_json=run.as_json)
        return 0
    if warning := plan.budget.foreseen(plan.info.planned, plan.provider.rpm):
        say(warning)
    return carry_out(plan, run)


def evaluate(
    *,
    provider: ProviderOptions = ProviderOptions(),
    evals: Annotated[str | None, Parameter(name="--eval", group=EVALS)] = None,
    data: DataOptions = DataOptions(),
    baseline: BaselineOptions = BaselineOptions(),
    decision: DecisionOptions = DecisionOptions(),
    sampling: SamplingOptions = SamplingOptions(),
    gate: Annotated[Path | None, _RUN] = None,
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions = RunOptions(),
    shard: Annotated[str | None, _RUN] = None,
    executor: Annotated[Literal["ray"] | None, _RUN] = None,
    show_questions: Annotated[ShowQuestions, _RUN] = False,
) -> int:
    """Score a provider on AIME 2025, GPQA Diamond or HealthBench against a baseline.

    Args:
        evals: aime25, gpqa, healthbench[_hard|_consensus], basic, separated by commas.
            Default: aime25,gpqa.
        gate: File with margins by eval, evals that must run, and a budget.
        shard: i/n: sample only the i-th of n parts; join them with `merge`.
        executor: ray: sample the shards of the run as tasks of a Ray cluster, and merge them here.
    """
    gate_options = GateOptions(gate=gate)
    if run.resume is not None:
        given = (data, baseline, decision, sampling)
        others = {"eval": evals, "shard": shard, "executor": executor, "gate": gate}
        _refuse_settings(run, provider, *given, **others)
        plan = resume(run.resume, provider, gate_options, budget, run.concurrency)
        return carry_out(plan, run, show_questions=show_questions)
    plan = new_plan(
        Options(
            *(provider, sampling, gate_options, budget, evals, run.concurrency),
            evals_alone=True,
            data=data,
            baseline=baseline,
            decision=decision,
            shard=parse_shard(shard),
            executor=executor,
        )
    )
    _print_plan(plan, dry_run=run.dry_run, as_json=run.as_json and run.dry_run)
    if run.dry_run:
        return 0
    sample = sample_here if executor is None else _on_ray()
    return carry_out(plan, run, show_questions=show_questions, sample=sample)


def grade(
    run: Run,
    /,
    *,
    grader: str | None = None,
    unread: bool = False,
    providers_file: ProvidersFile = None,
    budget: BudgetOptions = BudgetOptions(),
    debug: Debug = False,
    as_json: AsJson = False,
) -> int:
    """Grade the HealthBench answers of a run without sampling the provider again.

    Args:
        grader: Entry of providers.yaml. Default: the grader of the run, for items without a grade.
        unread: Let the grader read AIME and GPQA answers that the rules cannot. Needs --grader.
    """
    from gpt_oss_verify.judge_and_report import judge_and_print, with_settings  # imports reports

    info = read_run_info(run)
    if unread and grader is None:
        raise ConfigurationError("--unread has no default grader; name one with --grader.")
    if grader is None:
        chosen = same_grader(info, providers_file)
    else:
        chosen = find_provider(grader, providers_file)
    spending = budget_for(budget, chosen)
    info = with_settings(info, {"unread_grader" if unread else "grader": chosen.info()})
    tasks = restore(run, info, chosen)
    if not unread and not any(getattr(task, "graded", False) for task in tasks):
        raise ConfigurationError(f"{run} has no HealthBench answers, so there is nothing to grade.")
    plan = Plan(chosen, tuple(tasks), info, spending)
    try:
        with display(debug=debug) as screen:
            session.grade(plan, run, screen)
    except StoppedError:
        again = f"gpt-oss-verify grade {run}"
        raise StoppedError(f"stopped before the end; finish with: {again}") from None
    return judge_and_print(run, as_json=as_json)


def carry_out(
    plan: Plan, run: RunOptions, *, show_questions: bool = False, sample: Sampler | None = None
) -> int:
    """Sample, judge and report, and return the exit code.

    Raises the errors of `sample_with_progress`.
    """
    folder = run.resume or run_folder.create(run.out or DEFAULT_OUT, plan.provider.name)
    sample_with_progress(plan, folder, debug=run.debug, sample=sample or sample_here)
    from gpt_oss_verify.judge_and_report import judge_and_print  # after sampling: slow

    return judge_and_print(folder, as_json=run.as_json, show_questions=show_questions)


def sample_here(plan: Plan, folder: Path, observer: Observer) -> None:
    """Sample in this process; see `harness.session.sample`."""
    session.sample(plan, folder, observer, InterimJudge(folder, plan.tasks, plan.info))


def sample_with_progress(
    plan: Plan, folder: Path, *, debug: bool = False, sample: Sampler = sample_here
) -> None:
    """Sample with progress on stderr; if sampling ends early, judge the finished attempts.

    Raises ConfigurationError if a task cannot be sampled on this machine,
    ProviderUnavailableError if the provider or the grader cannot be used, and StoppedError when the
    user stops the run.
    """
    try:
        soft = requirements.may_warn(plan.info.settings.thresholds)
        with display(plan.tasks, debug=debug, may_warn=soft) as screen:
            sample(plan, folder, screen)
    except (ProviderUnavailableError, ConfigurationError) as error:
        if not plan.info.resumed and run_folder.discard_unused(folder):
            raise
        _judge(folder)
        say(f"The finished attempts are judged in {folder}/report.md")
        if isinstance(error, StoppedAnsweringError):
            error = StoppedAnsweringError(f"{error}; continue with --resume {folder}")
        error.run = folder
        raise error from None
    except StoppedError as stop:
        _judge(folder)
        stop = StoppedError(f"{stop} {folder}")
        stop.run = folder
        raise stop from None


def _judge(folder: Path) -> None:
    from gpt_oss_verify.judge_and_report import judge_and_report

    judge_and_report(folder)


def _refuse_settings(
    run: RunOptions, provider: ProviderOptions, *given: object, **others: object
) -> None:
    others |= {"out": run.out, "apis": provider.apis, "dry_run": run.dry_run}
    refuse(f"--resume {run.resume} continues with the settings of the run;", *given, **others)


def _print_plan(plan: Plan, *, dry_run: bool, as_json: bool) -> None:
    expected = expect(plan.tasks, plan.info, plan.provider, plan.grader)
    if as_json:
        print_raw(expected.model_dump_json(indent=2))
        return
    put = show if dry_run else say
    for line in plan_lines(expected):
        put(line)
    parts = [expected.sampling, *([expected.grading] if expected.grading else [])]
    costs = [part.dollars for part in parts if part.dollars is not None]
    requests = 0 if plan.info.settings.until_decided else expected.sampling.requests
    if warning := plan.budget.foreseen(requests, plan.provider.rpm, sum(costs)):
        put(warning)


def _on_ray() -> Sampler:
    """Sampling in shards on a Ray cluster. Raises ConfigurationError without Ray."""
    from evals.ray_cluster import RayExecutor, sample_in_shards

    executor = RayExecutor()
    return lambda plan, folder, observer: sample_in_shards(plan, folder, executor, observer)


def plan_lines(expected: Expectation) -> Iterator[str]:
    """Requests, tokens, cost and time of sampling and grading, and what can be decided."""
    yield from _lines("sampling", expected.sampling)
    for part in expected.parts if len(expected.parts) > 1 else ():
        yield f"  of which {part.name}: {counted(part.requests, 'request')}, " + _tokens(part)
    if expected.grading is not None:
        yield from _lines("grading", expected.grading)
    yield from map(visible, expected.forecasts)


def _lines(what: str, cost: Cost) -> Iterator[str]:
    yield f"{what} from {visible(cost.provider)}: {counted(cost.requests, 'request')}"
    tokens = f"  tokens: about {_tokens(cost)} (assumed"
    if cost.most_output_tokens is not None:
        tokens += f"; at most {cost.most_output_tokens:,}"
    yield f"{tokens})"
    if cost.dollars is None:
        yield "  cost: unknown; set `prices` in the entry of the provider"
    else:
        yield f"  cost: about ${cost.dollars:,.2f}"
    if cost.minutes is None:
        yield "  time: unknown until the first responses; no rpm or tpm limit is set"
    else:
        yield f"  time: at least {cost.minutes:,.0f} minutes with the configured limits"


def _tokens(amount: Cost | Part) -> str:
    return f"{amount.input_tokens:,} in, {amount.output_tokens:,} out"
