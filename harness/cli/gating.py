"""What a run is held to and may use: from command line, files and defaults to settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cli.eval_options import EvalGateOptions
from harness.cli.options import BudgetOptions, GateOptions
from harness.errors import ConfigurationError
from harness.providers import entries as providers
from harness.providers.entries import Provider
from harness.providers.gate_entry import (
    FLAG,
    Gate,
    Layer,
    joined,
    load_gate_file,
    provider_layers,
)
from harness.records.runs import Limits, Thresholds
from harness.sampling.budget import Budget
from harness.text.suggestion import suggestion


def asked_of(
    provider: Provider, providers_file: Path | None, gate: GateOptions, budget: BudgetOptions
) -> Gate:
    """What a new run of a provider is held to: flags over --gate FILE over providers.yaml.

    Raises:
        ConfigurationError: A file or an option cannot be used.
    """
    source, for_all = providers.load_gate(providers_file)
    layers = provider_layers(source, for_all, provider.name, provider.gate)
    return _checked(joined([*layers, *_own(gate, budget)]))


def thresholds_of(gate: Gate) -> Thresholds:
    """The defaults with what the gate says. Raises ConfigurationError for unknown checks."""
    thresholds = gate.thresholds(Thresholds())
    _check_names(thresholds)
    return thresholds


def thresholds_again(options: GateOptions, before: Thresholds) -> Thresholds:
    """What a run that is there is held to: its own gate, or another file's; flags win over both.

    Raises:
        ConfigurationError: A file or an option cannot be used.
    """
    base = before if options.gate is None else Thresholds()
    gate = _checked(joined(_own(options, BudgetOptions())))
    thresholds = gate.thresholds(base)
    _check_names(thresholds)
    return thresholds


def budget_of(gate: Gate, *asked: Provider) -> Budget:
    """A budget that begins now. Raises ConfigurationError if a provider's cost is not known."""
    budget = Budget(gate.limits(Limits()))
    for provider in asked:
        budget.check(provider)
    return budget


def eval_settings(gate: Gate) -> Mapping[str, Any]:
    """What the gate says of scores, as settings of an eval run."""
    wanted = {f"margins.{name}" for name in gate.margins} | {"evals"}
    return {
        "margins": gate.margins,
        "must_ask": gate.evals,
        "origins": {name: origin for name, origin in gate.origins.items() if name in wanted},
    }


def eval_gate(options: GateOptions, evals: EvalGateOptions) -> EvalGateOptions:
    """How an eval run that is there is judged again. Raises ConfigurationError."""
    if options.gate is None:
        return evals
    gate = _checked(joined([load_gate_file(options.gate)]))
    return replace(evals, held_to={"margin": None, **eval_settings(gate)})


def _own(gate: GateOptions, budget: BudgetOptions) -> Iterator[Layer]:
    if gate.gate is not None:
        yield load_gate_file(gate.gate)
    yield Layer(gate.entry(), FLAG)
    yield Layer(budget.entry(), FLAG)


def _checked(gate: Gate) -> Gate:
    """The same gate, if the evals it names are known. Raises ConfigurationError."""
    named = dict.fromkeys(gate.evals, gate.origins.get("evals", ""))
    named |= {name: gate.origins[f"margins.{name}"] for name in gate.margins}
    if named:
        from evals.registry import NAMES

        for name, where in named.items():
            if name not in NAMES:
                raise ConfigurationError(
                    f"{where}: there is no eval {name!r}; {suggestion(name, NAMES)}"
                )
    return gate


def _check_names(thresholds: Thresholds) -> None:
    """Evals have a gate too, and no use for the checks, which take 30 MB to load."""
    from harness.verdict.demands import check_names

    check_names(thresholds)
