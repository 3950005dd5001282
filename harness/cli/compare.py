"""The command `compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from harness.cli.options import HOW, LEAST_SEED, BudgetOptions, GateOptions, PlanOptions, at_least
from harness.errors import ConfigurationError

if TYPE_CHECKING:
    from harness.cli.provider_runs import Asked

_ASK = Group("To run them first", sort_key=1)
_HOW = Parameter(group=HOW)
_PLAN = PlanOptions()
_GATE = GateOptions()
_BUDGET = BudgetOptions()


def compare(
    *runs: str,
    against: Annotated[str | None, _HOW] = None,
    provider: Annotated[tuple[str, ...], Parameter(alias="-p", group=_ASK)] = (),
    providers_file: Annotated[Path | None, Parameter(name="--providers", group=_ASK)] = None,
    apis: Annotated[str | None, Parameter(alias="--api", group=_ASK)] = None,
    plan: PlanOptions = _PLAN,
    gate: GateOptions = _GATE,
    budget: BudgetOptions = _BUDGET,
    concurrency: Annotated[int | None, Parameter(group=_ASK)] = None,
    out: Annotated[Path | None, _HOW] = None,
    as_json: Annotated[bool, _HOW, Parameter(name="--json")] = False,
) -> int:
    """Put runs side by side: what differs, and what of it is more than chance.

    Args:
        runs: Run folders, bundles, baseline files, or published baselines (range, card, …).
        against: Which of them the others are held to. Default: the first.
        provider: Run this provider first, then compare; name several, one --provider each.
        providers_file: Your providers file. Default: ./providers.yaml, if it exists.
        apis: responses, chat, or both with a comma between.
        plan: What to ask.
        gate: What must be reached.
        budget: What each run may use.
        concurrency: Attempts in flight. Default: the provider entry's, or 8.
        out: Folder for compare.html, .md and .json. Default: a new one in runs.
        as_json: Print the comparison as JSON on stdout, instead of writing files.
    """
    from harness.cli import comparing, provider_runs

    at_least(1, {"-n": plan.first, "--tries": plan.tries, "--max-turns": plan.max_turns})
    at_least(1, {"--concurrency": concurrency, "--max-tokens": plan.max_tokens})
    at_least(0, {"--temperature": plan.temperature})
    at_least(LEAST_SEED, {"--seed": plan.seed})
    asked = provider_runs.Asked(provider, providers_file, apis, plan, gate, budget, concurrency)
    beside = int(against is not None and against not in runs)
    _require_enough(len(runs) + len(asked.providers) + beside, asked)
    folders, unavailable = provider_runs.carry_out(asked)
    names = [*runs, *map(str, folders)]
    if len(names) + beside > 1:
        comparing.compare(names, against, out, as_json=as_json)
    return unavailable


def _require_enough(columns: int, asked: Asked) -> None:
    if columns < 2:
        raise ConfigurationError(
            "Name at least two runs, or providers to run: compare RUN RUN, or "
            "compare --provider A --provider B."
        )
    if not asked.providers and asked.has_options():
        raise ConfigurationError(
            "Suite options ask a provider; add --provider, or leave them out to compare runs."
        )
