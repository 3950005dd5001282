"""The engine's catalogue of faults, as the engine prints it."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from collections.abc import Collection, Sequence

from pydantic import TypeAdapter

from harness.errors import ConfigurationError
from harness.records.base import Record

HEALTHY = "healthy"
"""The name by which the engine without any fault is chosen."""


class Fault(Record):
    """One way to be wrong, or an allowed way to be right.

    `detectors` are ids of checks and probes, beginnings of ids, or families: one of them at least
    must find it if it is `visible`. A fault of the `model` needs a server of its own. It affects
    the share `rate` of requests.
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


def catalogue() -> tuple[Fault, ...]:
    """Every fault of the engine, the healthy engine first. Raises ConfigurationError."""
    command = [sys.executable, "-m", "reference_engine", "faults", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigurationError(f"The engine does not list its faults: {done.stderr.strip()}")
    return (_NO_FAULT, *_LIST.validate_python(json.loads(done.stdout), strict=False))


def chosen(faults: Sequence[Fault], names: Collection[str]) -> tuple[Fault, ...]:
    """The faults of these names or layers, and always the healthy engine; all without names.

    Raises:
        ConfigurationError: A name is unknown.
    """
    known = {fault.name for fault in faults} | {fault.layer for fault in faults}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "`serve --help` says how to list them."
            raise ConfigurationError(f"There is no fault or layer {name!r}; {hint}")
    return tuple(
        fault
        for fault in faults
        if not names or fault.name == HEALTHY or {fault.name, fault.layer} & set(names)
    )
