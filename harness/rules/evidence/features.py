"""What a request or its reply has that others lack: options, their values, and forms."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedExchange
from harness.records.replies import CHOICES, JSON, SOCKET, TOOL_RESULT, TRUNCATED, Feature

_ALIKE = {
    "max_completion_tokens": "a token limit",
    "max_output_tokens": "a token limit",
    "max_tokens": "a token limit",
    "reasoning_effort": "reasoning.effort",
    "stop": "stop strings",
    "top_logprobs": "logprobs",
}
"""What options of the two APIs have in common."""
_IN_EVERY = frozenset({"model", "messages", "input", "stream", "stream_options", "type"})
"""Members of a request that are not options, or that the mode or the transport decides."""
_NOT_SENT: tuple[object, ...] = (None, [], {}, "")
_WORD = re.compile(r"[a-z][a-z_]{1,15}")  # a value of few, such as `high` or `json_schema`


def features(exchange: ParsedExchange) -> Iterator[Feature]:
    """Yield what the request and the reply have that others lack: options, values, and forms."""
    request = exchange.request
    yield from _options(request.body)
    yield from map(Feature, _forms(request.body))
    if request.wants_json:
        yield JSON
    if request.choices > 1:
        yield CHOICES
    if not request.answers_user:
        yield TOOL_RESULT
    if exchange.truncated:
        yield TRUNCATED
    if request.over_socket:
        yield SOCKET


def _options(body: Mapping[str, Any]) -> Iterator[Feature]:
    for key, value in body.items():
        if key in _IN_EVERY or value in _NOT_SENT:
            continue
        members = value.items() if isinstance(value, dict) else ((None, value),)
        for member, inner in members:
            name = key if member is None else f"{key}.{member}"
            name = _ALIKE.get(name, name)
            yield Feature(name)
            if isinstance(inner, bool):
                yield Feature(name, str(inner).lower())
            elif inner == 0 or (isinstance(inner, str) and _WORD.fullmatch(inner)):
                yield Feature(name, str(inner or 0))


def _forms(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the kinds of messages and items in a conversation."""
    turns = [turn for name in ("messages", "input") for turn in objects(body.get(name))]
    for turn in turns:
        kind, role = turn.get("type", "message"), turn.get("role")
        if kind == "message" and role in ("system", "developer", "assistant"):
            yield f"{role} messages"
        if kind == "reasoning" or turn.get("reasoning") or turn.get("reasoning_content"):
            yield "earlier CoT"
        if isinstance(turn.get("content"), list):
            yield "content in parts"
    if sum(turn.get("role") == "system" for turn in turns) > 1:
        yield "several system messages"
