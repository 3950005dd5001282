"""Histograms of measures on a common axis, and counts over the time of a run."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from markupsafe import Markup

from harness.records.scores import Percentiles
from harness.statistics.estimators import percentiles
from reports.html.charts.svg import WIDTH, Scale, chart, line, path, tag, text, ticks

Values: TypeAlias = Mapping[str, Sequence[float]]

_BINS = 48
_ROW = 46
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 10, 4, 24
_BARS = 24


def distributions(name: str, unit: str, groups: Values) -> Markup | None:
    """Draw one measure of each group, up to the highest 99th percentile; None without values."""
    shown = {
        group: (values, figures)
        for group, values in groups.items()
        if (figures := percentiles(values)) is not None
    }
    if not shown:
        return None
    end = _end([figures.p99 for _, figures in shown.values()])
    x = Scale(0, end, _LEFT, WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(shown)
    parts = [*_axis(x, end, bottom)]
    for row, (group, (values, figures)) in enumerate(shown.items()):
        parts += _row(group, values, figures, x, _TOP + _ROW * row)
    summary = "; ".join(
        f"{group}: median {number(figures.p50)} {unit}".strip()
        for group, (_, figures) in shown.items()
    )
    return chart(bottom + _BOTTOM, f"{name}. {summary}", *parts)


def number(value: float) -> str:
    """Return a figure with three significant digits: `0.123`, `12.3`, `1,230`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figure(value: float) -> str:
    """Format like `number`, with trailing zeros unless the value is an integer."""
    return number(value) if value >= 100 or value == int(value) else f"{value:#.3g}"


def _end(tails: Sequence[float]) -> float:
    highest = max(tails)
    if highest <= 0:
        return 1.0
    marks = ticks(highest)
    step = marks[1] - marks[0] if len(marks) > 1 else highest
    return marks[-1] if marks[-1] >= highest else marks[-1] + step


def _axis(x: Scale, end: float, bottom: float) -> list[Markup]:
    parts = [line(_LEFT, bottom, WIDTH - _RIGHT, bottom, "axis")]
    for mark in ticks(end):
        anchor = "start" if mark == 0 else "end" if x(mark) > WIDTH - 24 else "middle"
        parts.append(line(x(mark), _TOP, x(mark), bottom + 3, "grid"))
        parts.append(text(x(mark), bottom + 16, number(mark), anchor=anchor))
    return parts


def _row(
    group: str, values: Sequence[float], figures: Percentiles, x: Scale, top: float
) -> list[Markup]:
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, max(0, int(value / x.high * _BINS)))] += 1
    base = top + _ROW - 2
    tallest = max(counts)
    width = (x.end - x.start) / _BINS
    outline: list[tuple[float, float]] = [(x.start, base)]
    for index, count in enumerate(counts):
        height = base - count / tallest * _BARS
        outline += [(x.start + index * width, height), (x.start + (index + 1) * width, height)]
    outline.append((x.end, base))
    label = " / ".join(map(_figure, (figures.p50, figures.p90, figures.p99)))
    median, tail = min(x(figures.p50), x.end), min(x(figures.p90), x.end)
    return [
        path(outline, "bars", closed=True),
        line(x.start, base, x.end, base, "axis"),
        tag("path", d=f"M{median:.1f} {base - _BARS - 2:.1f}V{base + 2:.1f}", class_="median"),
        tag("path", d=f"M{tail:.1f} {base - _BARS - 2:.1f}V{base + 2:.1f}", class_="tail"),
        text(_LEFT, top + 13, group, kind="name"),
        text(WIDTH - _RIGHT, top + 13, label, anchor="end", kind="figures"),
    ]


_HEIGHT = 120
_MARKS, _AXES = 36, 30
"""Room for the counts on the left and the times below a timeline, in user units."""


def timeline(name: str, counts: Sequence[int], seconds: float, kind: str) -> Markup:
    """Draw counts of something in equal intervals of a run; `kind` is a CSS class."""
    most = max(counts, default=0)
    y = Scale(0, max(most, 1), _HEIGHT - _AXES, _RIGHT)
    factor, unit = _unit(seconds)
    x = Scale(0, seconds / factor, _MARKS, WIDTH - _RIGHT)
    parts = [line(_MARKS, y(0), WIDTH - _RIGHT, y(0), "axis")]
    for mark in ticks(max(most, 1), 3):
        if mark == int(mark):
            parts.append(line(_MARKS, y(mark), WIDTH - _RIGHT, y(mark), "grid"))
            parts.append(text(_MARKS - 6, y(mark) + 4, f"{mark:,.0f}", anchor="end"))
    for mark in ticks(seconds / factor, 5):
        anchor = "end" if x(mark) > WIDTH - 24 else "middle"
        parts.append(text(x(mark), _HEIGHT - _AXES + 15, f"{mark:g}", anchor=anchor))
    parts.append(text(WIDTH - _RIGHT, _HEIGHT - 2, f"{unit} since the start", anchor="end"))
    width = (WIDTH - _RIGHT - _MARKS) / max(len(counts), 1)
    for index, count in enumerate(counts):
        if count:
            top = y(count)
            bar = {"x": _MARKS + index * width, "y": top, "height": y(0) - top}
            parts.append(tag("rect", **bar, width=max(width - 0.6, 0.8), class_=kind))
    return chart(_HEIGHT, f"{name} over time: {sum(counts):,} in total", *parts)


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 180:
        return 1.0, "seconds"
    return (60.0, "minutes") if seconds < 3 * 3600 else (3600.0, "hours")
