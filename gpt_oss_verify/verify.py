"""The commands that sample a provider: the main job, `eval`, and `grade`.

They import what carries them out when they run: `--help` needs only their options.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from gpt_oss_verify.options import (
    EVAL,
    RUN,
    AlsoEvals,
    AsJson,
    BaselineOptions,
    BudgetOptions,
    CaseOptions,
    DataOptions,
    Debug,
    DecisionOptions,
    GateOptions,
    Options,
    ProviderOptions,
    ProvidersFile,
    Run,
    RunOptions,
    SamplingOptions,
    ShowQuestions,
    refuse,
)
from gpt_oss_verify.screen import say
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.tasks.plan import Plan

_RUN = Parameter(group=RUN)


def verify(
    *,
    provider: ProviderOptions = ProviderOptions(),
    cases: CaseOptions = CaseOptions(),
    sampling: SamplingOptions = SamplingOptions(),
    evals: AlsoEvals = None,
    gate: GateOptions = GateOptions(),
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions = RunOptions(),
) -> int:
    """Verify a provider."""
    from gpt_oss_verify.carry_out import carry_out, print_left, print_plan
    from gpt_oss_verify.planning import DEFAULT_TRIES, resume

    options = Options(provider, sampling, gate, budget, evals, run.concurrency, cases)
    if run.resume is not None:
        others = sampling.model_copy(update={"tries": None})
        _refuse_settings(run, provider, cases, others, evals=evals)
        plan = resume(run.resume, options)
        return print_left(plan, run.resume) if run.dry_run else carry_out(plan, run)
    plan = _new_plan(options)
    if run.dry_run:
        all_tries = None
        if plan.info.settings.first_tries:
            every = sampling.model_copy(update={"tries": DEFAULT_TRIES})
            all_tries = _new_plan(replace(options, sampling=every))
        print_plan(plan, dry_run=True, as_json=run.as_json, all_tries=all_tries)
        return 0
    if warning := plan.budget.foreseen(plan.info.planned, plan.provider.rpm):
        say(warning)
    return carry_out(plan, run)


def evaluate(
    *,
    provider: ProviderOptions = ProviderOptions(),
    evals: Annotated[str | None, EVAL] = None,
    data: DataOptions = DataOptions(),
    baseline: BaselineOptions = BaselineOptions(),
    decision: DecisionOptions = DecisionOptions(),
    sampling: SamplingOptions = SamplingOptions(),
    gate: Annotated[Path | None, _RUN] = None,
    budget: BudgetOptions = BudgetOptions(),
    run: RunOptions = RunOptions(),
    executor: Annotated[Literal["ray"] | None, _RUN] = None,
    show_questions: Annotated[ShowQuestions, _RUN] = False,
) -> int:
    """Score a provider on evals such as AIME 2025 and GPQA Diamond.

    Args:
        gate: File with margins by eval, evals that must run, and a budget.
        executor: ray: sample parts of the run as tasks of a Ray cluster, and join them here.
    """
    from gpt_oss_verify.carry_out import carry_out, on_ray, print_left, print_plan, sample_here
    from gpt_oss_verify.planning import resume

    options = Options(
        provider,
        sampling,
        GateOptions(gate=gate),
        budget,
        evals,
        run.concurrency,
        evals_alone=True,
        data=data,
        baseline=baseline,
        decision=decision,
        executor=executor,
        dry_run=run.dry_run,
    )
    if run.resume is not None:
        given = (data, baseline, decision, sampling.model_copy(update={"tries": None}))
        others = {"eval": evals, "executor": executor, "gate": gate}
        _refuse_settings(run, provider, *given, **others)
        if run.dry_run:
            return print_left(resume(run.resume, options), run.resume)
        return carry_out(resume(run.resume, options), run, show_questions=show_questions)
    plan = _new_plan(options)
    print_plan(plan, dry_run=run.dry_run, as_json=run.as_json and run.dry_run)
    if run.dry_run:
        return 0
    sample = sample_here if executor is None else on_ray()
    return carry_out(plan, run, show_questions=show_questions, sample=sample)


def _new_plan(options: Options) -> "Plan":
    """Plan a new run. Without a model, the error names those that the address serves."""
    from gpt_oss_verify.init import served
    from gpt_oss_verify.planning import new_plan
    from gpt_oss_verify.resolve import ModelMissingError

    try:
        return new_plan(options)
    except ModelMissingError as missing:
        models = served(missing.provider)
        raise ConfigurationError(f"Give --model; {missing.provider.base_url} {models}.") from None


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
    """Grade the HealthBench answers of a run again.

    Args:
        grader: Entry of providers.yaml. Default: the grader of the run, for items without a grade.
        unread: Let the grader read answers that the rules of an eval cannot. Needs --grader.
    """
    from gpt_oss_verify.carry_out import grade as grade_run

    options = Options(
        ProviderOptions(providers_file=providers_file),
        budget=budget,
        decision=DecisionOptions(grader_name=grader),
        grading=True,
    )
    return grade_run(run, options, unread=unread, debug=debug, as_json=as_json)


def _refuse_settings(
    run: RunOptions, provider: ProviderOptions, *given: object, **others: object
) -> None:
    others |= {"out": run.out, "apis": provider.apis}
    refuse(f"--resume {run.resume} continues with the settings of the run;", *given, **others)
