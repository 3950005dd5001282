"""The provider, the grader, the gate and the budget that the options select."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.grading.requests import DEFAULT_GRADER
from evals.own import own_name
from evals.registry import NAMES
from gpt_oss_verify.options import BudgetOptions, GateOptions, ProviderOptions, parse_apis
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.providers.gate_entry import load_gate_file
from harness.records.conditions import BOTH_APIS
from harness.records.runs import ProviderInfo, RunInfo, ScoreGate
from harness.records.settings import Layer, Limits, Thresholds, layered
from harness.run.budget import Budget
from harness.run.preflight import MODELS_SHOWN, listed_models
from harness.text import first_few, suggestion
from harness.verdict import requirements
from harness.verdict.reference_rate import default_thresholds, target_of, with_reference

_MOST_SECONDS = 60.0  # for the list of models


def chosen_provider(options: ProviderOptions, concurrency: int | None) -> Provider:
    """Return the entry that the options name, with their overrides. Raises ConfigurationError."""
    apis = parse_apis(options.apis) or BOTH_APIS
    if options.provider is not None:
        entry = providers.find_provider(options.provider, options.providers_file)
    elif options.base_url is not None and options.model is not None:
        entry = providers.adhoc_provider(options.base_url, options.model, apis)
    elif options.base_url is not None:
        entry = providers.adhoc_provider(options.base_url, "any", apis, options.api_key_env)
        models = asyncio.run(listed_models(providers.changed(entry, timeout=_MOST_SECONDS))).ids
        shown = (
            f"serves {first_few(models, MODELS_SHOWN)}" if models else "does not list its models"
        )
        raise ConfigurationError(f"Give --model; {options.base_url} {shown}.")
    else:
        raise ConfigurationError(
            "Select a provider with --provider (`gpt-oss-verify providers` lists them), "
            "or pass --base-url and --model."
        )
    own: dict[str, object] = {"base_url": options.base_url, "model": options.model}
    own |= {"api_key_env": options.api_key_env, "timeout": options.timeout}
    return _overridden(entry, **own, concurrency=concurrency)


def same_provider(
    info: ProviderInfo, options: ProviderOptions, concurrency: int | None
) -> Provider:
    """Return the provider of an earlier run, from its current entry or from the record of the run.

    Raises ConfigurationError if the options select a different one, or the record is incomplete.
    """
    overrides = {"timeout": options.timeout, "concurrency": concurrency}
    if (options.provider, options.base_url, options.model) == (None, None, None):
        entry = providers.load_providers(options.providers_file).get(info.name)
        if entry is not None and entry.base_url == info.base_url:
            return _overridden(entry, model=info.model, **overrides)
        if "{port}" in info.base_url:
            raise ConfigurationError(
                f"The run launched {info.name}, but its entry is missing or has changed: "
                "pass the file that has the entry with --providers."
            )
        provider = providers.adhoc_provider(
            info.base_url, info.model, BOTH_APIS, options.api_key_env
        )
        return _overridden(provider, name=info.name, extra_body=info.extra_body, **overrides)
    provider = chosen_provider(options, concurrency)
    if (provider.base_url, provider.model) != (info.base_url, info.model):
        raise ConfigurationError(
            f"The run used {info.model} at {info.base_url}, not {provider.model} at "
            f"{provider.base_url}; start a new run instead."
        )
    return provider


def chosen_grader(name: str | None, providers_file: Path | None, *, send: bool = True) -> Provider:
    """Return the grader of HealthBench, after checking its key, before anything is paid for.

    Without `send`, nothing will be sent, and the key is not needed. Raises ConfigurationError.
    """
    grader = providers.find_provider(name or DEFAULT_GRADER, providers_file)
    if not send:
        return grader
    try:
        providers.access(grader)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"HealthBench is graded by {grader.name}, and {error}; or name a different entry with "
            "--grader."
        ) from None
    return grader


def same_grader(info: RunInfo, providers_file: Path | None) -> Provider:
    """Return the grader of an earlier run. Raises ConfigurationError."""
    before = info.settings.grader
    if before is None:
        raise ConfigurationError("The run has no grader; name one with --grader.")
    if before.name == DEFAULT_GRADER:
        return providers.find_provider(before.name, providers_file)
    return same_provider(before, ProviderOptions(providers_file=providers_file), None)


def grader_of_run(
    info: RunInfo, provider: Provider, providers_file: Path | None
) -> Provider | None:
    """Return the grader of an earlier run, if it has one; `provider` may grade its own answers."""
    before = info.settings.grader
    if before is None:
        return None
    if (before.name, before.base_url) == (info.provider.name, info.provider.base_url):
        return provider.model_copy(update={"model": before.model})
    return same_grader(info, providers_file)


def _overridden(provider: Provider, **overrides: object) -> Provider:
    """Return `provider` with the overrides that are not None; a new address is not launched."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if "base_url" in given:
        given["launch"] = None
    return providers.changed(provider, **given) if given else provider


def gate_for(
    provider: Provider, providers_file: Path | None, gate: GateOptions, budget: BudgetOptions
) -> list[Layer]:
    """Return the gate of a new run: providers.yaml, --gate FILE and the options, in this order."""
    return [*providers.gate_layers(provider, providers_file), *_own_layers(gate, budget)]


def thresholds_of(layers: Sequence[Layer], base: Thresholds) -> Thresholds:
    """Return `base` with the thresholds that a gate sets. Raises ConfigurationError."""
    thresholds = layered(base, layers)
    if thresholds.reference != base.reference and thresholds.reference is not None:
        origin = thresholds.origins["reference"]
        thresholds = with_reference(thresholds, thresholds.reference, origin)
    requirements.check_names(thresholds)
    target_of(thresholds)
    return thresholds


def budget_of(layers: Iterable[Layer], *paid: Provider) -> Budget:
    """Return the budget of a gate. Raises ConfigurationError if a provider lacks prices for it."""
    budget = Budget(layered(Limits(), layers))
    for provider in paid:
        budget.check(provider)
    return budget


def score_gate(layers: Iterable[Layer]) -> ScoreGate:
    """Return what the gate requires of scores. Raises ConfigurationError for unknown evals."""
    gate = layered(ScoreGate(), layers)
    named = dict.fromkeys(gate.required_evals, gate.origins.get("required_evals", ""))
    named |= {name: gate.origins[f"margins.{name}"] for name in gate.margins}
    for name, where in named.items():
        if name not in NAMES and own_name(name) is None:
            raise ConfigurationError(
                f"{where}: there is no eval {name!r}; {suggestion(name, NAMES)} Your own questions "
                "are named by their file, such as questions.jsonl."
            )
    return gate


def recorded(gate: ScoreGate) -> dict[str, Any]:
    """Return the requirements of scores as settings of a run, with the names of its tasks."""
    sources = {f"margins.{name}": f"margins.{own_name(name) or name}" for name in gate.margins}
    return {
        "margins": {own_name(name) or name: margin for name, margin in gate.margins.items()},
        "required_evals": tuple(own_name(name) or name for name in gate.required_evals),
        "origins": {sources.get(name, name): where for name, where in gate.origins.items()},
    }


def _own_layers(gate: GateOptions, budget: BudgetOptions) -> Iterator[Layer]:
    if gate.gate is not None:
        yield load_gate_file(gate.gate)
    yield Layer(gate.stated)
    yield Layer(budget.stated)


def thresholds_of_run(options: GateOptions, info: RunInfo) -> Thresholds:
    """Return thresholds for a finished run: its own or those of --gate FILE, with the options."""
    base = info.settings.thresholds
    if options.gate is not None:
        base = default_thresholds(info.provider.model, strict=info.settings.strict)
    layers = list(_own_layers(options, BudgetOptions()))
    score_gate(layers)
    return thresholds_of(layers, base)


def gate_changes(options: GateOptions) -> dict[str, object]:
    """Return the settings of evals that --gate FILE changes. Raises ConfigurationError."""
    if options.gate is None:
        return {}
    return {"margin": None, **recorded(score_gate([load_gate_file(options.gate)]))}


def budget_for(options: BudgetOptions, provider: Provider) -> Budget:
    """Return a budget from options alone. Raises ConfigurationError."""
    return budget_of([Layer(options.stated)], provider)
