"""Tools that differ in one thing about one parameter, to see whether it reaches the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.base import Tool

_TEXT: Mapping[str, Any] = {"type": "string"}
_PLACES = ("Brest", "Dover", "Ostend", "Bilbao", "Cork", "Esbjerg", "Tallinn", "Porto")
# Only after a sign does the mark of an optional parameter cost a token of its own.
_SIGNED = ("from_", "to_", "via_", "class_", "at_", "by_")
_LONG = "Name of the harbour as sailors know it, with the country in brackets where it is unclear"


def _tool(parameter: Mapping[str, Any]) -> Tool:
    return _routes({"harbour": parameter})


def _routes(parameters: Mapping[str, Any], required: Sequence[str] = ()) -> Tool:
    schema = {"type": "object", "properties": dict(parameters), "required": list(required)}
    return Tool("find_route", "Find a route.", schema, "{}")


def _alternating() -> dict[str, Any]:
    """Lists and described texts in turn: a description after a list costs a token more."""
    listed = {"type": "array", "items": _TEXT}
    described = {**_TEXT, "description": "Where to go"}
    names = ("ports", "bay", "quays", "cape", "rocks", "dock", "seas", "end")
    return {name: described if at % 2 else listed for at, name in enumerate(names)}


def _sorted(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(parameters.items()))


PLAIN = _tool(_TEXT)
FEATURES: Mapping[str, tuple[str, Tool, Tool]] = {
    "enum": ("An enum", _tool({**_TEXT, "enum": list(_PLACES)}), PLAIN),
    "description": ("A parameter's description", _tool({**_TEXT, "description": _LONG}), PLAIN),
    "default": ("A default", _tool({**_TEXT, "default": ", ".join(_PLACES)}), PLAIN),
    "nested": (
        "A nested object",
        _tool({"type": "object", "properties": dict.fromkeys(_PLACES, _TEXT)}),
        _tool({"type": "object"}),
    ),
    "optional": (
        "The mark of optional parameters",
        _routes(dict.fromkeys(_SIGNED, _TEXT)),
        _routes(dict.fromkeys(_SIGNED, _TEXT), required=_SIGNED),
    ),
    "order": ("The order of parameters", _routes(_alternating()), _routes(_sorted(_alternating()))),
    "union": ("A union of types", _tool({"type": ["string", "number", "boolean"]}), PLAIN),
}
"""What is looked for, the tool that has it, and the same tool without."""
