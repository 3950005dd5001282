"""The page of `watch`: every watched provider over time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from urllib.parse import quote

from harness.statistics.intervals import clustered_rate
from harness.text import first_few, percentage
from harness.watching.alerts import moment, past, worse
from harness.watching.records import AVAILABILITY, TOOL_CALLS, Round, Watched
from reports.html.charts.rates import Moment, over_time
from reports.html.charts.svg import Figure
from reports.html.page import render_page
from reports.text import NOTHING, counted

POINTS = 48  # maximum number of points in a chart; rounds are combined
LATEST = 48  # number of rounds in the table of a provider
SHOWN_RULES = 5
_RECENT = 7 * 86_400.0


def render_watch(every: Sequence[Watched], pause: float, alarms: float) -> str:
    """The page; `pause` is in seconds, `alarms` is the false-alarm rate per provider and month."""
    shown = [_provider(each, f"provider-{number}") for number, each in enumerate(every, 1)]
    bad = sum(bool(each.open) for each in every)
    return render_page(
        "watching.html",
        {},
        own_script=None,
        own_styles=("compare.css", "site.css"),
        label="Watch",
        title=f"{bad} of {counted(len(shown), 'provider')} worse than before"
        if bad
        else f"No provider is worse than before ({counted(len(shown), 'provider')})",
        providers=shown,
        pause=_interval(pause),
        alarms=percentage(alarms),
    )


def _provider(watched: Watched, id_: str) -> dict[str, object]:
    rounds = watched.rounds
    last = rounds[-1] if rounds else None
    recent = [each for each in rounds if last and each.started > last.started - _RECENT]
    return {
        "id": id_,
        "name": watched.provider,
        "state": _state(watched),
        "decision": "fail" if watched.open else "pass" if rounds else "none",
        "cells": (
            moment(last.started) if last else NOTHING,
            _passed(_sum(recent, TOOL_CALLS)),
            _passed(_sum(recent, AVAILABILITY)),
            f"{watched.made:,}",
            f"{sum(each.requests for each in rounds):,}",
        ),
        "open": list(map(worse, watched.open)),
        "ended": [past(each) for each in reversed(watched.incidents) if each.ended is not None],
        "figures": list(_figures(watched)),
        "rounds": [_round(each) for each in reversed(rounds[-LATEST:])],
    }


def _state(watched: Watched) -> str:
    if not watched.rounds:
        return "no rounds yet"
    return (
        f"worse: {', '.join(each.signal for each in watched.open)}" if watched.open else "as before"
    )


def _figures(watched: Watched) -> Iterator[Figure]:
    for title, select in (
        ("tool calls that succeed", lambda name: name == TOOL_CALLS),
        ("rules without an error", lambda name: name not in (TOOL_CALLS, AVAILABILITY)),
        ("rounds that reached the provider", lambda name: name == AVAILABILITY),
    ):
        moments = list(_moments(watched, select))
        if any(each.value for each in moments):
            yield Figure(title, over_time(title, moments))


def _moments(watched: Watched, select: Callable[[str], bool]) -> Iterator[Moment]:
    size = -(-len(watched.rounds) // POINTS)
    begun = sorted(each.since for each in watched.incidents if select(each.stream))
    before = 0.0
    for first in range(0, len(watched.rounds), max(1, size)):
        joined = watched.rounds[first : first + size]
        found = [counts for each in joined for name, counts in each.counts.items() if select(name)]
        trials = sum(each[1] for each in found)
        passed = trials - sum(each[0] for each in found)
        at = joined[-1].started
        yield Moment(
            seconds=at,
            value=clustered_rate([(passed, trials)]) if trials else None,
            complete=True,
            changed="worse" if any(before < since <= at for since in begun) else "",
            after_gap=False,
        )
        before = at


def _round(one: Round) -> dict[str, object]:
    rules, calls, unreachable = one.rules, one.of(TOOL_CALLS), one.of(AVAILABILITY)[0]
    failed = [name for name, broken in rules.items() if broken]
    place = "/".join(map(quote, PurePath(one.folder or "").parts[-2:]))
    return {
        "link": f"runs/{place}/report.html" if one.folder else "",
        "cells": (
            moment(one.started),
            "not reached" if unreachable else _passed(calls),
            f"{len(rules) - len(failed)} of {len(rules)}" if rules else NOTHING,
            first_few(failed, SHOWN_RULES) or NOTHING,
            str(one.requests),
        ),
        "decision": "fail" if unreachable or calls[0] else "pass",
    }


def _passed(counts: tuple[int, int]) -> str:
    failures, trials = counts
    return f"{trials - failures:,} of {trials:,}" if trials else NOTHING


def _sum(rounds: Sequence[Round], stream: str) -> tuple[int, int]:
    found = [each.of(stream) for each in rounds]
    return sum(failures for failures, _ in found), sum(trials for _, trials in found)


def _interval(seconds: float) -> str:
    """`hour`, `2 hours`."""
    for size, unit in ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= size and seconds % size == 0:
            return counted(int(seconds // size), unit).removeprefix("1 ")
    return counted(round(seconds), "second").removeprefix("1 ")
