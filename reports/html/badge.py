"""The badge of a verdict: an SVG file that needs no fonts or requests of others."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records.analysis import Decision
from reports.html.charts.svg import tag
from reports.text import VERDICTS

_COLOURS: Mapping[Decision | None, str] = {
    "pass": "#006b50",
    "fail": "#a63a00",
    "inconclusive": "#6b5000",
    None: "#00558a",
}
"""Contrast with white of at least 4.5 to 1, as WCAG 2.2 requires of text."""
_LABEL = "gpt-oss"
_CHARACTER = 6.6
"""Width of a character in pixels; `textLength` fits the text to it in every font."""
_PADDING = 6.0


def badge(decision: Decision | None, date: str, seal: str | None) -> str:
    """A badge such as `gpt-oss | PASS 2026-11-21 · 70d441136da50ec4`.

    Args:
        decision: The decision of the gate.
        date: The day of the run.
        seal: The short seal of the run; its first 16 digits are shown, which `audit --seal` needs.
    """
    verdict = f"{VERDICTS[decision]} {date}" + (f" · {seal[:16]}" if seal else "")
    left, right = (len(each) * _CHARACTER + 2 * _PADDING for each in (_LABEL, verdict))
    return str(
        tag(
            "svg",
            tag("title", f"{_LABEL}: {verdict}"),
            tag("rect", width=left, height=20, fill="#2b2f33"),
            tag("rect", x=left, width=right, height=20, fill=_COLOURS[decision]),
            _text(_LABEL, _PADDING),
            _text(verdict, left + _PADDING),
            xmlns="http://www.w3.org/2000/svg",
            width=f"{left + right:.1f}",
            height=20,
            role="img",
            aria_label=f"{_LABEL}: {verdict}",
        )
    )


def _text(content: str, x: float) -> str:
    return tag(
        "text",
        content,
        x=f"{x:.1f}",
        y=14,
        textLength=f"{len(content) * _CHARACTER:.1f}",
        fill="#ffffff",
        font_family="Verdana, DejaVu Sans, sans-serif",
        font_size=11,
    )
