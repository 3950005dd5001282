"""A gate in `providers.yaml` or in a separate file, as a layer of settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from harness.errors import ConfigurationError, read_text
from harness.providers.yaml_files import parse_yaml, problems
from harness.records.settings import Gate, Layer, Names, Spending


class GateEntry(Gate):
    """The requirements of a gate; missing settings keep their defaults.

    `suite` and `evals` must be part of the run; `margins` maps evals to points.
    """

    evals: Names = ()
    margins: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(default_factory=dict)
    budget: Spending = Spending()

    def layer(self, source: str) -> Layer:
        """Return what the entry states, as a layer of the settings of a run."""
        names = {"evals": "required_evals"}
        own = {names.get(name, name): value for name, value in self.stated.items()}
        own.pop("budget", None)
        return Layer(own | self.budget.stated, source)


def gate_entry(content: object, source: str, place: Sequence[str] = ()) -> GateEntry:
    """Return an entry from the content of a file. Raises ConfigurationError."""
    if not isinstance(content, dict):
        what = f"{'.'.join(place)} " if place else ""
        raise ConfigurationError(f"{source}: {what}must be a mapping such as max_invalid: 0")
    try:
        return GateEntry.model_validate(content, extra="forbid")
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {problems(error, GateEntry, place)}") from None


def load_gate_file(path: Path) -> Layer:
    """Return the gate of a file, at its top level or below `gate`. Raises ConfigurationError."""
    content = parse_yaml(read_text(path), str(path))
    if isinstance(content, dict) and content.keys() == {"gate"}:
        return gate_entry(content["gate"], str(path), ("gate",)).layer(str(path))
    return gate_entry(content, str(path)).layer(str(path))
