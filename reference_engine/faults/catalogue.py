"""The catalogue of all faults, its listings, and the choice of faults for a server."""

import csv
import difflib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import reference_engine.faults.layers  # noqa: F401 - declares the changes
from reference_engine.errors import SetupError
from reference_engine.faults.fault import ALLOWED, CHANGES, Fault, changes_of
from reference_engine.faults.hooks import FORWARD, MODEL
from reference_engine.generation.forward import Forward, MakeForward
from reference_engine.generation.sampling import uniform
from reference_engine.kernels.experts import expand_experts
from reference_engine.kv_cache.cache import KVCache
from reference_engine.model.transformer import Transformer

_TABLE = Path(__file__).with_name("catalogue.csv")


def _read(table: Path) -> Iterator[Fault]:
    with table.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            yield Fault(
                row["name"],
                row["layer"],
                row["description"],
                row["source"],
                tuple(row["detectors"].split()),
                visible=row["visible"] != "no",
                rate=float(row["rate"] or 1),
                use=tuple((row["use"] or "selftest").split()),
                changes=CHANGES[row["name"].removeprefix(ALLOWED)],
            )


CATALOGUE: Mapping[str, Fault] = {fault.name: fault for fault in _read(_TABLE)}


def listing() -> str:
    """Return the catalogue as text, by layer, with the allowed variations last."""
    groups: dict[str, list[Fault]] = defaultdict(list)
    for fault in CATALOGUE.values():
        groups["allowed variations" if fault.allowed else fault.layer].append(fault)
    return "\n\n".join(
        "\n".join([f"{group.upper()} ({len(faults)})", *map(_entry, faults)])
        for group, faults in groups.items()
    )


def listing_json() -> str:
    """Return the catalogue as a JSON list. `model` marks faults that all requests share."""
    return json.dumps(
        [
            {
                "name": fault.name,
                "layer": fault.layer,
                "description": fault.description,
                "source": fault.source,
                "detectors": fault.detectors,
                "visible": fault.visible,
                "allowed": fault.allowed,
                "model": fault.of_engine,
                "rate": fault.rate,
                "tested": "selftest" in fault.use,
            }
            for fault in CATALOGUE.values()
        ],
        indent=1,
    )


def _entry(fault: Fault) -> str:
    detectors = ", ".join(fault.detectors) if fault.visible else "not visible to a client"
    found = "" if fault.allowed else f"\n      detected by: {detectors}"
    return f"  {fault.name}\n      {fault.description}\n      source: {fault.source}{found}"


class FaultError(SetupError):
    """A fault option is invalid; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class FaultPlan:
    """The faults of a server, each with the share of requests that it affects."""

    rates: Mapping[str, float]
    faults: tuple[Fault, ...]

    def of(self, number: int) -> tuple[Fault, ...]:
        """Return the faults of request `number`, the same in every run."""
        return tuple(
            fault
            for fault in self.faults
            if uniform(zlib.crc32(fault.name.encode()), number) < self.rates[fault.name]
        )

    @torch.no_grad()
    def damage(self, model: Transformer) -> Transformer:
        """Apply the faults of the model, after expanding packed experts."""
        changes = changes_of(self.faults, MODEL)
        if changes:
            expand_experts(model)
        for change in changes:
            change(model)
        return model

    def forward(self, make: MakeForward) -> MakeForward:
        """Apply the faults of the forward pass."""

        def made(model: Transformer, cache: KVCache) -> Forward:
            run = make(model, cache)
            for change in changes_of(self.faults, FORWARD):
                run = change(model, run)
            return run

        return made


_OPTION = re.compile(r"(?P<names>.*?)(?::(?P<rate>[-+.\d]\S*))?")


def read_plan(options: Sequence[str]) -> FaultPlan:
    """Parse `NAME[,NAME][:rate]` options. Raises FaultError."""
    rates: dict[str, float] = {}
    for option in options:
        match = _OPTION.fullmatch(option.strip())
        names, rate = (match["names"], match["rate"]) if match else (option, None)
        for name in (part.strip() for part in names.split(",")):
            rates[name] = _rate(_known(name), rate)
    return FaultPlan(rates, tuple(CATALOGUE[name] for name in rates))


def _known(name: str) -> Fault:
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else "run 'python -m reference_engine faults'."
    raise FaultError(f"There is no fault '{name}'; {hint}")


def _rate(fault: Fault, text: str | None) -> float:
    if text is None:
        return fault.rate
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise FaultError(f"The rate of '{fault.name}' must be above 0 and at most 1, not '{text}'.")
    if rate < 1 and fault.of_engine:
        raise FaultError(
            f"The fault '{fault.name}' cannot have a rate: it changes the engine, which all "
            "requests share."
        )
    return rate
