"""Counts over the time of a run."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.html.charts.svg import WIDTH, Scale, chart, line, tag, text, ticks

_HEIGHT = 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 10, 10, 30


def timeline(name: str, counts: Sequence[int], seconds: float, kind: str) -> Markup:
    """Draw how often something happened in equal intervals of a run.

    Args:
        name: What is counted.
        counts: The count of each interval.
        seconds: The duration of the run.
        kind: The CSS class of the bars.
    """
    most = max(counts, default=0)
    y = Scale(0, max(most, 1), _HEIGHT - _BOTTOM, _TOP)
    factor, unit = _unit(seconds)
    x = Scale(0, seconds / factor, _LEFT, WIDTH - _RIGHT)
    parts = [line(_LEFT, y(0), WIDTH - _RIGHT, y(0), "axis")]
    for mark in ticks(max(most, 1), 3):
        if mark == int(mark):
            parts.append(line(_LEFT, y(mark), WIDTH - _RIGHT, y(mark), "grid"))
            parts.append(text(_LEFT - 6, y(mark) + 4, f"{mark:,.0f}", anchor="end"))
    for mark in ticks(seconds / factor, 5):
        anchor = "end" if x(mark) > WIDTH - 24 else "middle"
        parts.append(text(x(mark), _HEIGHT - _BOTTOM + 15, f"{mark:g}", anchor=anchor))
    parts.append(text(WIDTH - _RIGHT, _HEIGHT - 2, f"{unit} since the start", anchor="end"))
    width = (WIDTH - _RIGHT - _LEFT) / max(len(counts), 1)
    for index, count in enumerate(counts):
        if count:
            top = y(count)
            bar = {"x": _LEFT + index * width, "y": top, "height": y(0) - top}
            parts.append(tag("rect", **bar, width=max(width - 0.6, 0.8), class_=kind))
    return chart(_HEIGHT, f"{name} over time: {sum(counts):,} in total", *parts)


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
