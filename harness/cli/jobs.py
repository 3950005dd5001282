"""From options to a job: a new run, or one to go on with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from harness.cli import gating
from harness.cli.choice import chosen_provider, same_provider
from harness.cli.options import (
    BudgetOptions,
    GateOptions,
    PlanOptions,
    ProviderOptions,
    names,
    parse_apis,
)
from harness.errors import ConfigurationError
from harness.golden import files as golden_files
from harness.probes.suites import choose
from harness.records.runs import RunSettings
from harness.storage import run_folder
from harness.storage.run_log import read_run_info
from harness.tasks.cases import load_suite
from harness.verification import smoke

DEFAULT_TRIES = 5
DEFAULT_MAX_TURNS = 10
DEFAULT_OUT = Path("runs")
_RUNS_OWN = GateOptions()
_UNLIMITED = BudgetOptions()


def new(
    chosen: ProviderOptions,
    plan: PlanOptions,
    gate: GateOptions,
    concurrency: int | None,
    out: Path | None,
    budget: BudgetOptions = _UNLIMITED,
) -> smoke.Job:
    """Plan a new run. Raises ConfigurationError or RunLogError."""
    provider = chosen_provider(chosen, concurrency)
    asked = gating.asked_of(provider, chosen.providers_file, gate, budget)
    thresholds = gating.thresholds_of(asked)
    spending = gating.budget_of(asked, provider)
    suite = load_suite(plan.cases, plan.tools).first(plan.first)
    settings = RunSettings(
        apis=parse_apis(chosen.apis) or provider.apis,
        streaming=(True, False) if plan.streaming is None else (plan.streaming,),
        tries=plan.tries or DEFAULT_TRIES,
        first_cases=plan.first,
        max_turns=plan.max_turns or DEFAULT_MAX_TURNS,
        strict=plan.strict or False,
        concurrency=provider.concurrency,
        seed=plan.seed,
        reasoning_effort=plan.reasoning_effort,
        temperature=plan.temperature,
        max_tokens=plan.max_tokens,
        thresholds=thresholds,
        budget=spending.noted,
        suite=plan.suite or thresholds.suite or "smoke",
        only=names(plan.only),
        skip=names(plan.skip),
    )
    choose(settings.suite, settings.only, settings.skip)
    command = ("gpt-oss-verify", *sys.argv[1:])
    return smoke.new_job(
        provider,
        suite,
        settings,
        out=out or DEFAULT_OUT,
        command=command,
        budget=spending,
        golden=None if plan.golden is None else golden_files.load(plan.golden),
    )


def resumed(
    folder: Path,
    chosen: ProviderOptions,
    plan: PlanOptions,
    concurrency: int | None,
    out: Path | None,
    gate: GateOptions = _RUNS_OWN,
    budget: BudgetOptions = _UNLIMITED,
) -> smoke.Job:
    """Go on with the run in `folder`. Raises ConfigurationError or RunLogError."""
    fixed = {**vars(plan), "out": out, "apis": chosen.apis}
    if given := [name for name, value in fixed.items() if value is not None]:
        raise ConfigurationError(
            f"--resume goes on with the settings of the run; leave out {_flag(given[0])}."
        )
    info = read_run_info(folder)
    suite = run_folder.read_suite(folder, info)
    provider = same_provider(info.provider, chosen, concurrency)
    spending = gating.budget_of(
        gating.asked_of(provider, chosen.providers_file, gate, budget), provider
    )
    settings = {
        "concurrency": provider.concurrency,
        "thresholds": gating.thresholds_again(gate, info.settings.thresholds),
        "budget": spending.noted,
    }
    changes = {
        "settings": info.settings.model_copy(update=settings),
        "resumed": (*info.resumed, datetime.now(UTC).isoformat(timespec="seconds")),
        "stopped": None,
    }
    return smoke.Job(provider, suite, info.model_copy(update=changes), folder, spending)


def _flag(name: str) -> str:
    return {"first": "-n"}.get(name, f"--{name.replace('_', '-')}")
