"""Scores by reasoning effort, compared with their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records.scores import Estimate
from reports.html.charts.svg import WIDTH, Scale, chart, line, rates_grid, tag, text

_HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 16, 28
_HALF = 30
"""Half the width of the band of a baseline, in user units."""


@dataclass(frozen=True)
class EffortScore:
    """A score at one effort. `baseline` is the range of the figures of its baseline, `lowest` the
    baseline less the margin.
    """

    effort: str
    score: Estimate
    baseline: tuple[float, float] | None
    lowest: float | None


def score_chart(name: str, scores: Sequence[EffortScore]) -> Markup:
    """Draw the scores of one eval.

    A grey band is the range of the figures of the baseline. The dotted line is the baseline less
    the margin.

    Args:
        name: The eval.
        scores: One score for each effort.
    """
    y = Scale(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = rates_grid(y, _LEFT, WIDTH - _RIGHT)
    step = (WIDTH - _LEFT - _RIGHT) / len(scores)
    for index, each in enumerate(scores):
        parts += _score(each, _LEFT + step * (index + 0.5), y)
    summary = "; ".join(f"{each.effort} effort {each.score.value:.1%}" for each in scores)
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
        text(x + _HALF + 5, y(score.value) + 4, f"{score.value * 100:.1f}%", kind="name first"),
        text(x, _HEIGHT - _BOTTOM + 18, one.effort, anchor="middle"),
    ]
    return parts
