"""Differences side by side: each a point with its interval, on one axis with a line at zero."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness.statistics.differences import Difference
from reports.html.charts.svg import WIDTH, Scale, chart, line, tag, text, ticks
from reports.text import clipped

_ROW, _BESIDE = 34, 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 14, 14, 4, 26
_LONGEST = 28  # characters of a label that leave room for the figures next to it
_LEAST_REACH = 0.02
"""The axis always spans two points to both sides, so that tiny differences look tiny."""


def forest(name: str, pairs: Sequence[tuple[str, Difference]]) -> Markup:
    """Return the chart of one measure: the label and the difference of each entry."""
    reach = max([_LEAST_REACH, *(abs(end) for _, e in pairs for end in (e.low, e.high))])
    x = Scale(-reach, reach, _LEFT, WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(pairs)
    marks = [mark / 100 for mark in ticks(reach * 100, 3)]
    marks = [*(-mark for mark in reversed(marks) if mark), *marks]
    parts = [
        text(x(mark), bottom + 16, f"{mark * 100:+g}" if mark else "0", anchor="middle")
        for mark in marks
    ]
    for index, (label, difference) in enumerate(pairs):
        top = _TOP + _ROW * index
        for mark in marks:  # beside the bar only, so that no line crosses the label above it
            kind = "zero" if math.isclose(mark, 0.0) else "grid"
            parts.append(line(x(mark), top + _ROW - 2 * _BESIDE, x(mark), top + _ROW, kind))
        parts += _drawn(label, difference, x, top)
    summary = "; ".join(f"{label} {change.value * 100:+.1f} points" for label, change in pairs)
    return chart(bottom + _BOTTOM, f"{name}: {summary}", *parts)


def _drawn(label: str, shown: Difference, x: Scale, top: float) -> list[Markup]:
    height = top + _ROW - _BESIDE
    figures = f"{shown.value * 100:+.1f} ({shown.low * 100:+.1f} to {shown.high * 100:+.1f})"
    return [
        text(_LEFT, top + 13, clipped(label, _LONGEST), kind="name"),
        text(WIDTH - _RIGHT, top + 13, figures, anchor="end", kind="figures"),
        line(x(shown.low), height, x(shown.high), height, f"reach {shown.seen}"),
        tag("circle", cx=x(shown.value), cy=height, r=4, class_=f"point {shown.seen}"),
    ]
