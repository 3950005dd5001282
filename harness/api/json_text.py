"""JSON objects in generated text. No I/O."""

import json
import re
from collections.abc import Iterator, Mapping

from harness.text import strict_json

# The number of opening braces tried as the start of an object, to bound the cost.
_MOST_STARTS = 64
_DECODER = json.JSONDecoder()
_LENIENT = json.JSONDecoder(strict=False)
_PADDING = 32  # characters of white space that follow no complete JSON by chance
_CLOSING_TAGS = re.compile(r"(?:\s|</[\w:|-]+>)+$")


def parsed_object(text: str) -> dict[str, object] | None:
    """Return the JSON object that a text encodes; None for any other text."""
    if not text.lstrip().startswith("{"):
        return None
    value = parsed_value(text)
    return value if isinstance(value, dict) else None


def parsed_value(text: str) -> object:
    """Return the value that a JSON text encodes; None for any other text."""
    try:
        value: object = strict_json(text)
    except ValueError:
        return None
    return value


def is_padded(text: str) -> bool:
    """Whether a text is a JSON object and much white space after it."""
    return len(text) - len(text.rstrip()) >= _PADDING and parsed_object(text.strip()) is not None


def is_doubled(text: str) -> bool:
    """Whether a text is the same JSON object twice."""
    first = text[: len(text) // 2].strip()
    return first == text[len(text) // 2 :].strip() and parsed_object(first) is not None


def leaves(value: object) -> Iterator[object]:
    """Yield the texts, numbers, booleans and nulls in a JSON value, in order."""
    if isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from leaves(inner)
    else:
        yield value


def strings(value: object) -> Iterator[str]:
    """Return the texts in a JSON value, in order."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, str))


def ends_early(text: str) -> bool:
    """Whether a text is an unfinished JSON object."""
    text = text.strip()
    try:
        _LENIENT.decode(text)
    except json.JSONDecodeError as error:
        unfinished = error.pos >= len(text) or error.msg.startswith("Unterminated string")
        return text.startswith("{") and unfinished
    except (ValueError, RecursionError):
        return False
    return False


def trailing_object(text: str) -> dict[str, object] | None:
    """The JSON object at the end of a text, before closing tags; None if the end is not one."""
    text = text.rstrip()
    if text.endswith(">"):
        text = _CLOSING_TAGS.sub("", text)
    if not text.endswith("}"):
        return None
    start = text.find("{")
    for _ in range(_MOST_STARTS):
        if start < 0:
            return None
        parsed = parsed_object(text[start:])
        if parsed is not None:
            return parsed
        start = text.find("{", start + 1)
    return None


def objects_in(text: str) -> Iterator[dict[str, object]]:
    """Yield the JSON objects in a text, outermost first."""
    start = text.find("{")
    for _ in range(_MOST_STARTS):
        if start < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            value, end = None, start + 1
        if isinstance(value, dict):
            yield value
        start = text.find("{", end)
