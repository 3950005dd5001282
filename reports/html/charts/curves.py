"""pass@k and pass^k of one condition over k, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.scores import Estimate
from reports.html.charts.svg import WIDTH, Scale, chart, line, path, rates_grid, tag, text

_HEIGHT = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 92, 14, 30
_LEAST_GAP = 13
"""The least distance between two labels at the end of curves, in user units."""


@dataclass(frozen=True)
class Curve:
    """One rate over k; `kind` is its CSS class: `first`, `second` or `third`."""

    label: str
    kind: str
    points: Sequence[tuple[int, Estimate]]


def curves(name: str, drawn: Sequence[Curve], required: Sequence[float] = ()) -> Markup:
    """Draw the curves of one condition.

    Args:
        name: The task and condition.
        drawn: The curves; all have a point at the largest k.
        required: Rates that must be exceeded, drawn as thin lines.
    """
    most = max(k for curve in drawn for k, _ in curve.points)
    x = Scale(min(1, most), max(most, 2), _LEFT, WIDTH - _RIGHT)
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    summary = "; ".join(
        f"{curve.label.replace('k', str(curve.points[-1][0]))} {curve.points[-1][1].value:.1%}"
        for curve in drawn
    )
    parts = [*_grid(x, y, sorted({k for curve in drawn for k, _ in curve.points}))]
    parts += [
        line(_LEFT, y(rate), WIDTH - _RIGHT, y(rate), "required") for rate in sorted(set(required))
    ]
    for curve in drawn:
        parts += _drawn(curve, x, y)
    return chart(_HEIGHT, f"{name}: {summary}", *parts, *_labels(drawn, x, y))


def _grid(x: Scale, y: Scale, ks: Sequence[int]) -> list[Markup]:
    parts = rates_grid(y, _LEFT, WIDTH - _RIGHT)
    shown = ks[:: max(1, len(ks) // 8)]
    parts += [text(x(k), _HEIGHT - _BOTTOM + 16, str(k), anchor="middle") for k in shown]
    parts.append(text(WIDTH - _RIGHT, _HEIGHT - 2, "k tries", anchor="end"))
    return parts


def _drawn(curve: Curve, x: Scale, y: Scale) -> list[Markup]:
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


def _labels(drawn: Sequence[Curve], x: Scale, y: Scale) -> list[Markup]:
    """Names and last values at the ends of the curves, spaced so that they do not overlap."""
    ends = sorted(
        ((y(curve.points[-1][1].value), curve) for curve in drawn), key=lambda end: end[0]
    )
    parts, lowest = [], -float(_LEAST_GAP)
    for height, curve in ends:
        at = max(height + 4, lowest + _LEAST_GAP)
        value = curve.points[-1][1].value
        end = x(curve.points[-1][0]) + 8
        parts.append(text(end, at, f"{curve.label} {value * 100:.0f}%", kind=f"name {curve.kind}"))
        lowest = at
    return parts
