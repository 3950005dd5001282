"""Long texts, trimmed for a page. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.text import plain

LONGEST_TEXT = 6_000
LONGEST_RAW = 4_000
LONGEST_EVENT = 800


def trimmed(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without its middle if it is too long, with unprintable characters escaped."""
    if len(text) <= longest:
        return _printable(text)
    tail = longest // 4
    head = longest - tail
    note = f"\n… {len(text) - longest:,} characters omitted …\n"
    return _printable(text[:head]) + note + _printable(text[-tail:])


def pretty(value: Mapping[str, Any]) -> str:
    """A JSON object with one member per line, trimmed if it is too long."""
    try:
        return trimmed(json.dumps(value, ensure_ascii=False, indent=1), LONGEST_RAW)
    except (ValueError, RecursionError):
        return "(nested too deeply to show)"


def pretty_text(text: str) -> str:
    """Text, formatted as JSON if it is a JSON object, and trimmed if it is too long."""
    if len(text) <= LONGEST_RAW:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return trimmed(text, LONGEST_RAW)
        if isinstance(value, dict):
            return pretty(value)
    return trimmed(text, LONGEST_RAW)


def _printable(text: str) -> str:
    return text if text.replace("\n", "").isprintable() else plain(text.replace("\r\n", "\n"))
