"""From chosen probes to the attempts that make their requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from harness.api.base import Settings
from harness.probes.base import Ask, Bench, Probe
from harness.records.judgements import Mode
from harness.records.rollouts import Api
from harness.tasks.attempts import Attempt, Sample, plan

PREFIX = "probe:"


def sample_id(bench: Bench, ask: Ask) -> str:
    """The id under which the answers to an ask are recorded."""
    return f"{PREFIX}{bench.name}/{ask.name}"


def attempts(probes: Iterable[Probe], settings: Settings, apis: Iterable[Api]) -> Iterator[Attempt]:
    """Every request that the probes need, once however many need it.

    Args:
        probes: The probes of the run.
        settings: Model and further body members of the provider; the asks decide all else.
        apis: The APIs the run is about.
    """
    chosen = tuple(probes)
    benches = {probe.bench.name: probe.bench for probe in chosen}
    for bench in benches.values():
        own = [probe for probe in chosen if probe.bench is bench]
        for api in apis:
            for ask in bench.asks(api):
                modes = _modes([p for p in own if ask.name in p.uses and api in p.about.apis])
                yield from plan(
                    [_sample(bench, ask)],
                    settings_of(ask, settings),
                    apis=[api],
                    modes=[mode == "streaming" for mode in modes],
                    tries=ask.tries,
                    max_turns=ask.max_turns,
                    key=ask.key,
                )


def rounds(
    probes: Sequence[Probe],
) -> tuple[Sequence[Probe], Sequence[tuple[int, Sequence[Probe]]]]:
    """The probes without a burst, and for each bench with one its size and its probes."""
    steady = [probe for probe in probes if probe.bench.burst is None]
    benches = {probe.bench.name: probe.bench for probe in probes if probe.bench.burst}
    bursts = [
        (bench.burst or 0, [probe for probe in probes if probe.bench is bench])
        for bench in benches.values()
    ]
    return steady, bursts


def _sample(bench: Bench, ask: Ask) -> Sample:
    return Sample(
        sample_id(bench, ask),
        ask.turns,
        instructions=ask.instructions,
        tools=ask.tools,
        then=ask.then,
        raw=ask.raw,
    )


def _modes(probes: Iterable[Probe]) -> list[Mode]:
    return sorted({mode for probe in probes for mode in probe.about.modes})


def settings_of(ask: Ask, settings: Settings) -> Settings:
    """What a request for an ask carries: the provider's settings with those of the ask."""
    return replace(
        settings,
        reasoning_effort=ask.effort,
        temperature=ask.temperature,
        max_tokens=ask.max_tokens,
        seed=ask.seed,
        stored=ask.stored,
        extra_body={**(settings.extra_body or {}), **ask.options},
    )
