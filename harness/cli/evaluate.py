"""The command `eval`: scores one can trust, and a verdict against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from harness.cli.eval_options import DataOptions, EvalOptions, VerdictOptions, parse_shard
from harness.cli.options import HOW, LEAST_SEED, BudgetOptions, ProviderOptions, at_least
from harness.errors import ConfigurationError

_HOW = Parameter(group=HOW)
_PROVIDER = ProviderOptions()
_EVAL = EvalOptions()
_DATA = DataOptions()
_VERDICT = VerdictOptions()
_BUDGET = BudgetOptions()


def evaluate(
    *,
    provider: ProviderOptions = _PROVIDER,
    what: EvalOptions = _EVAL,
    data: DataOptions = _DATA,
    verdict: VerdictOptions = _VERDICT,
    budget: BudgetOptions = _BUDGET,
    concurrency: Annotated[int | None, _HOW] = None,
    shard: Annotated[str | None, _HOW] = None,
    executor: Annotated[Literal["ray"] | None, _HOW] = None,
    resume: Annotated[Path | None, _HOW] = None,
    out: Annotated[Path | None, _HOW] = None,
    dry_run: Annotated[bool, _HOW] = False,
    show_questions: Annotated[bool, _HOW] = False,
    debug: Annotated[bool, _HOW] = False,
    as_json: Annotated[bool, _HOW, Parameter(name="--json")] = False,
) -> int:
    """Score a provider on AIME 2025, GPQA Diamond or HealthBench, and compare with a baseline.

    Args:
        provider: Which provider; --model and --reasoning-effort take several with commas between.
        what: What to ask.
        data: Where the questions are.
        verdict: What to hold the scores to.
        budget: What one call may use.
        concurrency: Tries in flight. Default: the provider entry's, or 8.
        shard: i/n: make only the i-th of n parts; join them with `merge`.
        executor: ray: make the parts as tasks of a Ray cluster, and join them here.
        resume: Folder of a run to go on with; what it has finished is kept.
        out: Where run folders are made. Default: runs.
        dry_run: Only say what the run would take.
        show_questions: Put the text of questions into the report; GPQA's authors ask not to.
        debug: Print every request and response on stderr, keys redacted.
        as_json: Print verdict and figures as JSON on stdout.
    """
    from harness.cli import eval_jobs, eval_running
    from harness.cli.screen import stderr, stdout

    at_least(1, {"--tries": what.tries, "--concurrency": concurrency})
    at_least(1, {"--max-tokens": what.max_tokens, "--examples": what.examples})
    at_least(0, {"--temperature": what.temperature, "--top-p": what.top_p})
    at_least(LEAST_SEED, {"--seed": what.seed})
    show = eval_running.Show(debug=debug, as_json=as_json, questions=show_questions)
    if resume is not None:
        others: dict[str, object] = {
            "--shard": shard,
            "--executor": executor,
            "--out": out,
            "--api": provider.apis,
        }
        others["--dry-run"] = dry_run or None
        _only_resume(what, data, verdict, others)
        return eval_running.carry_out(eval_jobs.go_on(resume, provider, concurrency, budget), show)
    parts = parse_shard(shard)
    if executor is not None and (parts is not None or verdict.until_decided):
        raise ConfigurationError(
            "--executor makes the parts of a whole run itself; leave out --shard and "
            "--until-decided."
        )
    draft = eval_jobs.draft(
        provider, what, data, verdict, concurrency=concurrency, shard=parts, budget=budget
    )
    if executor is not None and draft.budget.noted is not None:
        raise ConfigurationError(
            "--executor makes the parts of a run elsewhere, where a budget is not kept; leave out "
            "one of them."
        )
    eval_running.say_plan(draft, stdout() if dry_run else stderr(), as_json=as_json and dry_run)
    if dry_run:
        return 0
    sample = eval_running.sample_here if executor is None else eval_running.on_ray()
    return eval_running.carry_out(draft.job(out), show, sample)


def _only_resume(
    what: EvalOptions,
    data: DataOptions,
    verdict: VerdictOptions,
    others: Mapping[str, object],
) -> None:
    """Refuse settings beside --resume. Raises ConfigurationError."""
    names = {"evals": "--eval"}
    fixed = {**vars(what), **vars(data), **vars(verdict)}
    given = [
        names.get(name, f"--{name.replace('_', '-')}") for name in fixed if fixed[name] is not None
    ]
    given += [name for name, value in others.items() if value is not None]
    if given:
        raise ConfigurationError(
            f"--resume goes on with the settings of the run; leave out {given[0]}."
        )
