"""Incidents in sentences. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from harness.watching.records import AVAILABILITY, TOOL_CALLS, Incident

LEAST = 0.001
"""The smallest probability that is stated."""


def worse(incident: Incident) -> str:
    """What got worse, since when, and how certain that is."""
    begun = f"since {moment(incident.since)}"
    if incident.earliest < incident.latest:
        begun += f" (90 %: {moment(incident.earliest)} to {moment(incident.latest)})"
    return (
        f"{_subject(incident)} more often {begun}: {_share(incident, incident.after)}; before, "
        f"{_share(incident, incident.before)}. Without a change, a month shows as much with a "
        f"probability of at most {max(incident.chance, LEAST):.1%}."
    )


def ended(incident: Incident) -> str:
    """What is as before again."""
    when = "" if incident.ended is None else f", noticed {moment(incident.ended)}"
    return (
        f"{_name(incident)}: as before again{when}. It had been worse since "
        f"{moment(incident.since)}."
    )


def moment(seconds: float) -> str:
    """`2026-11-21 14:00 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _name(incident: Incident) -> str:
    return incident.stream.capitalize() if incident.stream == incident.signal else incident.stream


def _subject(incident: Incident) -> str:
    if incident.stream == AVAILABILITY:
        return "The provider cannot be used"
    return f"{_name(incident)} {'fail' if incident.stream == TOOL_CALLS else 'fails'}"


def _share(incident: Incident, counts: tuple[int, int]) -> str:
    failures, trials = counts
    unit = "" if incident.stream == TOOL_CALLS else " rounds"
    return f"{failures:,} of {trials:,}{unit} ({failures / trials:.1%})"
