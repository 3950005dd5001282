"""Texts cut to what a page has room for. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.text.plain import plain

LONGEST_TEXT = 6_000
LONGEST_RAW = 4_000
LONGEST_EVENT = 800


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text with its middle left out where it is too long, and every character printable.

    What does not print, or turns the direction of a line, is shown as an escape.
    """
    if len(text) <= longest:
        return _printable(text)
    tail = longest // 4
    head = longest - tail
    note = f"\n… {len(text) - longest:,} characters are left out here …\n"
    return _printable(text[:head]) + note + _printable(text[-tail:])


def pretty(value: Mapping[str, Any]) -> str:
    """A JSON object with one member a line, cut where it is too long."""
    try:
        return shown(json.dumps(value, ensure_ascii=False, indent=1), LONGEST_RAW)
    except (ValueError, RecursionError):
        return "(nested too deeply to be shown)"


def pretty_text(text: str) -> str:
    """Text that may be a JSON object, as such; cut where it is too long."""
    if len(text) <= LONGEST_RAW:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return shown(text, LONGEST_RAW)
        if isinstance(value, dict):
            return pretty(value)
    return shown(text, LONGEST_RAW)


def _printable(text: str) -> str:
    return text if text.replace("\n", "").isprintable() else plain(text.replace("\r\n", "\n"))
