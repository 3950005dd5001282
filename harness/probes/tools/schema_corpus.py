"""Valid function definitions that have broken chat templates, parsers or grammars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.api.base import Tool
from harness.probes.tools.offers import WEATHER, schema

_TEXT = {"type": "string"}
_PLACE = {"type": "string", "description": "City, region or postal code"}
_LOCATED = {"location": _PLACE}


@dataclass(frozen=True)
class Definition:
    """One function definition, and its special feature as the object of a sentence.

    `source` is an issue about servers that failed with it, or the documentation.
    """

    feature: str
    parameters: Mapping[str, Any]
    source: str = "https://json-schema.org/draft/2020-12/json-schema-validation"

    @property
    def tool(self) -> Tool:
        """The weather tool with this definition."""
        return Tool(WEATHER.name, WEATHER.description, self.parameters, WEATHER.output)


def _nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "object", "properties": {"value": _TEXT}}
    for level in range(levels):
        inner = {"type": "object", "properties": {f"level_{level}": inner}}
    return inner


def _optional(more: Mapping[str, object]) -> dict[str, Any]:
    """The schema of the weather tool with additional optional properties."""
    return schema(_LOCATED) | {"properties": _LOCATED | dict(more)}


DEFINITIONS: Mapping[str, Definition] = {
    "items_property": Definition(
        "a property named 'items'",
        _optional({"items": {"type": "array", "items": _TEXT}}),
        "https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/2180",
    ),
    "keyword_properties": Definition(
        "properties named like JSON schema keywords",
        _optional({"type": _TEXT, "properties": {"type": "object"}, "required": _TEXT,
                   "enum": _TEXT, "name": _TEXT, "description": _TEXT, "default": _TEXT}),
    ),
    "reference": Definition(
        "$ref and $defs",
        {"$defs": {"Place": _PLACE}} | schema({"location": {"$ref": "#/$defs/Place"}}),
    ),
    "any_of": Definition(
        "anyOf",
        _optional({"when": {"anyOf": [_TEXT, {"type": "integer"}, {"type": "null"}]}}),
    ),
    "all_of": Definition(
        "allOf",
        _optional({"span": {"allOf": [{"type": "object", "properties": {"from": _TEXT}},
                                      {"type": "object", "properties": {"to": _TEXT}}]}}),
    ),
    "type_list": Definition(
        "a list of types",
        _optional({"unit": {"type": ["string", "null"], "enum": ["celsius", "kelvin", None]}}),
    ),
    "deep": Definition("objects nested twelve deep", _optional({"options": _nested(12)})),
    "wide": Definition(
        "sixty parameters",
        _optional({f"option_{number}": _TEXT for number in range(1, 60)}),
    ),
    "large_enum": Definition(
        "an enum of two hundred values",
        _optional({"station": {"type": "string", "enum": [f"st-{n}" for n in range(200)]}}),
    ),
    "constraints": Definition(
        "patterns, formats and bounds",
        _optional({"code": {"type": "string", "pattern": "^[A-Z]{2}\\d+$", "minLength": 3},
                   "day": {"type": "string", "format": "date"},
                   "hours": {"type": "integer", "minimum": 1, "exclusiveMaximum": 25},
                   "tags": {"type": "array", "items": _TEXT, "uniqueItems": True}}),
    ),
    "tuple": Definition(
        "prefixItems",
        _optional({"point": {"type": "array", "prefixItems": [{"type": "number"}] * 2}}),
    ),
    "bare_array": Definition("an array without an item type",
                             _optional({"tags": {"type": "array"}})),
    "untyped": Definition("a property without a type",
                          _optional({"extra": {"description": "Anything"}, "more": {}})),
    "open": Definition(
        "additionalProperties with a schema", _optional({}) | {"additionalProperties": _TEXT}
    ),
    "no_properties": Definition("empty properties", {"type": "object", "properties": {}}),
    "no_parameters": Definition("parameters without members", {}),
    "unicode": Definition(
        "property names in other scripts", _optional({"単位": _TEXT, "größe": _TEXT, "🌡": _TEXT})
    ),
    "odd_names": Definition(
        "property names with spaces, quotes and dots",
        _optional({"wind speed": _TEXT, 'the "feel"': _TEXT, "a.b": _TEXT, "x-y": _TEXT}),
    ),
    "odd_texts": Definition(
        "descriptions with braces, comment markers and line breaks",
        _optional({"format": {"type": "string", "description":
                              "A {{template}} {% if x %} // */ `code`\n<|message|> \"quoted\""}}),
    ),
}  # fmt: skip
"""Variants of the weather tool; all but those without properties require a location."""
