"""Rates from 0 to 100% with their intervals: by tries, by reasoning effort, and over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup

from harness.records.scores import Estimate
from harness.text import percentage
from reports.html.charts.svg import WIDTH, Scale, chart, line, path, rates_grid, tag, text

_HEIGHT = 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 18, 30
_DATES = 4
_WORD = 56  # least distance between the names of two changes, in user units


@dataclass(frozen=True)
class Moment:
    """One run: its time, the measured value, and what changed since the previous run.

    `seconds` is since the epoch; `value` is None if the run does not have the measure. `changed`
    names in one word what changed; it is empty if nothing did.
    """

    seconds: float
    value: Estimate | None
    complete: bool
    changed: str
    after_gap: bool


def over_time(name: str, moments: Sequence[Moment]) -> Markup:
    """Draw one measure: shaded gaps, dashed lines at changes, hollow unfinished runs."""
    times = [one.seconds for one in moments]
    margin = max(1.0, (times[-1] - times[0]) * 0.03)
    x = Scale(times[0] - margin, times[-1] + margin, _LEFT, WIDTH - _RIGHT)
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        *_gaps(moments, x),
        *rates_grid(y, _LEFT, WIDTH - _RIGHT),
        *_dates(times, x),
        *_changes(moments, x),
    ]
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
    """Yield lines at changes; a name that would overlap the last one is left out."""
    free = 0.0
    for before, after in pairwise(moments):
        if after.changed:
            at = x((before.seconds + after.seconds) / 2)
            yield line(at, _TOP, at, _HEIGHT - _BOTTOM, "changed-line")
            if at >= free:
                yield text(at, _TOP - 5, after.changed, anchor="middle", kind="warning")
                free = at + _WORD


def _lines(moments: Sequence[Moment], x: Scale, y: Scale) -> Iterator[Markup]:
    measured = [(one, one.value) for one in moments if one.value is not None]
    for before, after in pairwise(measured):
        ends = [(x(one.seconds), y(_clipped(value))) for one, value in (before, after)]
        yield path(ends, "curve first away" if after[0].after_gap else "curve first")


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


@dataclass(frozen=True)
class EffortScore:
    """A score at one effort, the range of its baseline, and the baseline minus the margin."""

    effort: str
    score: Estimate
    baseline: tuple[float, float] | None
    lowest: float | None


def score_chart(name: str, scores: Sequence[EffortScore]) -> Markup:
    """Draw scores by effort; grey: figures of the baseline, dotted: baseline minus margin."""
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = rates_grid(y, _LEFT, WIDTH - _RIGHT)
    step = (WIDTH - _LEFT - _RIGHT) / len(scores)
    for index, one in enumerate(scores):
        parts += _score(one, _LEFT + step * (index + 0.5), y)
    summary = "; ".join(f"{one.effort} effort {percentage(one.score.value)}" for one in scores)
    return chart(_HEIGHT, f"{name}: {summary}", *parts)


def _score(one: EffortScore, x: float, y: Scale) -> list[Markup]:
    score = one.score
    parts = []
    if one.baseline is not None:
        low, high = one.baseline
        top, bottom = y(min(1.0, high)) - 1, y(max(0.0, low)) + 1
        band = {"x": x - _HALF, "y": top, "width": 2 * _HALF, "height": bottom - top}
        parts.append(tag("rect", **band, class_="reference"))
    if one.lowest is not None:
        parts.append(line(x - _HALF, y(one.lowest), x + _HALF, y(one.lowest), "required"))
    parts += [
        line(x, y(max(0.0, score.low)), x, y(min(1.0, score.high)), "interval"),
        tag("circle", cx=x, cy=y(max(0.0, score.value)), r=4, class_="dot first"),
        text(x + _HALF + 5, y(score.value) + 4, percentage(score.value), kind="name first"),
        text(x, _HEIGHT - _BOTTOM + 18, one.effort, anchor="middle"),
    ]
    return parts
