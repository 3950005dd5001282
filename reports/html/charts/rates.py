"""Rates from 0 to 100% with their intervals: by tries, by reasoning effort, and over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup

from harness.compare.history import HistoryPoint
from harness.records.analysis import TaskResult
from harness.records.figures import BaselineVerdict
from harness.records.scores import Estimate
from harness.text import percentage
from reports.html.charts.svg import WIDTH, Scale, chart, line, path, rates_grid, tag, text

_HEIGHT = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 18, 30
_DATES = 4
_WORD = 56  # least distance between the names of two changes, in user units


Placed = tuple[float, HistoryPoint, Estimate | None]  # a run at its position on the x axis


def over_time(
    name: str, points: Sequence[HistoryPoint], values: Sequence[Estimate | None]
) -> Markup:
    """Draw a measure of every run: shaded gaps, dashed lines at changes, hollow unfinished runs."""
    times = [datetime.fromisoformat(point.started_at).timestamp() for point in points]
    margin = max(1.0, (times[-1] - times[0]) * 0.03)
    x = Scale(times[0] - margin, times[-1] + margin, _LEFT, WIDTH - _RIGHT)
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    placed = list(zip(map(x, times), points, values, strict=True))
    parts = [
        *_gaps(placed),
        *rates_grid(y, _LEFT, WIDTH - _RIGHT),
        *_dates(times, x),
        *_changes(placed),
        *_lines(placed, y),
        *(part for run in placed for part in _point(*run, y)),
    ]
    return chart(_HEIGHT, f"{name}: {_summary(values)}", *parts)


def _gaps(placed: Sequence[Placed]) -> Iterator[Markup]:
    for (before, *_), (after, point, _) in pairwise(placed):
        if point.gap_days is not None:
            width, height = max(1.0, after - before - 8), _HEIGHT - _BOTTOM - _TOP
            yield tag("rect", x=before + 4, y=_TOP, width=width, height=height, class_="gap")


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


def _changes(placed: Sequence[Placed]) -> Iterator[Markup]:
    """Yield lines at changed settings; a name that would overlap the last one is left out."""
    free = 0.0
    for (before, *_), (after, point, _) in pairwise(placed):
        if point.changed:
            at = (before + after) / 2
            yield line(at, _TOP, at, _HEIGHT - _BOTTOM, "changed-line")
            if at >= free:
                yield text(at, _TOP - 5, "settings", anchor="middle", kind="warning")
                free = at + _WORD


def _lines(placed: Sequence[Placed], y: Scale) -> Iterator[Markup]:
    measured = [(at, point, value) for at, point, value in placed if value is not None]
    for (start, _, before), (end, point, after) in pairwise(measured):
        ends = [(start, y(_clipped(before))), (end, y(_clipped(after)))]
        yield path(ends, "curve first" if point.gap_days is None else "curve first away")


def _point(at: float, point: HistoryPoint, value: Estimate | None, y: Scale) -> Iterator[Markup]:
    if value is not None:
        look = "dot first" if point.complete else "dot unfinished"
        low, high = y(max(0.0, value.low)), y(min(1.0, value.high))
        yield line(at, low, at, high, "interval thin")
        yield tag("circle", cx=at, cy=y(_clipped(value)), r=3.5, class_=look)


def _clipped(value: Estimate) -> float:
    return min(1.0, max(0.0, value.value))


def _summary(values: Sequence[Estimate | None]) -> str:
    measured = [value.value for value in values if value is not None]
    if not measured:
        return "nothing measured"
    return f"{len(measured)} points, from {percentage(measured[0])} to {percentage(measured[-1])}"


_LABELS = 92  # width of the names at the ends of curves, in user units
_LEAST_GAP = 13  # the least distance between two labels at the end of curves, in user units


@dataclass(frozen=True)
class Curve:
    """One rate over k; `kind` is its CSS class: `first`, `second` or `third`."""

    label: str
    kind: str
    points: Sequence[tuple[int, Estimate]]


def curves(name: str, drawn: Sequence[Curve], required: Sequence[float]) -> Markup:
    """Draw the curves of one condition, which end at the same k; thin lines are required rates."""
    most = max(k for curve in drawn for k, _ in curve.points)
    x = Scale(min(1, most), max(most, 2), _LEFT, WIDTH - _LABELS)
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    summary = "; ".join(
        f"{curve.label.replace('k', str(k))} {percentage(rate.value)}"
        for curve in drawn
        for k, rate in curve.points[-1:]
    )
    parts = [*_curve_grid(x, y, sorted({k for curve in drawn for k, _ in curve.points}))]
    parts += [
        line(_LEFT, y(rate), WIDTH - _LABELS, y(rate), "required") for rate in sorted(set(required))
    ]
    for curve in drawn:
        parts += _curve(curve, x, y)
    return chart(_HEIGHT, f"{name}: {summary}", *parts, *_curve_names(drawn, x, y))


def _curve_grid(x: Scale, y: Scale, ks: Sequence[int]) -> list[Markup]:
    parts = rates_grid(y, _LEFT, WIDTH - _LABELS)
    shown = ks[:: max(1, len(ks) // 8)]
    parts += [text(x(k), _HEIGHT - _BOTTOM + 16, str(k), anchor="middle") for k in shown]
    parts.append(text(WIDTH - _LABELS, _HEIGHT - 2, "k tries", anchor="end"))
    return parts


def _curve(curve: Curve, x: Scale, y: Scale) -> list[Markup]:
    highs = [(x(k), y(rate.high)) for k, rate in curve.points]
    lows = [(x(k), y(rate.low)) for k, rate in reversed(curve.points)]
    means = [(x(k), y(rate.value)) for k, rate in curve.points]
    if len(means) == 1:
        (place, high), (_, low) = highs[0], lows[0]
        band = line(place, high, place, low, f"whisker {curve.kind}")
    else:
        band = path([*highs, *lows], f"band {curve.kind}", closed=True)
    dots = [tag("circle", cx=a, cy=b, r=2.5, class_=f"dot {curve.kind}") for a, b in means]
    return [band, path(means, f"curve {curve.kind}"), *dots]


def _curve_names(drawn: Sequence[Curve], x: Scale, y: Scale) -> list[Markup]:
    """Draw names and last values at the ends of the curves, spaced so that they do not overlap."""
    ends = sorted(
        ((y(curve.points[-1][1].value), curve) for curve in drawn), key=lambda end: end[0]
    )
    parts, lowest = [], -float(_LEAST_GAP)
    for height, curve in ends:
        at = max(height + 4, lowest + _LEAST_GAP)
        value = curve.points[-1][1].value
        end = x(curve.points[-1][0]) + 8
        parts.append(
            text(end, at, f"{curve.label} {percentage(value, 0)}", kind=f"name {curve.kind}")
        )
        lowest = at
    return parts


_HALF = 30  # half the width of the band of a baseline, in user units


def score_chart(name: str, results: Sequence[TaskResult]) -> Markup:
    """Draw the scores of an eval by effort.

    The grey band has the figures of the baseline; the dotted line is the baseline minus margin.
    """
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = rates_grid(y, _LEFT, WIDTH - _RIGHT)
    step = (WIDTH - _LEFT - _RIGHT) / len(results)
    scores = []
    for index, result in enumerate(results):
        if result.score is not None:
            effort, score = result.condition.effort or "default", result.score.estimate
            scores.append(f"{effort} effort {percentage(score.value)}")
            x = _LEFT + step * (index + 0.5)
            parts += [*_reference(result.baseline, x, y), *_score(effort, score, x, y)]
    return chart(_HEIGHT, f"{name}: {'; '.join(scores)}", *parts)


def _reference(verdict: BaselineVerdict | None, x: float, y: Scale) -> Iterator[Markup]:
    if verdict is not None and (baseline := verdict.baseline) is not None:
        top, bottom = y(min(1.0, baseline.high)) - 1, y(max(0.0, baseline.low)) + 1
        band = {"x": x - _HALF, "y": top, "width": 2 * _HALF, "height": bottom - top}
        yield tag("rect", **band, class_="reference")
    if verdict is not None and (compared := verdict.comparison) is not None:
        lowest = y(compared.baseline - compared.margin)
        yield line(x - _HALF, lowest, x + _HALF, lowest, "required")


def _score(effort: str, score: Estimate, x: float, y: Scale) -> list[Markup]:
    return [
        line(x, y(max(0.0, score.low)), x, y(min(1.0, score.high)), "interval"),
        tag("circle", cx=x, cy=y(max(0.0, score.value)), r=4, class_="dot first"),
        text(x + _HALF + 5, y(score.value) + 4, percentage(score.value), kind="name first"),
        text(x, _HEIGHT - _BOTTOM + 18, effort, anchor="middle"),
    ]
