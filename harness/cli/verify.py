"""The main job: `gpt-oss-verify --provider X`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from harness.cli.options import (
    HOW,
    LEAST_SEED,
    BudgetOptions,
    GateOptions,
    PlanOptions,
    ProviderOptions,
    at_least,
)
from harness.errors import ProviderUnavailableError, StoppedError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.cli.eval_jobs import Draft
    from harness.verification.smoke import Job

_HOW = Parameter(group=HOW)
_PROVIDER = ProviderOptions()
_PLAN = PlanOptions()
_GATE = GateOptions()
_BUDGET = BudgetOptions()


def verify(
    *,
    provider: ProviderOptions = _PROVIDER,
    plan: PlanOptions = _PLAN,
    gate: GateOptions = _GATE,
    budget: BudgetOptions = _BUDGET,
    concurrency: Annotated[int | None, _HOW] = None,
    resume: Annotated[Path | None, _HOW] = None,
    out: Annotated[Path | None, _HOW] = None,
    evals: Annotated[Literal["quick"] | None, _HOW] = None,
    debug: Annotated[bool, _HOW] = False,
    as_json: Annotated[bool, _HOW, Parameter(name="--json")] = False,
) -> int:
    """Verify a provider.

    Args:
        provider: Which provider.
        plan: What to ask.
        gate: What must be reached.
        budget: What it may use.
        concurrency: Attempts in flight. Default: the provider entry's, or 8.
        resume: Folder of a run to go on with; what it has finished is kept.
        out: Where run folders are made. Default: runs.
        evals: quick: then score it on AIME 2025 and GPQA Diamond, in 318 requests.
        debug: Print every request and response on stderr, keys redacted.
        as_json: Print verdict and summary as JSON on stdout.
    """
    from harness.cli import ending, jobs
    from harness.cli.screen import stderr
    from harness.text.plain import plain

    talk = stderr()
    at_least(1, {"-n": plan.first, "--tries": plan.tries, "--max-turns": plan.max_turns})
    at_least(1, {"--concurrency": concurrency, "--max-tokens": plan.max_tokens})
    at_least(0, {"--temperature": plan.temperature})
    at_least(LEAST_SEED, {"--seed": plan.seed})
    then = _planned_evals(provider, concurrency, gate, budget, wanted=evals, resume=resume)
    if resume is None:
        job = jobs.new(provider, plan, gate, concurrency, out, budget)
        if warning := job.budget.foreseen(job.info.planned, job.provider.rpm):
            talk.print(plain(warning), soft_wrap=True)
    else:
        job = jobs.resumed(resume, provider, plan, concurrency, out, gate, budget)
    for bad in job.suite.bad_lines:
        where = f"{job.suite.cases_file.name}, line {bad.number}"
        talk.print(plain(f"{where} left out: {bad.reason}"), soft_wrap=True)
    carry_out(job, talk, debug=debug)
    if then is not None:
        from harness.cli import quick_evals

        return quick_evals.after(job, then, out, as_json=as_json)
    return ending.finish(job.folder, as_json=as_json)


def carry_out(job: Job, talk: Console, *, debug: bool) -> None:
    """Sample what the job plans; what was finished is judged even if that is not all."""
    from harness.cli import ending
    from harness.display import display
    from harness.scoring.judge import Judge
    from harness.storage import run_folder
    from harness.verification import smoke
    from harness.verification.tally import SmokeTally

    judge = Judge(job.suite, strict=job.info.settings.strict)
    screen = display(talk, SmokeTally(judge), debug=debug)
    try:
        with screen.shown():
            smoke.sample(job, screen)
    except ProviderUnavailableError:
        if not job.info.resumed and run_folder.discard_unused(job.folder):
            raise
        ending.judge(job.folder)
        talk.print(f"What was finished is judged in {job.folder}/report.md", soft_wrap=True)
        raise
    except StoppedError as stop:
        ending.judge(job.folder)
        raise StoppedError(f"{stop} {job.folder}") from None


def _planned_evals(
    provider: ProviderOptions,
    concurrency: int | None,
    gate: GateOptions,
    budget: BudgetOptions,
    *,
    wanted: str | None,
    resume: Path | None,
) -> Draft | None:
    """The evals that follow, since they were asked for or the gate of a new run asks for them."""
    from harness.cli import quick_evals

    how = (provider, concurrency, gate, budget)
    asked = wanted is not None or (resume is None and quick_evals.are_asked(*how))
    return quick_evals.draft(*how) if asked else None
