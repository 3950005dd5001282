"""JSON objects in generated text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema.exceptions import UnknownType
from referencing.exceptions import Unresolvable

from harness.api.base import Tool
from harness.api.tools import schema_problem
from harness.text import strict_json

# The number of opening braces tried as the start of a trailing object, to bound the cost.
_MOST_STARTS = 32


def parsed_object(text: str) -> dict[str, object] | None:
    """The JSON object that a text encodes; None for any other text."""
    value = parsed_value(text)
    return value if isinstance(value, dict) else None


def parsed_string(text: str) -> str | None:
    """The string that a JSON text encodes; None for any other text."""
    value = parsed_value(text)
    return value if isinstance(value, str) else None


def parsed_value(text: str) -> object:
    """The value that a JSON text encodes; None for any other text."""
    try:
        value: object = strict_json(text)
    except ValueError:
        return None
    return value


def trailing_object(text: str) -> dict[str, object] | None:
    """The JSON object at the end of a text; None without one."""
    text = text.rstrip()
    if not text.endswith("}"):
        return None
    start = text.find("{")
    for _ in range(_MOST_STARTS):
        if start < 0:
            return None
        found = parsed_object(text[start:])
        if found is not None:
            return found
        start = text.find("{", start + 1)
    return None


def misfit(value: object, schema: Mapping[str, Any]) -> str | None:
    """Why a value violates a schema. None if it conforms or the schema itself is invalid."""
    try:
        return schema_problem(value, Tool("", "", schema, ""))
    except (Unresolvable, UnknownType, TypeError, re.error):
        return None
