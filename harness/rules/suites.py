"""Which tool-call cases and probes a run includes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from harness.errors import ConfigurationError
from harness.records.settings import SuiteName
from harness.rules.catalogue import CHECKS, PROBES
from harness.rules.probe import Probe
from harness.rules.rule import Rule
from harness.text import suggestion

CASES = "cases"  # the name that selects or skips the tool-call cases

_INCLUDED: dict[SuiteName, tuple[SuiteName, ...]] = {
    "tools": (),
    "standard": ("standard",),
    "full": ("standard", "full"),
    "long": ("long",),
}


@dataclass(frozen=True)
class ChosenSuite:
    """Whether a run includes the cases, and its probes."""

    cases: bool
    probes: tuple[Probe, ...]


def choose(suite: SuiteName, only: Collection[str] = (), skip: Collection[str] = ()) -> ChosenSuite:
    """Choose cases and probes.

    tools includes only the cases, standard and full add progressively more probes, and long
    includes only the probes with long prompts. `only` and `skip` name probes: by id, by the
    beginning of one up to a dot, or by family. In `only`, which overrides the suite, `cases` and
    the names of checks select the cases, whose replies the checks judge; in `skip`, `cases` leaves
    them out, and a feature, such as `logprobs`, the probes that need it.

    Raises ConfigurationError if a name is unknown, or one in `skip` names checks.
    """
    for name in only:
        if name != CASES and not _named(name, PROBES) and not _named(name, CHECKS):
            raise ConfigurationError(_unknown(name, "probe, check", [*PROBES, *CHECKS]))
    skipped = {
        name: {id_ for id_, p in PROBES.items() if p.about.is_named(name) or p.needs == name}
        for name in skip
    }
    for name in skip:
        if name != CASES and not skipped[name]:
            if _named(name, CHECKS):
                raise ConfigurationError(
                    f"{name} cannot be skipped: a check judges every reply, and costs nothing"
                )
            raise ConfigurationError(_unknown(name, "probe", PROBES))
    named = {id_ for name in only for id_ in _named(name, PROBES)}
    names_cases = any(name == CASES or not _named(name, PROBES) for name in only)
    cases = names_cases if only else suite != "long"
    return ChosenSuite(
        cases=cases and CASES not in skip,
        probes=tuple(
            probe
            for probe in PROBES.values()
            if (probe.id in named if only else probe.suite in _INCLUDED[suite])
            and not any(probe.id in ids for ids in skipped.values())
        ),
    )


def _named(name: str, rules: Mapping[str, Rule]) -> Collection[str]:
    """Return the ids of the rules with this name; an id may also be the beginning of others."""
    return [id_ for id_, rule in rules.items() if rule.about.is_named(name)]


def _unknown(name: str, kinds: str, ids: Iterable[str]) -> str:
    families = sorted({probe.about.family for probe in PROBES.values()})
    hint = suggestion(name, [CASES, *families, *ids], f"families are {', '.join(families)}")
    return f"There is no {kinds} or family {name!r}; {hint}"
