"""Derive incidents from judged rounds. No I/O.

A *stream* is one kind of failure: a rule under one API, a tool call, or the availability. It is
tested against its own earlier rate by `harness.statistics.change_points`. A *signal* is a family of
streams with a share of the permitted false alarms: half of them for tool calls, the rest in equal
parts for availability and each family of rules. A weighted mean of e-processes is also an
e-process, so the streams of a signal may depend on each other in any way.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.probes.rule_results import RULES
from harness.records.analysis import Analysis
from harness.records.conditions import APIS, Api
from harness.records.scores import Description
from harness.statistics.change_points import Change, Counts, increase, is_back, smoothed
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Incident, Past, Watched

JUDGED = ("failed", "warned", "passed")
_HALF = 0.5

Series = Mapping[str, Sequence[Counts]]


@dataclass(frozen=True)
class Signal:
    """Streams that share false alarms."""

    name: str
    streams: frozenset[str]
    share: float  # of the false alarms


def stream(rule: str, api: Api) -> str:
    """`cot.used · chat`."""
    return f"{rule} · {api}"


def signals(rules: Iterable[Description], apis: Iterable[Api]) -> list[Signal]:
    """The signals of a provider with these rules and APIs."""
    families: dict[str, set[str]] = defaultdict(set)
    offered = tuple(apis)
    for rule in rules:
        if rule.severity == "error":
            families[rule.family] |= {stream(rule.id, api) for api in offered if api in rule.apis}
    share = _HALF / (1 + len(families))
    return [
        Signal(TOOL_CALLS, frozenset((TOOL_CALLS,)), _HALF),
        Signal(AVAILABILITY, frozenset((AVAILABILITY,)), share),
        *(Signal(name, frozenset(found), share) for name, found in families.items() if found),
    ]


def counts_of(analysis: Analysis, api: Api) -> dict[str, tuple[int, int]]:
    """Failures and trials of every stream that a round observed.

    Tool calls are counted individually. A rule is one trial, because its findings in one round
    often have the same cause; it fails if it has a finding of severity error.
    """
    tries = [each for result in analysis.tool_calling for each in result.cases.values()]
    finished = sum(made for _, made in tries)
    counts = {AVAILABILITY: (0, 1)}
    if finished:
        counts[TOOL_CALLS] = (finished - sum(passed for passed, _ in tries), finished)
    for result in analysis.checks:
        if result.check.severity == "error" and result.status in JUDGED:
            counts[stream(result.check.id, api)] = (int(result.status == "failed"), 1)
    return counts


def suspects(watched: Watched) -> set[str]:
    """The streams that failed last but seldom before, and those of open incidents."""
    usual = max((each.since for each in watched.incidents if each.accepted), default=0.0)
    recent = [each for each in watched.rounds if each.started >= usual]
    return {
        name
        for name, observed in _series(replace(watched, rounds=recent)).items()
        if observed[-1].failures
        and 2 * sum(each.failures for each in observed[:-1]) < max(1, len(observed) - 1)
    } | {incident.stream for incident in watched.open}


def examine(watched: Watched, known: Iterable[Signal], alarms: float) -> Iterator[Incident]:
    """The incidents that the last round opened or ended; `alarms` is per month."""
    every = _series(watched)
    for signal in known:
        open_ = next((each for each in watched.open if each.signal == signal.name), None)
        if open_ is None:
            incident = _opened(watched.provider, signal, _usual(watched, signal, every), alarms)
            if incident is not None:
                yield replace(incident, noticed=watched.rounds[-1].started)
        else:
            later = [each for each in every[open_.stream] if each.at > open_.noticed]
            if is_back(later, smoothed(*open_.before), smoothed(*open_.after)):
                yield replace(open_, ended=watched.rounds[-1].started)


def pruned(watched: Watched, known: Iterable[Signal], before: float) -> Past:
    """The past of a provider once the rounds that began before a time are deleted.

    Their sums keep the test valid: it considers no change before that time, which only lowers the
    evidence, and compares the rounds since then with all of the past.
    """
    old = [each for each in watched.rounds if each.started < before]
    if not old:
        return watched.past
    every = _series(replace(watched, rounds=old))
    usual = [_usual(watched, signal, every).items() for signal in known]
    counts = {name: _sum(observed) for series in usual for name, observed in series if observed}
    return Past(old[-1].started, watched.past.rounds + len(old), dict(watched.past.counts) | counts)


def accepted(watched: Watched, now: float) -> tuple[list[Incident], Past]:
    """The open incidents, ended as accepted, and the past without that of their signals."""
    every = signals((rule.about for rule in RULES.values()), APIS)
    names = {each.signal for each in watched.open}
    dropped = frozenset[str]().union(*(each.streams for each in every if each.name in names))
    counts = {name: each for name, each in watched.past.counts.items() if name not in dropped}
    ended = [replace(each, ended=now, accepted=True) for each in watched.open]
    return ended, replace(watched.past, counts=counts)


def chance(signal: Signal, changes: Mapping[str, Change]) -> float:
    """Upper bound on the probability of this evidence within a month without a change."""
    if not changes:
        return 1.0
    most = max(each.evidence for each in changes.values())
    total = most + math.log(sum(math.exp(each.evidence - most) for each in changes.values()))
    return min(1.0, math.exp(min(0.0, math.log(len(signal.streams) / signal.share) - total)))


def _opened(provider: str, signal: Signal, series: Series, alarms: float) -> Incident | None:
    """The incident that the counts of a signal show, if any."""
    changes = {
        name: change
        for name, observed in series.items()
        if (change := increase(observed)) is not None
    }
    found = chance(signal, changes)
    if found > alarms:
        return None
    worst = max(changes, key=lambda name: changes[name].evidence)
    observed, change = series[worst], changes[worst]
    return Incident(
        id=0,
        provider=provider,
        signal=signal.name,
        stream=worst,
        noticed=observed[-1].at,
        since=observed[change.since].at,
        earliest=observed[change.earliest].at,
        latest=observed[change.latest].at,
        chance=found,
        before=_sum(observed[: change.since]),
        after=_sum(observed[change.since :]),
    )


def _series(watched: Watched) -> Series:
    """The counts of each stream, oldest first; the past is one observation at the beginning."""
    every: dict[str, list[Counts]] = defaultdict(list)
    past = watched.past
    for name, (failures, trials) in past.counts.items():
        every[name].append(Counts(past.until, failures, trials))
    for each in watched.rounds:
        for name, (failures, trials) in each.counts.items():
            every[name].append(Counts(each.started, failures, trials))
    return every


def _usual(watched: Watched, signal: Signal, every: Series) -> Series:
    """The counts of a signal without those of incidents, and since the last accepted rate."""
    mine = [each for each in watched.incidents if each.signal == signal.name]
    since = max((each.since for each in mine if each.accepted), default=0.0)
    past = watched.past.until
    return {
        name: [
            each
            for each in every[name]
            if each.at == past or (each.at >= since and not _within(each.at, mine))
        ]
        for name in sorted(signal.streams & every.keys())
    }


def _sum(observed: Iterable[Counts]) -> tuple[int, int]:
    every = list(observed)
    return sum(each.failures for each in every), sum(each.trials for each in every)


def _within(at: float, incidents: Iterable[Incident]) -> bool:
    return any(
        each.since <= at < (math.inf if each.ended is None else each.ended)
        for each in incidents
        if not each.accepted
    )
