"""Which faults a server has, and which of its requests show them."""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from reference_engine.faults.base import Fault
from reference_engine.faults.seams import MODEL
from reference_engine.generation.sampling import uniform
from reference_engine.model.packed import expand_experts
from reference_engine.model.transformer import Transformer

_WITH_RATE = re.compile(r"(?P<names>.*?)(?::(?P<rate>[-+.\d]\S*))?")


class FaultError(ValueError):
    """A fault that cannot be injected; the message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """Faults, each with the share of requests that show it."""

    rates: Mapping[str, float]
    faults: tuple[Fault, ...]

    def of(self, number: int) -> tuple[Fault, ...]:
        """The faults that the `number`-th request shows: the same ones in every run."""
        return tuple(
            fault
            for fault in self.faults
            if uniform(zlib.crc32(fault.name.encode()), number) < self.rates[fault.name]
        )

    @torch.no_grad()
    def damage(self, model: Transformer) -> Transformer:
        """The model with the faults that are in its numbers; packed experts are expanded first."""
        changes = [change for fault in self.faults if (change := fault.at(MODEL)) is not None]
        if changes:
            expand_experts(model)
        for change in changes:
            change(model)
        return model


def read_plan(options: Sequence[str], catalogue: Mapping[str, Fault]) -> Plan:
    """The plan that `NAME[,NAME][:rate]` options ask for.

    Raises:
        FaultError: A name is unknown, or a rate is none.
    """
    rates: dict[str, float] = {}
    for option in options:
        match = _WITH_RATE.fullmatch(option.strip())
        names, rate = (match["names"], match["rate"]) if match else (option, None)
        for name in (part.strip() for part in names.split(",")):
            rates[name] = _rate(_known(name, catalogue), rate)
    return Plan(rates, tuple(catalogue[name] for name in rates))


def _known(name: str, catalogue: Mapping[str, Fault]) -> Fault:
    if name in catalogue:
        return catalogue[name]
    near = difflib.get_close_matches(name, catalogue, n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else "'python -m reference_engine faults' lists"
    advice += "" if near else " them all."
    raise FaultError(f"There is no fault '{name}'; {advice}")


def _rate(fault: Fault, text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise FaultError(f"The rate of '{fault.name}' must be above 0 and at most 1, not '{text}'.")
    if rate < 1 and fault.at(MODEL) is not None:
        message = "changes the model itself, which all requests share: it takes no rate."
        raise FaultError(f"The fault '{fault.name}' {message}")
    return rate
