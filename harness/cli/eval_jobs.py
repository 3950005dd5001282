"""From options to an eval job: a new run, or one to go on with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evals.job import EvalJob, new_folder, new_info, resumed
from evals.judging import restored_plan
from evals.plan import Plan
from evals.records import EvalRunInfo, EvalSettings
from evals.run_folder import read_eval_info

from evals.baselines.choice import choose_baseline
from evals.datasets.load import Loaded
from evals.healthbench.bench import NAMES as HEALTHBENCH
from evals.healthbench.grader import DEFAULT_GRADER, find_grader
from evals.registry import NAMES, load_data, make_eval
from harness.cli import gating
from harness.cli.choice import chosen_provider, same_provider
from harness.cli.eval_options import (
    DEFAULT_EFFORTS,
    DEFAULT_EVALS,
    DEFAULT_MAX_TOKENS,
    EFFORTS,
    DataOptions,
    EvalOptions,
    VerdictOptions,
    parse_list,
)
from harness.cli.options import BudgetOptions, GateOptions, ProviderOptions, parse_apis
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.providers.gate_entry import FLAG, Layer, joined
from harness.records.conditions import Api
from harness.sampling.budget import Budget

DEFAULT_OUT = Path("runs")
_UNLIMITED = BudgetOptions()
LONG_REPLY = 1800.0
"""Seconds that a try may take unless the user says otherwise: 131,072 tokens are many."""


@dataclass(frozen=True)
class Draft:
    """A new run before anything of it is written."""

    provider: Provider
    grader: Provider | None
    info: EvalRunInfo
    plan: Plan
    data: tuple[Loaded[Any], ...]
    budget: Budget

    def job(self, out: Path | None, budget: Budget | None = None) -> EvalJob:
        """The run with its folder, within its own budget or another. Raises RunLogError."""
        folder = new_folder(out or DEFAULT_OUT, self.provider.name)
        return EvalJob(
            self.provider,
            self.grader,
            self.info,
            self.plan,
            folder,
            self.data,
            budget or self.budget,
        )


def draft(
    chosen: ProviderOptions,
    options: EvalOptions,
    data_options: DataOptions,
    verdict: VerdictOptions,
    *,
    concurrency: int | None,
    shard: tuple[int, int] | None,
    tries: Mapping[str, int] | None = None,
    load: Callable[[str], Loaded[Any]] | None = None,
    budget: BudgetOptions = _UNLIMITED,
) -> Draft:
    """Plan a new run.

    Args:
        chosen: Which provider.
        options: What to ask.
        data_options: Where the questions are.
        verdict: What to hold the scores to.
        concurrency: Tries in flight.
        shard: Which part of the run.
        tries: Tries by eval, where they are not the same for all nor the defaults.
        load: Another way to load an eval's data than `data_options` says.
        budget: What the run may use.

    Raises:
        ConfigurationError: The options make no sense, or there are no such data.
    """
    verdict.check()
    choose_baseline(verdict.baseline)
    provider, models = _provider(chosen, concurrency)
    gate_file = GateOptions(gate=verdict.gate)
    asked = gating.asked_of(provider, chosen.providers_file, gate_file, budget)
    default = ",".join(asked.evals) or DEFAULT_EVALS
    names = parse_list("--eval", options.evals or default, NAMES)
    grader = _grader(names, verdict.grader, provider, chosen, samples=bool(data_options.samples))
    if shard is not None and verdict.until_decided:
        raise ConfigurationError("--until-decided looks at all tries; leave out --shard.")
    spending = gating.budget_of(asked, provider, *filter(None, [grader]))
    place = data_options.place(names)
    data = tuple(map(load or partial(load_data, place=place), names))
    settings = _settings(
        options,
        verdict,
        evals=names,
        models=models,
        api=_api(chosen, provider),
        tries=tries or {loaded.info.eval: _tries(loaded, options) for loaded in data},
        concurrency=provider.concurrency,
        grader=grader.info() if grader else None,
        budget=spending.noted,
        **gating.eval_settings(asked),
    )
    info, plan = new_info(provider, settings, data, shard=shard, command=typed_command())
    return Draft(provider, grader, info, plan, data, spending)


def _settings(options: EvalOptions, verdict: VerdictOptions, **others: object) -> EvalSettings:
    """The settings of a run: what the options say or leave to defaults, and all else by name."""
    efforts = options.reasoning_effort or DEFAULT_EFFORTS
    fields = {
        "efforts": parse_list("--reasoning-effort", efforts, EFFORTS),
        "streaming": options.streaming or False,
        "examples": options.examples,
        "seed": options.seed or 0,
        "send_seed": options.seed is not None,
        "temperature": 1.0 if options.temperature is None else options.temperature,
        "top_p": 1.0 if options.top_p is None else options.top_p,
        "max_tokens": options.max_tokens or DEFAULT_MAX_TOKENS,
        "baseline": verdict.baseline,
        "margin": verdict.margin,
        "until_decided": verdict.until_decided or False,
        "budget_samples": verdict.budget_samples,
        "budget_tokens": verdict.budget_tokens,
    }
    return EvalSettings.model_validate(fields | others)


def _tries(data: Loaded[Any], options: EvalOptions) -> int:
    return options.tries or make_eval(data).tries


def go_on(
    folder: Path,
    chosen: ProviderOptions,
    concurrency: int | None,
    budget: BudgetOptions = _UNLIMITED,
) -> EvalJob:
    """Go on with the run in `folder`. Raises ConfigurationError or RunLogError."""
    info = read_eval_info(folder)
    provider = _patient(same_provider(info.provider, chosen, concurrency), chosen)
    grader = _grader_again(info, provider, chosen)
    asked = gating.asked_of(provider, chosen.providers_file, GateOptions(), budget)
    spending = gating.budget_of(asked, provider, *filter(None, [grader]))
    return resumed(folder, provider, grader, spending)


def _grader_again(
    info: EvalRunInfo, provider: Provider, chosen: ProviderOptions
) -> Provider | None:
    before = info.settings.grader
    if before is None:
        return None
    if (before.name, before.base_url) == (info.provider.name, info.provider.base_url):
        # It grades itself, with whatever key it was given now.
        return providers.changed(provider, model=before.model)
    return same_grader(info, ProviderOptions(providers_file=chosen.providers_file))


def graded(
    folder: Path, info: EvalRunInfo, grader: Provider, budget: BudgetOptions = _UNLIMITED
) -> EvalJob:
    """The run in `folder` with another grader; its own provider is not asked."""
    spending = gating.budget_of(joined([Layer(budget.entry(), FLAG)]), grader)
    settings = info.settings.model_copy(update={"grader": grader.info()})
    changed = info.model_copy(update={"settings": settings})
    return EvalJob(grader, grader, changed, restored_plan(folder, info), folder, None, spending)


def same_grader(info: EvalRunInfo, chosen: ProviderOptions) -> Provider:
    """The grader of an earlier run. Raises ConfigurationError."""
    before = info.settings.grader
    if before is None:
        raise ConfigurationError("The run has no grader; name one with --grader.")
    if before.name == DEFAULT_GRADER:
        return find_grader(before.name, chosen.providers_file)
    return same_provider(before, chosen, None)


def typed_command() -> tuple[str, ...]:
    """The command line as it was typed."""
    if Path(sys.argv[0]).name == "__main__.py":
        return ("python", "-m", "evals", *sys.argv[1:])
    return ("gpt-oss-verify", *sys.argv[1:])


def _provider(chosen: ProviderOptions, concurrency: int | None) -> tuple[Provider, tuple[str, ...]]:
    """The provider with the first model, and all models."""
    provider = chosen_provider(chosen, concurrency)
    models = parse_list("--model", chosen.model or provider.model)
    return _patient(providers.changed(provider, model=models[0]), chosen), models


def _patient(provider: Provider, chosen: ProviderOptions) -> Provider:
    if chosen.timeout is not None:
        return provider
    return providers.changed(provider, timeout=max(provider.timeout, LONG_REPLY))


def _api(chosen: ProviderOptions, provider: Provider) -> Api:
    apis = parse_apis(chosen.apis) or provider.apis[:1]
    if len(apis) > 1:
        raise ConfigurationError("An eval samples over one API: --api responses or --api chat.")
    return apis[0]


def _grader(
    names: tuple[str, ...],
    name: str | None,
    provider: Provider,
    chosen: ProviderOptions,
    *,
    samples: bool,
) -> Provider | None:
    """Who grades; looked up with its key before anything is paid for."""
    if not set(names) & set(HEALTHBENCH):
        return None
    if name is None and samples:
        return provider
    grader = find_grader(name or DEFAULT_GRADER, chosen.providers_file)
    try:
        providers.access(grader)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"HealthBench is graded by {grader.name}, and {error}; or name another entry with "
            "--grader."
        ) from None
    return grader
