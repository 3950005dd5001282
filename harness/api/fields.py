"""Read fields of a provider's JSON: ignore unknown fields, validate the ones that are used."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import orjson

from harness.api.items import UnreadableReplyError, Usage

T = TypeVar("T")

NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
LONGEST_QUOTE = 80
_BEFORE, _AFTER = 24, 16  # characters that are shown around what is not JSON in a long text
DEEPEST = 100
GZIP = "\x1f\N{REPLACEMENT CHARACTER}\x08"  # how a gzip header is recorded, see RFC 1952


def read_object(text: str) -> tuple[dict[str, Any] | None, str | None]:
    """The JSON object that a text encodes, and why it cannot be read as a reply or a part of one.

    The object is None if the text encodes anything else or is nested too deeply to report. JSON
    that only Python accepts, such as NaN, is an object that cannot be read; so is an error.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if text.startswith(GZIP):
            return None, "is compressed once more than its Content-Encoding says"
        near = text[max(0, error.pos - _BEFORE) : error.pos + _AFTER]
        at = f", at {near!r}" if error.pos > LONGEST_QUOTE - _AFTER else ""
        return _lenient_object(text), f"is not JSON ({error}{at}): {quoted(text)}"
    if not isinstance(value, dict):
        return None, f"should be a JSON object: {quoted(text)}"
    if _is_too_deep(text, value):
        return None, f"is nested deeper than {DEEPEST} levels"
    if reported := reported_error(value, text):
        return value, f"is an error: {error_message(reported)}"
    return value, None


def reported_error(value: Mapping[str, Any], text: str) -> object:
    """Return the error that a body or an event reports instead of output; None without an error.

    Gateways put the error in a choice, or send only the finish reason `error`. `text` encodes the
    value; most texts are ruled out by a search.
    """
    if '"error"' not in text:
        return None
    if value.get("error") or value.get("object") == "error":
        return value.get("error") or value
    choices = objects(value.get("choices"))
    for choice in choices:
        if choice.get("error") or choice.get("finish_reason") == "error":
            error = choice.get("error") or "a choice has the finish_reason error"
            number = f"choice {choice.get('index')} of {len(choices)} failed"
            return error if len(choices) == 1 else f"{number}: {error_message(error)}"
    return None


_OF_FAILURES = (
    *("message", "detail", "reason", "error", "errors", "last_error", "status_details"),
    *("incomplete_details", "response", "choices", "code"),
)
"""The members in which servers put the reason of a failure, the most telling first."""


def failure_reason(value: object) -> str:
    """Return what an event that reports a failure says, wherever it says it; empty if nothing."""
    if isinstance(value, str):
        return value
    inner = [value.get(name) for name in _OF_FAILURES] if isinstance(value, dict) else value
    said = map(failure_reason, inner if isinstance(inner, list) else ())
    return next(filter(None, said), "")


def json_object(text: str) -> Mapping[str, Any] | None:
    """Parse a JSON object. None for any other text, and for objects nested too deeply to report."""
    return read_object(text)[0]


def member(value: Mapping[str, Any], key: str, kind: type[T], path: str) -> T:
    """Return the required field `value[key]` of type `kind`. Raises UnreadableReplyError."""
    given = optional_member(value, key, kind, path)
    if given is None:
        problem = "is null" if key in value else "is missing"
        raise UnreadableReplyError(f"{_join(path, key)} {problem}, expected {NAMES[kind]}")
    return given


def optional_member(value: Mapping[str, Any], key: str, kind: type[T], path: str) -> T | None:
    """`value[key]`, or None if it is missing or null. Raises UnreadableReplyError."""
    given: T | None = value.get(key)
    if given is None or type(given) is kind:
        return given
    raise UnreadableReplyError(
        f"{_join(path, key)} should be {NAMES[kind]}, but is {NAMES[type(given)]}"
    )


def objects_at(value: Mapping[str, Any], key: str, path: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of the list `value[key]`, each with its path; [] if it is missing or null."""
    items = optional_member(value, key, list, path)
    if not items:
        return []
    placed = []
    for index, item in enumerate(items):
        place = f"{_join(path, key)}[{index}]"
        if not isinstance(item, dict):
            raise UnreadableReplyError(f"{place} should be an object, but is {NAMES[type(item)]}")
        placed.append((place, item))
    return placed


def too_deep(value: object) -> bool:
    """Whether JSON has more than `DEEPEST` levels, too many to be written and read back."""
    layer = [value]
    for _ in range(DEEPEST):
        layer = [inner for outer in layer for inner in _children(outer)]
        if not layer:
            return False
    return True


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the JSON objects in a list; empty if `value` is not a list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def nested(value: object, *keys: str) -> object:
    """Return the member at this path of keys; None if it is missing, or something on the way is."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def error_message(error: object) -> str:
    """Return the message of an OpenAI-style error object, or an excerpt of any other value."""
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) else quoted(orjson.dumps(error).decode())


def read_usage(value: Mapping[str, Any], *, prompt: str, completion: str) -> Usage | None:
    """Return the usage of a reply, given the API's names for tokens; a non-integer count is None.

    SGLang reports reasoning tokens alongside the other counts, without details.
    """
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    reasoning = nested(usage, f"{completion}_tokens_details", "reasoning_tokens")
    if reasoning is None:
        reasoning = usage.get("reasoning_tokens")
    return Usage(
        input_tokens=_count(usage.get(f"{prompt}_tokens")),
        output_tokens=_count(usage.get(f"{completion}_tokens")),
        reasoning_tokens=_count(reasoning),
        total_tokens=_count(usage.get("total_tokens")),
        cached_tokens=_count(nested(usage, f"{prompt}_tokens_details", "cached_tokens")),
    )


def both_ends(text: str, most: int = 270) -> str:
    """Shorten a text to a third of `most` characters from its beginning and the rest from its end.

    By default, a report has room for it. The first words of a long error are often where it
    occurred, and the last ones why.
    """
    first = most // 3
    return text if len(text) <= most else f"{text[:first]} … {text[first - most :]}"


def quoted(text: str) -> str:
    """Return the beginning of a text, quoted."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…")


def _lenient_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _is_too_deep(text, value) else None


def _is_too_deep(text: str, value: object) -> bool:
    return text.count("[") + text.count("{") > DEEPEST and too_deep(value)


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and not path.endswith(" ") else path + key
