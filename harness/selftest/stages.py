"""The runs against a server with a fault: first its expected detectors, then the suite. No I/O.

Most faults show in the first stage, which is short. The second stage distinguishes a weak
detector from one that does not work.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import get_args
from zlib import crc32

from harness.records.conditions import BOTH_APIS, MODES, Api, Mode
from harness.records.settings import SuiteName
from harness.rules.catalogue import PROBES, RULES
from harness.rules.check import CrossCheck
from harness.rules.rule import Rule
from harness.rules.suites import CASES, choose
from harness.selftest.faults import HEALTHY, LAWS, STYLES, Fault
from harness.selftest.habits import HABITS, MIXTURES, SLIPS

FEW_CASES = (
    "weather-lisbon",
    "status-up",
    "language-greek",
    "chart-bar",
    "chart-line",
    "table-order-limit",
)
"""Calls with and without arguments, text in another script, nested lists, and two tool names of
several words."""

SLICES = 20  # repetitions of an allowed variation that together send all probes

_SETS, _MOST_NAMES = 20, 4
"""Random selections of rules with which the laws are tested, and the most names in one."""

_COMPARED_TRIES = 6
"""Tries at each case if a detector compares rollouts: 36 attempts over each API."""


@dataclass(frozen=True)
class RunStage:
    """One run: a suite, or the probes and families (and `cases` for the cases) in `only`."""

    suite: SuiteName
    only: tuple[str, ...]
    tries: int = len(MODES)  # at each case: once in each mode
    apis: tuple[Api, ...] = BOTH_APIS
    modes: tuple[Mode, ...] = MODES
    cases: tuple[str, ...] = FEW_CASES  # all if empty
    read: bool = False  # whether the reference reads its replies

    @property
    def whole(self) -> bool:
        """Whether it is the whole suite."""
        return not self.only

    @property
    def long(self) -> bool:
        """Whether it has probes with long prompts."""
        return any(name.partition(".")[0] == "long" for name in self.only)


@cache
def shapes() -> Mapping[str, RunStage]:
    """Return the runs of the healthy engine that test the laws, by name.

    They have each API, mode and suite, and random selections of families and rules.
    """
    every = [
        RunStage(suite, (), 1, apis, modes, ())
        for suite in get_args(SuiteName)[:2]
        for apis in (*((api,) for api in BOTH_APIS), BOTH_APIS)
        for modes in (*((mode,) for mode in MODES), MODES)
    ]
    probes, random = choose("standard").probes, Random(0)  # noqa: S311 (not a secret)
    families, ids = sorted({p.about.family for p in probes}), [probe.id for probe in probes]
    chosen: set[tuple[str, ...]] = set()
    while len(chosen) < _SETS:
        family, few = random.choice([CASES, *families]), random.randrange(_MOST_NAMES)
        names = (family, *random.sample(ids, few))
        every += [] if names in chosen else [RunStage("standard", names, 1, cases=())]
        chosen.add(names)
    parts = ((stage.only or (stage.suite, *stage.apis, *stage.modes), stage) for stage in every)
    return {f"{LAWS}:{'+'.join(names)}": stage for names, stage in parts}


def of_laws() -> Sequence[Fault]:
    """Return the healthy engine in each shape of a run, as allowed variations."""
    about = "A run with one try of what its name selects, and random parts of it."
    shown = {"source": "", "detectors": (), "visible": False, "allowed": True, "model": False}
    return [Fault(name=name, layer=LAWS, description=about, **shown) for name in shapes()]


def of_styles() -> Sequence[Fault]:
    """Return the healthy engine with a model that has each habit, slip or mixture of habits."""
    sources = {name: habit.documented for name, habit in (HABITS | SLIPS).items()}
    every = sources | dict.fromkeys(MIXTURES, "habits in documented shares")
    shown = {"detectors": (), "visible": False, "allowed": True, "model": False}
    about = "The recorded run of the healthy engine as if its model wrote so."
    return [
        Fault(name=f"{STYLES}:{name}", layer=STYLES, description=about, source=source, **shown)
        for name, source in every.items()
    ]


def stages(fault: Fault, suite: SuiteName, repetition: int = 0) -> Sequence[RunStage]:
    """Return the runs for a fault; each is made only if the previous one found nothing.

    `suite` is that of the last stage, and of the healthy engine. For an allowed variation, each
    `repetition` (from 0) has the cases and a part of the probes, and the first also the typical
    ones; `SLICES` repetitions together have all probes. A law has a run of its own, and a worse
    model and a style the default run: every rule must leave their server alone.
    """
    if fault.name == HEALTHY:
        return (RunStage(suite, ()),)
    if fault.layer == LAWS:
        return (shapes()[fault.name],)
    if fault.layer == STYLES:
        return (RunStage("standard", (), tries=1, cases=()),)
    if fault.allowed:
        start = (crc32(fault.name.encode()) + repetition) % SLICES
        probes = choose(suite).probes
        typical = [] if repetition else [probe for probe in probes if probe.group.typical]
        ids = [probe.id for probe in (*typical, *probes[start::SLICES])]
        return (RunStage(suite, (CASES, *dict.fromkeys(ids))),)
    if fault.worse_model:
        return (RunStage("standard", (), tries=1),)
    requests = [request for detector in known(fault) for request in _judged_requests(detector)]
    cases = (CASES,) if CASES in requests else ()
    first = RunStage(suite, (*cases, *_named(PROBES, requests)))
    if any(isinstance(RULES[detector], CrossCheck) for detector in known(fault)):
        read = any(RULES[detector].of_readings for detector in known(fault))
        first = replace(first, tries=_COMPARED_TRIES, read=read)
    return (first, RunStage(suite, ()))


def _judged_requests(rule_id: str) -> Sequence[str]:
    """Return the requests that a rule judges: its own, or the cases and those of its family."""
    if rule_id in PROBES:
        return (rule_id,)
    family, probes = RULES[rule_id].about.family, choose("standard").probes
    return (CASES, *(probe.id for probe in probes if probe.about.family == family))


def known(fault: Fault) -> tuple[str, ...]:
    """Return the ids of the checks and probes that its detectors name."""
    return _named(RULES, fault.detectors)


def _named(rules: Mapping[str, Rule], names: Collection[str]) -> tuple[str, ...]:
    """Return the ids of the rules that one of these names selects."""
    return tuple(id_ for id_, rule in rules.items() if any(map(rule.about.is_named, names)))
