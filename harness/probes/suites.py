"""What a run is made of: the tool-call cases, and the probes of a suite, less what is left out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.probes import PROBES
from harness.probes.base import Level, Probe
from harness.records.runs import SuiteName

CASES = "smoke"
"""The name by which the tool-call cases are chosen or left out."""

_LEVELS: dict[SuiteName, tuple[Level, ...]] = {
    "smoke": (),
    "quick": ("quick",),
    "full": ("quick", "full"),
}


@dataclass(frozen=True)
class Chosen:
    """What a run asks: the cases or not, and which probes."""

    cases: bool
    probes: tuple[Probe, ...]


def choose(suite: SuiteName, only: Collection[str] = (), skip: Collection[str] = ()) -> Chosen:
    """What to ask.

    Args:
        suite: smoke has the cases alone; quick and full have them and ever more probes.
        only: Ids or families of probes, or `smoke` for the cases; nothing else is asked, and
            the suite does not matter.
        skip: The same, left out.

    Raises:
        ConfigurationError: A name in `only` or `skip` is unknown.
    """
    _known((*only, *skip))
    if only:
        wanted = [probe for probe in PROBES.values() if _named(probe, only)]
    else:
        wanted = [probe for probe in PROBES.values() if probe.level in _LEVELS[suite]]
    return Chosen(
        cases=(not only or CASES in only) and CASES not in skip,
        probes=tuple(probe for probe in wanted if not _named(probe, skip)),
    )


def _named(probe: Probe, names: Collection[str]) -> bool:
    return probe.id in names or probe.about.family in names


def _known(names: Iterable[str]) -> None:
    families = sorted({probe.about.family for probe in PROBES.values()})
    known: Sequence[str] = (CASES, *families, *PROBES)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"families are {', '.join(families)}"
            raise ConfigurationError(f"There is no probe or family {name!r}; {hint}")
