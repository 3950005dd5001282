"""Healthy replies with one change: as whole bodies, as events, as recorded rollouts."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from healthy import json_response, rollout, stream_response
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    responses_blocks,
    responses_events,
    responses_whole,
)

from harness.records.rollouts import Rollout

Change = Callable[[Any], object]


def put(path: str, value: object) -> Change:
    """A change that sets one path of a JSON value, for example `choices.0.message.content`."""

    def change(body: Any) -> None:
        *steps, last = _steps(path)
        for step in steps:
            body = body[step]
        body[last] = value

    return change


def drop(path: str) -> Change:
    """A change that removes one path of a JSON value."""

    def change(body: Any) -> None:
        *steps, last = _steps(path)
        for step in steps:
            body = body[step]
        del body[last]

    return change


def _steps(path: str) -> list[Any]:
    return [int(step) if step.lstrip("-").isdigit() else step for step in path.split(".")]


def each_member_set(whole: Any, value: object) -> Iterator[tuple[tuple[str, ...], Any]]:
    """For each member of a JSON object at any depth: its path, and a copy in which it has a value.

    Members that have this value are left out.
    """
    for path in _members(whole):
        changed = copy.deepcopy(whole)
        *above, last = path
        inner = changed
        for name in above:
            inner = inner[name]
        inner[last] = value
        if changed != whole:
            yield path, changed


def _members(value: object) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (name,)
            yield from ((name, *rest) for rest in _members(inner))


def nothing(body: object) -> None:
    """No change."""


def chat(change: Change, reply: Reply, request: Mapping[str, Any] | None = None) -> Rollout:
    """A whole completion, changed."""
    body = chat_whole(reply)
    change(body)
    return asked(rollout([json_response(body)]), request)


def responses(change: Change, reply: Reply, request: Mapping[str, Any] | None = None) -> Rollout:
    """A whole response, changed."""
    body = responses_whole(reply)
    change(body)
    return asked(rollout([json_response(body)], api="responses"), request)


def chat_stream(change: Change, reply: Reply, request: Mapping[str, Any] | None = None) -> Rollout:
    """A streamed completion; the change modifies its chunks or returns other blocks."""
    chunks = chat_chunks(reply)
    blocks = change(chunks)
    answer = stream_response(blocks if isinstance(blocks, list) else chat_blocks(chunks))
    return asked(rollout([answer], streaming=True), request)


def responses_stream(
    change: Change, reply: Reply, request: Mapping[str, Any] | None = None
) -> Rollout:
    """A streamed response; the change modifies its events or returns other blocks."""
    events = copy.deepcopy(responses_events(reply))
    blocks = change(events)
    answer = stream_response(blocks if isinstance(blocks, list) else responses_blocks(events))
    return asked(rollout([answer], api="responses", streaming=True), request)


def asked(recorded: Rollout, request: Mapping[str, Any] | None) -> Rollout:
    """The same rollout with additional fields in its first request."""
    if request is None:
        return recorded
    first, *rest = recorded.exchanges
    body = {**(first.request.body or {}), **request}
    asked = first.model_copy(update={"request": first.request.model_copy(update={"body": body})})
    return recorded.model_copy(update={"exchanges": (asked, *rest)})


def first_call(chunks: Any) -> Any:
    """The first tool call in a stream of chunks."""
    return next(
        chunk["choices"][0]["delta"]["tool_calls"][0]
        for chunk in chunks
        if chunk["choices"] and "tool_calls" in chunk["choices"][0]["delta"]
    )


def event_of(events: Any, kind: str) -> Any:
    """The first event of a type."""
    return next(event for event in events if event["type"] == kind)


def change_event(kind: str, **changes: object) -> Change:
    """A change to the first event of a type."""
    return lambda events: event_of(events, kind).update(changes)


def remove_event(kind: str) -> Change:
    """A change that removes the first event of a type."""
    return lambda events: events.remove(event_of(events, kind))


def both(*changes: Change) -> Change:
    """A change that makes several changes in order."""

    def change(body: Any) -> None:
        for each in changes:
            each(body)

    return change
