"""Which tool-call cases and probes a run includes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.probes import PROBES
from harness.probes.base import Probe
from harness.records.runs import SuiteName
from harness.text import suggestion

CASES = "smoke"
"""The name that selects or skips the tool-call cases."""

_INCLUDED: dict[SuiteName, tuple[SuiteName, ...]] = {
    "smoke": (),
    "quick": ("quick",),
    "full": ("quick", "full"),
}


@dataclass(frozen=True)
class Chosen:
    """Whether a run includes the cases, and its probes."""

    cases: bool
    probes: tuple[Probe, ...]


def choose(suite: SuiteName, only: Collection[str] = (), skip: Collection[str] = ()) -> Chosen:
    """Choose cases and probes.

    Args:
        suite: smoke includes only the cases; quick and full add progressively more probes.
        only: Ids or families of probes, or `smoke` for the cases. Selects nothing else and
            overrides the suite.
        skip: The same, for what to leave out.

    Raises:
        ConfigurationError: A name in `only` or `skip` is unknown.
    """
    _require_known((*only, *skip))
    if only:
        selected = [probe for probe in PROBES.values() if _is_named(probe, only)]
    else:
        selected = [probe for probe in PROBES.values() if probe.suite in _INCLUDED[suite]]
    return Chosen(
        cases=(not only or CASES in only) and CASES not in skip,
        probes=tuple(probe for probe in selected if not _is_named(probe, skip)),
    )


def _is_named(probe: Probe, names: Collection[str]) -> bool:
    return probe.id in names or probe.about.family in names


def _require_known(names: Iterable[str]) -> None:
    families = sorted({probe.about.family for probe in PROBES.values()})
    known = [CASES, *families, *PROBES]
    for name in names:
        if name not in known:
            hint = suggestion(name, known)
            if not hint.startswith("did"):
                hint = f"families are {', '.join(families)}"
            raise ConfigurationError(f"There is no probe or family {name!r}; {hint}")
