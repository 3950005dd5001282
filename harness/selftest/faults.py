"""The catalogue of faults, read from the engine's command line."""

import functools
import json
import subprocess
import sys
from collections.abc import Collection, Sequence

from pydantic import TypeAdapter

from harness.errors import ConfigurationError
from harness.records.record import Record
from harness.text import suggestion

HEALTHY = "healthy"  # the name of the engine without faults
VARIATIONS = "allowed variations"  # selects all of them, as a layer selects its faults
LAWS = "laws"  # the layer of the healthy engine in every shape of a run
STYLES = "styles"  # the layer of the healthy engine whose model has other habits
ONLY_NAMED = frozenset({LAWS, STYLES})
"""Layers that are tested only if they are named."""
_MODELS = "models"  # the layer of worse models behind the healthy server


class Fault(Record):
    """A known defect, or an allowed variation.

    `detectors` are ids of checks and probes, prefixes of ids, or families; at least one of them
    must find a `visible` fault. A fault of the `model` needs its own server. `rate` is the share of
    affected requests. `source` is the public report; a fault without one is "constructed". A fault
    that is not `tested` is one of other tests, and tested here only if it is named.
    """

    name: str
    layer: str
    description: str
    source: str
    detectors: tuple[str, ...]
    visible: bool
    allowed: bool
    model: bool
    rate: float = 1.0
    tested: bool = True

    @property
    def names(self) -> frozenset[str]:
        """The names that select the fault: its own, its layer, and whether it is allowed."""
        variation = self.allowed and self.layer not in ONLY_NAMED
        groups = [self.layer, *([VARIATIONS] if variation else [])]
        return frozenset({self.name, *(groups if self.tested else [])})

    @property
    def worse_model(self) -> bool:
        """Whether only the model differs, so that no part of the server may be named as a cause."""
        return self.layer == _MODELS


_NO_FAULT = Fault(
    name=HEALTHY,
    layer="none",
    description="The engine as it is.",
    source="",
    detectors=(),
    visible=False,
    allowed=True,
    model=False,
)
_LIST = TypeAdapter(tuple[Fault, ...])


@functools.cache
def catalogue() -> tuple[Fault, ...]:
    """Return every fault of the engine, the healthy engine first. Raises ConfigurationError."""
    command = [sys.executable, "-m", "reference_engine", "faults", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigurationError(
            f"`python -m reference_engine faults` failed: {done.stderr.strip()}"
        )
    return (_NO_FAULT, *_LIST.validate_python(json.loads(done.stdout), strict=False))


def chosen(faults: Sequence[Fault], names: Collection[str]) -> tuple[Fault, ...]:
    """Return the healthy engine, and faults by name or layer, or all that need not be named.

    Raises ConfigurationError.
    """
    known = frozenset[str]().union(*(fault.names for fault in faults))
    for name in names:
        if name not in known:
            listed = "`python -m reference_engine faults` lists them"
            hint = suggestion(name, sorted(known), listed)
            raise ConfigurationError(f"There is no fault or layer {name!r}; {hint}")
    return tuple(
        fault
        for fault in faults
        if fault.name == HEALTHY
        or (fault.names & set(names) if names else fault.tested and fault.layer not in ONLY_NAMED)
    )
