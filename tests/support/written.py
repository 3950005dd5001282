"""Recorded replies as a server writes them: healthy ones, with other members, or with a fault."""

import copy
from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import getitem
from typing import Any, Final

from corpus import with_fault
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

from harness.records.conditions import Api
from harness.records.rollouts import Rollout

ABSENT: Final = object()
Members = Mapping[str, Any] | Callable[[Any], object]
"""Values by their paths in a body or its events, `choices.0.index`; or a function that writes them
there, and may return the blocks of a stream."""


def _written(
    api: Api,
    streaming: bool,
    members: Members,
    reply: Reply,
    request: Mapping[str, Any] | None = None,
) -> Rollout:
    """A recorded reply with these members, and with more fields in its request."""
    chat = api == "chat"
    of_api = (chat_chunks, chat_whole) if chat else (responses_events, responses_whole)
    body = copy.deepcopy(of_api[not streaming](reply))
    made = members(body) if callable(members) else with_members(body, members)
    if streaming and not (isinstance(made, list) and isinstance(made[0], str)):
        made = (chat_blocks if chat else responses_blocks)(body)
    answer = stream_response(made) if streaming else json_response(body)
    return asked(rollout([answer], api=api, streaming=streaming), request or {})


chat, chat_stream = (partial(_written, "chat", streaming) for streaming in (False, True))
responses, responses_stream = (
    partial(_written, "responses", streaming) for streaming in (False, True)
)


def with_members(body: Any, members: Mapping[str, Any]) -> Any:
    """Set members of a JSON value by their paths; those that are ABSENT are left out."""
    for path, value in members.items():
        *steps, last = [int(s) if s.lstrip("-").isdigit() else s for s in path.split(".")]
        inner = reduce(getitem, steps, body)
        if value is ABSENT:
            del inner[last]
        else:
            inner[last] = value
    return body


def asked(recorded: Rollout, request: Mapping[str, Any]) -> Rollout:
    """The same rollout with additional fields in its first request."""
    first, *rest = recorded.exchanges
    body = {**(first.request.body or {}), **request}
    asked = first.model_copy(update={"request": first.request.model_copy(update={"body": body})})
    return recorded.model_copy(update={"exchanges": (asked, *rest)})


def sent(recorded: Rollout, body: Mapping[str, Any]) -> Rollout:
    """The same rollout with this body in each of its requests."""
    exchanges = tuple(
        each.model_copy(update={"request": each.request.model_copy(update={"body": body})})
        for each in recorded.exchanges
    )
    return recorded.model_copy(update={"exchanges": exchanges})


def faulty(recorded: Rollout, fault: str) -> Rollout:
    """The same rollout with a fault of the catalogue in its first reply."""
    first, *rest = recorded.exchanges
    return recorded.model_copy(update={"exchanges": (with_fault(first, fault), *rest)})
