"""Reading JSON that others wrote: lenient about what is extra, exact about what is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import orjson

from harness.api.base import UnreadableReplyError, Usage
from harness.api.sse import Event, events
from harness.records.rollouts import Exchange, Response

T = TypeVar("T")

NAMES: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
EXCERPT = 80
DEEPEST = 100


def member(value: Mapping[str, Any], key: str, kind: type[T], path: str) -> T:
    """`value[key]`, which must be there and of `kind`, or UnreadableReplyError with its path."""
    found = optional_member(value, key, kind, path)
    if found is None:
        problem = "is null" if key in value else "is missing"
        raise UnreadableReplyError(f"{_join(path, key)} {problem}, {NAMES[kind]} is needed")
    return found


def optional_member(value: Mapping[str, Any], key: str, kind: type[T], path: str) -> T | None:
    """`value[key]` or None if it is missing or null; anything else but `kind` is unreadable."""
    found: T | None = value.get(key)
    if found is None or type(found) is kind:
        return found
    raise UnreadableReplyError(
        f"{_join(path, key)} should be {NAMES[kind]}, but is {NAMES[type(found)]}"
    )


def objects(value: Mapping[str, Any], key: str, path: str) -> list[tuple[str, dict[str, Any]]]:
    """The objects of the list `value[key]` (none if missing or null), each with its path."""
    items = optional_member(value, key, list, path)
    if not items:
        return []
    found = []
    for index, item in enumerate(items):
        place = f"{_join(path, key)}[{index}]"
        if not isinstance(item, dict):
            raise UnreadableReplyError(f"{place} should be an object, but is {NAMES[type(item)]}")
        found.append((place, item))
    return found


def good_response(exchange: Exchange) -> Response:
    """The response of an exchange that went well as far as HTTP is concerned."""
    if exchange.failure is not None:
        raise UnreadableReplyError(exchange.failure.message)
    response = exchange.response
    if response is None or not 200 <= response.status < 300:
        status = response.status if response else "none"
        raise UnreadableReplyError(f"the HTTP status is {status}")
    return response


def json_body(response: Response) -> dict[str, Any]:
    """The one JSON object that is the answer to a request without streaming."""
    if response.body is None:
        raise UnreadableReplyError("an event stream came where one JSON object was asked for")
    return parsed(response.body, "the body")


def json_events(response: Response) -> Iterator[tuple[Event, dict[str, Any]]]:
    """The events of an answer to a request with streaming, without the closing `[DONE]`."""
    if response.body is not None:
        kind = response.headers.get("content-type", "no content type")
        raise UnreadableReplyError(
            f"an event stream was asked for, but {kind} came: {excerpt(response.body)}"
        )
    empty = True
    for event in events(response.parts):
        if event.data.strip() != "[DONE]":
            empty = False
            yield event, parsed(event.data, f"stream part {event.part}")
    if empty:
        first = response.parts[0].raw if response.parts else ""
        raise UnreadableReplyError(f"the stream has no events with data: {excerpt(first)}")


def is_done(response: Response) -> bool:
    """Whether the stream ended with `[DONE]`."""
    return any(event.data.strip() == "[DONE]" for event in events(response.parts[-3:]))


def parsed(text: str, place: str) -> dict[str, Any]:
    """`text` as a JSON object that is not an error report."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableReplyError(f"{place} is not JSON ({error}): {excerpt(text)}") from None
    if not isinstance(value, dict):
        raise UnreadableReplyError(f"{place} should be a JSON object: {excerpt(text)}")
    if text.count("[") + text.count("{") > DEEPEST and too_deep(value):
        raise UnreadableReplyError(f"{place} is nested deeper than {DEEPEST} levels")
    if value.get("error"):
        raise UnreadableReplyError(f"{place} is an error: {error_message(value['error'])}")
    return value


def too_deep(value: object) -> bool:
    """Whether JSON is nested so deeply that it could not be written down and read again."""
    layer = [value]
    for _ in range(DEEPEST):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return False
    return True


def error_message(error: object) -> str:
    """The message of an OpenAI-shaped error, or an excerpt of whatever it is."""
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) else excerpt(orjson.dumps(error).decode())


def read_usage(value: Mapping[str, Any], *, given: str, made: str) -> Usage | None:
    """The usage object of a reply; counts that are not whole numbers count as not given.

    Args:
        value: The object that may have a key `usage`.
        given: What the dialect calls the tokens of the prompt, without `_tokens`.
        made: What it calls the tokens of the reply.
    """
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get(f"{made}_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return Usage(
        input_tokens=_count(usage.get(f"{given}_tokens")),
        output_tokens=_count(usage.get(f"{made}_tokens")),
        reasoning_tokens=_count(reasoning),
        total_tokens=_count(usage.get("total_tokens")),
    )


def excerpt(text: str) -> str:
    """The beginning of a text, quoted."""
    return repr(text if len(text) <= EXCERPT else text[:EXCERPT] + "…")


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and not path.endswith(" ") else path + key
