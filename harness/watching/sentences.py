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
        f"{_subject(incident, _present(incident))} more often {begun}: "
        f"{_share(incident, incident.after)}; before, {_share(incident, incident.before)}. If "
        "nothing had changed, such evidence would appear within a month with a probability of at "
        f"most {max(incident.chance, LEAST):.1%}."
    )


def ended(incident: Incident) -> str:
    """What is no longer worse."""
    when = "" if incident.ended is None else f", noticed {moment(incident.ended)}"
    return (
        f"{_subject(incident, f'no longer {_present(incident)}')} more often than before{when}. "
        f"The incident began {moment(incident.since)}."
    )


def past(incident: Incident) -> str:
    """An incident that has ended."""
    end = "until an operator accepted the new rate" if incident.accepted else "to"
    until = "" if incident.ended is None else f" {end} {moment(incident.ended)}"
    return (
        f"{_subject(incident, 'failed')} more often from {moment(incident.since)}{until}: "
        f"{_share(incident, incident.after)} until it was noticed; before, "
        f"{_share(incident, incident.before)}."
    )


def moment(seconds: float) -> str:
    """`2026-11-21 14:00 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _subject(incident: Incident, verb: str) -> str:
    if incident.stream == AVAILABILITY:
        return f"The provider {verb} to answer"
    return f"{'Tool calls' if incident.stream == TOOL_CALLS else incident.stream} {verb}"


def _present(incident: Incident) -> str:
    return "fail" if incident.stream == TOOL_CALLS else "fails"


def _share(incident: Incident, counts: tuple[int, int]) -> str:
    failures, trials = counts
    unit = "" if incident.stream == TOOL_CALLS else " rounds"
    return f"{failures:,} of {trials:,}{unit} ({failures / trials:.1%})"
