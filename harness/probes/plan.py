"""From chosen probes to the attempts that send their requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from harness.api.base import Settings
from harness.probes.base import Probe, ProbeGroup, ProbeRequest
from harness.records.rollouts import Api
from harness.tasks.attempts import Attempt, Sample, plan

PREFIX = "probe:"


def sample_id(group: ProbeGroup, request: ProbeRequest) -> str:
    """The sample id under which the responses to a request are recorded."""
    return f"{PREFIX}{group.name}/{request.name}"


def attempts(probes: Iterable[Probe], settings: Settings, apis: Iterable[Api]) -> Iterator[Attempt]:
    """Every request that the probes need, each only once.

    Args:
        probes: The probes of the run.
        settings: Model and additional body members of the provider; requests set everything else.
        apis: The APIs of the run.
    """
    chosen = tuple(probes)
    for group in {probe.group.name: probe.group for probe in chosen}.values():
        members = [probe for probe in chosen if probe.group is group]
        for api in apis:
            for request in group.requests(api):
                users = [p for p in members if request.name in p.uses and api in p.about.apis]
                modes = sorted({mode for probe in users for mode in probe.about.modes})
                yield from plan(
                    [_sample(group, request)],
                    settings_of(request, settings),
                    apis=[api],
                    modes=[mode == "streaming" for mode in modes],
                    tries=request.tries,
                    max_turns=request.max_turns,
                    key=request.key,
                )


def rounds(
    probes: Sequence[Probe],
) -> tuple[Sequence[Probe], Sequence[tuple[int, Sequence[Probe]]]]:
    """The probes without a burst, and for each group with one its size and its probes."""
    steady = [probe for probe in probes if probe.group.burst is None]
    groups = {probe.group.name: probe.group for probe in probes if probe.group.burst}
    bursts = [
        (group.burst or 0, [probe for probe in probes if probe.group is group])
        for group in groups.values()
    ]
    return steady, bursts


def settings_of(request: ProbeRequest, settings: Settings) -> Settings:
    """The provider's settings with those of a request."""
    return replace(
        settings,
        reasoning_effort=request.effort,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
        seed=request.seed,
        stored=request.stored,
        extra_body={**(settings.extra_body or {}), **request.options},
    )


def _sample(group: ProbeGroup, request: ProbeRequest) -> Sample:
    return Sample(
        sample_id(group, request),
        request.turns,
        instructions=request.instructions,
        tools=request.tools,
        then=request.then,
        raw=request.raw,
    )
