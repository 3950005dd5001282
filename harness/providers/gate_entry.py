"""The settings of a gate, in `providers.yaml` or a separate file, and the merging of layers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from harness.errors import ConfigurationError, read_text
from harness.providers.yaml_files import Entry, parse_yaml, problems
from harness.records.runs import GateRule, Limits, SuiteName, Thresholds

GateValues = TypeVar("GateValues", Thresholds, Limits)

MARGIN = "margins."
FLAG = None  # the source of the settings from the command line

_LONGEST = 1e9
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def seconds(value: object) -> float:
    """Return `1h30m`, `20m`, `45s` or a number of seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LONGEST:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not 0 < (total := hours * 3600 + minutes * 60 + rest) < _LONGEST:
        raise ValueError(f"must be a time such as 20m, 1h30m or a number of seconds, not {value!r}")
    return float(total)


class BudgetEntry(Entry):
    """Limits of one command: dollars, requests, and the time after which no request starts."""

    max_cost: float | None = Field(default=None, gt=0, description="US dollars")
    max_requests: int | None = Field(default=None, ge=1)
    deadline: (
        Annotated[float, BeforeValidator(seconds, json_schema_input_type=float | str)] | None
    ) = Field(default=None, description="20m, 1h30m, or seconds")


class GateEntry(Entry):
    """The requirements of a gate; missing settings keep their defaults.

    `reference` is a success rate, or the folder of a run that sets it.
    `may_warn` and `must_pass` name rules by id, by a prefix of an id, or by family. `suite` and
    `evals` must be part of the run; `margins` maps evals to points.
    """

    max_invalid: int | None = Field(default=None, ge=0)
    max_server_errors: float | None = Field(default=None, ge=0, lt=1)
    rule: GateRule | None = None
    reference: Annotated[float, Field(gt=0, lt=1)] | str | None = None
    lower_rate: float | None = Field(default=None, ge=0.001, lt=1)
    min_pass_at_k: float | None = Field(default=None, ge=0, le=1)
    min_pass_hat_k: float | None = Field(default=None, ge=0, le=1)
    may_warn: tuple[str, ...] | None = None
    must_pass: tuple[str, ...] | None = None
    suite: SuiteName | None = None
    evals: tuple[str, ...] | None = None
    margins: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(default_factory=dict)
    budget: BudgetEntry = BudgetEntry()

    @property
    def settings(self) -> Mapping[str, Any]:
        """All settings by name, None where not given; a margin is `margins.<eval>`."""
        own = {name: value for name, value in self if name not in ("margins", "budget")}
        margins = {f"{MARGIN}{name}": margin for name, margin in self.margins.items()}
        return {**own, **dict(self.budget), **margins}


@dataclass(frozen=True)
class GateLayer:
    """The settings of one source, which is a file or `FLAG`; None where not given."""

    settings: Mapping[str, Any]
    source: str | None


@dataclass(frozen=True)
class Gate:
    """All layers combined: the value and the origin of each setting."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def applied_to(self, base: GateValues) -> GateValues:
        """Thresholds or limits, overridden by the gate or its budget."""
        fields = type(base).model_fields.keys()
        values = {name: value for name, value in self.values.items() if name in fields}
        origins = base.origins | {name: self.origins[name] for name in values}
        return base.model_copy(update=values | {"origins": origins})

    @property
    def evals(self) -> tuple[str, ...]:
        """The evals that a run must include."""
        return tuple(self.values.get("evals", ()))

    @property
    def margins(self) -> dict[str, float]:
        """The margin of each eval in points."""
        return {
            name.removeprefix(MARGIN): value
            for name, value in self.values.items()
            if name.startswith(MARGIN)
        }


def joined(layers: Iterable[GateLayer]) -> Gate:
    """Return all layers combined; a later layer overrides an earlier one."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.settings.items():
            if value is not None:
                values[name] = value
                origins[name] = layer.source or f"--{name.replace('_', '-')}"
    return Gate(values, origins)


def gate_entry(content: object, source: str, place: Sequence[str] = ()) -> GateEntry:
    """Return an entry from the content of a file. Raises ConfigurationError."""
    if not isinstance(content, dict):
        what = f"{'.'.join(place)} " if place else ""
        raise ConfigurationError(f"{source}: {what}must be a mapping such as max_invalid: 0")
    try:
        return GateEntry.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {problems(error, GateEntry, place)}") from None


def load_gate_file(path: Path) -> GateLayer:
    """Return the gate of a file, at its top level or below `gate`. Raises ConfigurationError."""
    content = parse_yaml(read_text(path), str(path))
    if isinstance(content, dict) and content.keys() == {"gate"}:
        return GateLayer(gate_entry(content["gate"], str(path), ("gate",)).settings, str(path))
    return GateLayer(gate_entry(content, str(path)).settings, str(path))
