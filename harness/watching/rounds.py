"""Plan rounds: some cases under one condition, and a part of the probes, in turn. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import NamedTuple

from harness.checks import CHECKS
from harness.errors import ConfigurationError
from harness.golden.content import Golden
from harness.probes.probe import Probe, ProbeOptions
from harness.probes.suites import CASES, Chosen
from harness.providers.entries import Provider
from harness.records.conditions import MODES, Api
from harness.records.runs import Limits, RunSettings, Sampling
from harness.run.cases import Case, Suite
from harness.tasks.probing import probe_tasks
from harness.tasks.suite import suite_tasks
from harness.tasks.task import Task
from harness.verdict.reference_rate import default_thresholds
from harness.watching.records import Watched
from harness.watching.signals import Signal, signals, stream, suspects

PREFLIGHT = 2  # requests before a round: the list of models, and one for the API
MOST_CASES = 8
DAY = 86_400.0
_TURNS = 10
_REQUESTS_PER_CASE = 2  # one for the call, one for the answer


def of_round(daily: Limits, every: float, used: tuple[int, float]) -> Limits:
    """The limits of one round; `used` has the requests and dollars of the last 24 hours."""
    share = min(1.0, every / DAY)
    requests, dollars = daily.max_requests, daily.max_cost
    if requests is not None:
        requests = max(0, min(int(requests * share), requests - used[0]))
    if dollars is not None:
        dollars = max(0.0, min(dollars * share, dollars - used[1]))
    return Limits(max_requests=requests, max_cost=dollars)


@dataclass(frozen=True)
class RoundPlan:
    """The cases and probes that rounds of a provider choose from."""

    provider: Provider
    suite: Suite
    cases: int  # in each round
    probes: int  # requests for probes of each round
    parts: Mapping[Api, Sequence[tuple[Probe, ...]]]  # the probes of each round in turn
    left_out: tuple[str, ...]  # probes that need more requests than a round has
    golden: Golden | None
    signals: Sequence[Signal]  # what is tested


class NextRound(NamedTuple):
    """The tasks of one round, its settings, and the streams of the probes that it samples."""

    tasks: tuple[Task, ...]
    settings: RunSettings
    streams: tuple[str, ...]


def plan_rounds(
    provider: Provider, suite: Suite, chosen: Chosen, golden: Golden | None, requests: int
) -> RoundPlan:
    """Divide cases and probes into rounds of this size. Raises ConfigurationError if none fits."""
    left = requests - PREFLIGHT
    cases = 0
    if chosen.cases and left >= _REQUESTS_PER_CASE:
        share = left // (2 if chosen.probes else 1)
        cases = min(MOST_CASES, len(suite.cases), max(1, share // _REQUESTS_PER_CASE))
    room = left - cases * _REQUESTS_PER_CASE
    parts: dict[Api, list[tuple[Probe, ...]]] = {}
    large: dict[str, None] = {}
    for api in provider.apis:
        offered = [probe for probe in chosen.probes if api in probe.about.apis]
        options = _options(provider, api, golden)
        sized = {probe.id: _requests([probe], options) for probe in offered}
        large |= dict.fromkeys(id_ for id_, size in sized.items() if size > room)
        fitting = [probe for probe in offered if 0 < sized[probe.id] <= room]
        parts[api] = list(_parts(fitting, room, options))
    if not cases and not any(parts.values()):
        raise ConfigurationError(
            f"A round of {max(0, requests)} requests is too small for any case or probe; "
            "raise --budget or --every."
        )
    sampled = {probe.id: probe for each in parts.values() for part in each for probe in part}
    rules = [rule.about for rule in CHECKS.values()] + [rule.about for rule in sampled.values()]
    tested = signals(rules, provider.apis)
    return RoundPlan(provider, suite, cases, room, parts, tuple(large), golden, tested)


def next_round(planned: RoundPlan, watched: Watched, limits: Limits) -> NextRound:
    """The next round; APIs and modes alternate, as do suspects and probes sampled longest ago."""
    provider, number = planned.provider, watched.made
    api: Api = provider.apis[number % len(provider.apis)]
    turn = number // len(provider.apis)
    again = _suspect_probes(planned, watched, api) if turn % 2 else ()
    probes = again or _longest_ago(planned.parts[api], watched, api)
    cases = _cases(planned, number, len(provider.apis) * len(MODES))
    ids = tuple(case.id for case in cases)
    settings = RunSettings(
        suite="tools",
        only=(*((CASES,) if cases else ()), *(probe.id for probe in probes)),
        apis=(api,),
        modes=(MODES[turn % len(MODES)],),
        first_cases=len(cases) or None,
        case_ids=ids,
        concurrency=provider.concurrency,
        thresholds=default_thresholds(provider.model, strict=False),
        budget=limits,
    )
    tasks = suite_tasks(
        provider.info(),
        settings,
        planned.suite.named(ids),
        planned.golden,
        tries=1,
        sampling=Sampling(max_turns=_TURNS),
    )
    return NextRound(
        tuple(tasks) if settings.only else (),
        settings,
        tuple(stream(probe.id, api) for probe in probes),
    )


def _cases(planned: RoundPlan, number: int, conditions: int) -> Sequence[Case]:
    """Cases spread over the file; after some rounds, every case has had every condition."""
    if not planned.cases:
        return ()
    blocks = -(-len(planned.suite.cases) // planned.cases)
    block = (number + number // lcm(blocks, conditions)) % blocks
    return planned.suite.cases[block::blocks]


def _suspect_probes(planned: RoundPlan, watched: Watched, api: Api) -> tuple[Probe, ...]:
    """The suspect probes of an API, as many as fit into a round."""
    doubted = suspects(watched)
    every = [probe for part in planned.parts[api] for probe in part]
    found = [probe for probe in every if stream(probe.id, api) in doubted]
    return next(_parts(found, planned.probes, _options(planned.provider, api, planned.golden)), ())


def _longest_ago(
    parts: Sequence[tuple[Probe, ...]], watched: Watched, api: Api
) -> tuple[Probe, ...]:
    last = {name: each.id for each in watched.rounds for name in each.planned}
    return min(
        parts,
        key=lambda part: min(last.get(stream(probe.id, api), -1) for probe in part),
        default=(),
    )


def _parts(
    probes: Sequence[Probe], room: int, options: ProbeOptions
) -> Iterator[tuple[Probe, ...]]:
    """The probes in parts of at most `room` requests; groups that fit stay together."""
    part: list[Probe] = []
    groups: dict[str, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(probe.group.name, []).append(probe)
    for group in groups.values():
        whole = _requests(group, options) <= room
        for portion in [group] if whole else [[probe] for probe in group]:
            if part and _requests([*part, *portion], options) > room:
                yield tuple(part)
                part = []
            part += portion
    if part:
        yield tuple(part)


def _requests(probes: Sequence[Probe], options: ProbeOptions) -> int:
    return sum(task.info.planned for task in probe_tasks(probes, options))


def _options(provider: Provider, api: Api, golden: Golden | None) -> ProbeOptions:
    return ProbeOptions(provider.model, (api,), provider.limitations, golden, provider.extra_body)
