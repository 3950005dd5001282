"""Accuracy by reasoning effort beside the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.scores import Estimate
from reports.html.charts.svg import WIDTH, Scale, chart, line, tag, text

_HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 16, 28
_HALF = 30
"""Half the width of a baseline's band, in user units."""


@dataclass(frozen=True)
class Effort:
    """A score at one effort, and the range of the figures that it is held to, if any."""

    effort: str
    score: Estimate
    baseline: tuple[float, float] | None
    lowest: float | None


def efforts(name: str, found: Sequence[Effort]) -> Markup:
    """The chart of one eval of one model.

    A grey band is the range of the baseline's figures, the dotted line below it what a score may
    not be under: the baseline less the margin.

    Args:
        name: The eval and the model.
        found: One for each effort.
    """
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line(_LEFT, y(share), WIDTH - _RIGHT, y(share), "grid"))
        parts.append(text(_LEFT - 6, y(share) + 4, f"{share:.0%}", anchor="end"))
    step = (WIDTH - _LEFT - _RIGHT) / len(found)
    for index, one in enumerate(found):
        parts += _drawn(one, _LEFT + step * (index + 0.5), y)
    said = "; ".join(f"{one.effort} effort {one.score.value:.1%}" for one in found)
    return chart(_HEIGHT, f"{name}: {said}", *parts)


def _drawn(one: Effort, x: float, y: Scale) -> list[Markup]:
    score = one.score
    parts = []
    if one.baseline is not None:
        low, high = one.baseline
        top, bottom = y(min(1.0, high)) - 1, y(max(0.0, low)) + 1
        parts.append(
            tag(
                "rect",
                x=x - _HALF,
                y=top,
                width=2 * _HALF,
                height=bottom - top,
                class_="reference",
            )
        )
    if one.lowest is not None:
        parts.append(line(x - _HALF, y(one.lowest), x + _HALF, y(one.lowest), "asked"))
    parts += [
        line(x, y(max(0.0, score.low)), x, y(min(1.0, score.high)), "interval"),
        tag("circle", cx=x, cy=y(max(0.0, score.value)), r=4, class_="dot first"),
        text(x + _HALF + 5, y(score.value) + 4, f"{score.value * 100:.1f}%", kind="name first"),
        text(x, _HEIGHT - _BOTTOM + 18, one.effort, anchor="middle"),
    ]
    return parts
