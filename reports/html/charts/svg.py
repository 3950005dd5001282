"""SVG elements, and the scales and figures of charts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.text import percentage, plain

WIDTH = 360  # width of every chart in user units, about the width of a phone in pixels


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element. Children that are not markup are escaped; `class_` becomes `class`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    inner = Markup().join(
        child if isinstance(child, Markup) else escape(plain(child)) for child in children
    )
    return Markup(f"<{name}{written}>") + inner + Markup(f"</{name}>")  # noqa: S704


def chart(height: float, label: str, *children: Markup) -> Markup:
    """Return a drawing with a label for screen readers."""
    box = f"0 0 {WIDTH} {height:g}"
    return tag("svg", *children, viewBox=box, role="img", aria_label=label, class_="chart")


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> Markup:
    """Return one line of text."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def path(points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> Markup:
    """Return a line through points; if closed, the area that they enclose."""
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return tag("path", d=f"M{drawn}{'Z' if closed else ''}", class_=kind)


@dataclass(frozen=True)
class Scale:
    """A linear map from values to user units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def rates_grid(y: Scale, left: float, right: float) -> list[Markup]:
    """Return the grid lines and labels from 0% to 100%."""
    return [
        part
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        for part in (
            line(left, y(share), right, y(share), "grid"),
            text(left - 6, y(share) + 4, percentage(share, 0), anchor="end"),
        )
    ]


def ticks(high: float, most: int = 5) -> list[float]:
    """Round values from 0 to at most `high`: steps of 1, 2 or 5 times a power of ten."""
    if high <= 0:
        return [0.0]
    rough = high / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [round(step * number, 9) for number in range(int(high / step * 1.0001) + 1)]


def _value(value: str | float) -> str:
    return str(escape(plain(value))) if isinstance(value, str) else f"{round(value, 1):g}"


@dataclass(frozen=True)
class Figure:
    """A chart with its title and the unit of its axis."""

    title: str
    drawing: Markup
    unit: str = ""
