"""Everything that a run can check, listed: for people, and as `docs/checks.md`. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from harness.golden import files as golden_files
from harness.checks import CATALOGUE
from harness.errors import ConfigurationError
from harness.probes import PROBES
from harness.probes.suites import choose
from harness.probes.task import ProbeOptions, probe_tasks
from harness.records.conditions import Api, Mode
from harness.records.families import title
from harness.records.runs import SuiteName
from harness.records.scores import Description

_APIS: tuple[Api, ...] = ("responses", "chat")
_MODES: tuple[Mode, ...] = ("streaming", "non-streaming")
_HEAD = """\
# What is checked

This file is made by `gpt-oss-verify checks --markdown`.

A **check** judges one recorded rollout, whatever it was sampled for; a **probe** is an experiment
of several requests that are judged together. An **error** breaks a specification or the model and
fails the run; a **warning** is a quirk that clients survive; **info** is worth knowing. Where a
share is *tolerated*, findings are information until more than that share of the attempts of one
API in one mode must have the problem: until every attempt has it, or the 95 % interval of their
share lies above it.

Every check and probe ends a run as passed, failed, warned, declared (the provider's entry says it
cannot do this), not verifiable (nothing it could judge was sampled) or skipped (not asked for)."""


@dataclass(frozen=True)
class Entry:
    """A check or probe, the smallest suite that holds it, and the share of attempts it forgives."""

    about: Description
    suite: SuiteName
    tolerated: float

    @property
    def scope(self) -> str:
        """The APIs and modes it is about, in words."""
        apis = "both APIs" if len(self.about.apis) == len(_APIS) else self.about.apis[0]
        modes = "" if len(self.about.modes) == len(_MODES) else f", {self.about.modes[0]}"
        return f"{apis}{modes}"


def entries(family: str | None = None) -> tuple[Entry, ...]:
    """All checks, then all probes, or those of one family.

    Raises:
        ConfigurationError: There is no such family.
    """
    every = [Entry(each.about, "smoke", each.tolerated) for each in CATALOGUE.values()]
    every += [Entry(each.about, each.level, 1 - each.required) for each in PROBES.values()]
    if family is None:
        return tuple(every)
    known = dict.fromkeys(entry.about.family for entry in every)
    if family not in known:
        raise ConfigurationError(f"There is no family {family!r}; families are {', '.join(known)}.")
    return tuple(entry for entry in every if entry.about.family == family)


def by_family(listed: Sequence[Entry]) -> Mapping[str, list[Entry]]:
    """The same entries by the title of their family, in the order in which families first occur."""
    families: dict[str, list[Entry]] = defaultdict(list)
    for entry in listed:
        families[title(entry.about.family)].append(entry)
    return families


def markdown(listed: Sequence[Entry]) -> str:
    """The list as a Markdown page."""
    return "\n".join(_lines(listed)) + "\n"


def _lines(listed: Sequence[Entry]) -> Iterator[str]:
    yield _HEAD
    yield ""
    yield from _suites()
    for heading, family in by_family(listed).items():
        yield ""
        yield f"## {heading}"
        yield ""
        yield "| id | severity | about | what must hold, and why it matters |"
        yield "| --- | --- | --- | --- |"
        for entry in family:
            yield f"| {' | '.join(_cells(entry))} |"


def _suites() -> Iterator[str]:
    """What each suite asks besides the tool-call cases."""
    yield "| suite | probes | requests over both APIs | most output tokens |"
    yield "| --- | ---: | ---: | ---: |"
    for suite in get_args(SuiteName):
        probes = choose(suite).probes
        options = ProbeOptions("", _APIS, golden=golden_files.shipped())
        made = [each for task in probe_tasks(probes, options) for each in task.all_attempts()]
        tokens = sum((each.settings.max_tokens or 0) * each.max_turns for each in made)
        yield f"| {suite} | {len(probes)} | {len(made)} | {tokens:,} |"


def _cells(entry: Entry) -> Iterator[str]:
    about = entry.about
    yield f"[`{about.id}`]({about.source})"
    tolerance = f", {entry.tolerated:.0%} tolerated" if entry.tolerated else ""
    yield f"{about.severity}{tolerance}"
    suite = "" if about.kind == "check" else f"; probe, suite {entry.suite}"
    yield f"{entry.scope}{suite}"
    yield f"{_escaped(about.summary)} *{_escaped(about.why)}*"


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_|<>\[\]])", r"\\\1", text) if "`" not in text else text
