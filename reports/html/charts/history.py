"""Measures over calendar time, with their intervals, pauses and changes of settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup

from harness.records.scores import Estimate
from reports.html.charts.svg import WIDTH, Scale, chart, line, path, tag, text

_HEIGHT = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 18, 30
_DATES = 4


@dataclass(frozen=True)
class Moment:
    """One run: when, what was measured, and what came between it and the run before.

    `seconds` is since the epoch; `value` is None where the run has no such measure. `changed` says
    in one word what changed; it is empty if nothing did.
    """

    seconds: float
    value: Estimate | None
    complete: bool
    changed: str
    after_gap: bool


def over_time(name: str, moments: Sequence[Moment]) -> Markup:
    """The chart of one measure.

    Gaps are shaded and interrupt the line. A dashed vertical line is a change, such as one of
    settings, and a hollow point an unfinished run.

    Args:
        name: The measure.
        moments: The runs, oldest first; at least one.
    """
    times = [one.seconds for one in moments]
    margin = max(1.0, (times[-1] - times[0]) * 0.03)
    x = Scale(times[0] - margin, times[-1] + margin, _LEFT, WIDTH - _RIGHT)
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_gaps(moments, x), *_grid(y), *_dates(times, x), *_changes(moments, x)]
    parts += _lines(moments, x, y)
    for one in moments:
        parts += _point(one, x, y)
    return chart(_HEIGHT, f"{name}: {_summary(moments)}", *parts)


def _gaps(moments: Sequence[Moment], x: Scale) -> Iterator[Markup]:
    for before, after in pairwise(moments):
        if after.after_gap:
            start, end = x(before.seconds) + 4, x(after.seconds) - 4
            width, height = max(1.0, end - start), _HEIGHT - _BOTTOM - _TOP
            yield tag("rect", x=start, y=_TOP, width=width, height=height, class_="gap")


def _grid(y: Scale) -> Iterator[Markup]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield line(_LEFT, y(share), WIDTH - _RIGHT, y(share), "grid")
        yield text(_LEFT - 6, y(share) + 4, f"{share:.0%}", anchor="end")


def _dates(times: Sequence[float], x: Scale) -> Iterator[Markup]:
    steps = _DATES if times[-1] > times[0] else 1
    style = "%m-%d" if times[-1] - times[0] > 1.5 * 86_400 else "%H:%M"
    before = None
    for step in range(steps):
        at = times[0] + (times[-1] - times[0]) * step / max(1, steps - 1)
        shown = f"{datetime.fromtimestamp(at, UTC):{style}}"
        if shown != before:
            yield text(x(at), _HEIGHT - _BOTTOM + 16, shown, anchor="middle")
        before = shown


def _changes(moments: Sequence[Moment], x: Scale) -> Iterator[Markup]:
    for before, after in pairwise(moments):
        if after.changed:
            at = x((before.seconds + after.seconds) / 2)
            yield line(at, _TOP, at, _HEIGHT - _BOTTOM, "changed-line")
            yield text(at, _TOP - 5, after.changed, anchor="middle", kind="warning")


def _lines(moments: Sequence[Moment], x: Scale, y: Scale) -> Iterator[Markup]:
    for before, after in pairwise([one for one in moments if one.value is not None]):
        if before.value is not None and after.value is not None:
            ends = [
                (x(one.seconds), y(_clipped(one.value))) for one in (before, after) if one.value
            ]
            yield path(ends, "curve first away" if after.after_gap else "curve first")


def _point(one: Moment, x: Scale, y: Scale) -> list[Markup]:
    if one.value is None:
        return []
    at, value = x(one.seconds), one.value
    look = "dot first" if one.complete else "dot unfinished"
    return [
        line(at, y(max(0.0, value.low)), at, y(min(1.0, value.high)), "interval thin"),
        tag("circle", cx=at, cy=y(_clipped(value)), r=3.5, class_=look),
    ]


def _clipped(value: Estimate) -> float:
    return min(1.0, max(0.0, value.value))


def _summary(moments: Sequence[Moment]) -> str:
    measured = [one.value.value for one in moments if one.value is not None]
    if not measured:
        return "nothing measured"
    return f"{len(measured)} points, from {measured[0]:.1%} to {measured[-1]:.1%}"
