"""The conversation items of an exchange, read leniently because a request may contain anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict

from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.records.conditions import Api
from harness.records.rollouts import Exchange
from reports.text import trimmed

Speaker = Literal["system", "developer", "user", "cot", "call", "result", "final", "problem"]
_SPEAKERS: Mapping[str, Speaker] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "final",
    "tool": "result",
    "function_call": "call",
    "function_call_output": "result",
    "reasoning": "cot",
}


class Item(TypedDict):
    """One item of a conversation; `about` is the name of a tool or the id of a call."""

    who: Speaker
    about: str
    text: str


def request_items(api: Api, body: Mapping[str, Any], *, first: bool) -> list[Item]:
    """The items of a request; for later requests only those after the last reply."""
    items = list(_sent(api, body))
    new = 0 if first else len(items)
    while new and items[new - 1]["who"] in ("user", "result", "developer", "system"):
        new -= 1
    return items[new:]


def response_items(api: Api, exchange: Exchange) -> tuple[list[Item], Reply | None]:
    """The items of a response, and the reply if it can be read."""
    if exchange.failure is not None:
        problem = f"{exchange.failure.kind.replace('_', ' ')}: {exchange.failure.message}"
        return [_item("problem", "", problem)], None
    response = exchange.response
    if response is not None and not 200 <= response.status < 300:
        problem = f"Status {response.status}: {response.body or '(no body)'}"
        return [_item("problem", "", problem)], None
    try:
        reply = DIALECTS[api].read(exchange)
    except UnreadableReplyError as error:
        return [_item("problem", "", f"The reply cannot be read: {error}")], None
    return list(_received(reply)), reply


def _received(reply: Reply) -> Iterator[Item]:
    if reply.reasoning:
        yield _item("cot", "", reply.reasoning)
    for call in reply.calls:
        yield _item("call", call.name, call.arguments)
    if reply.text or not reply.calls:
        yield _item("final", "", reply.text or "(no text)")


def _sent(api: Api, body: Mapping[str, Any]) -> Iterator[Item]:
    for item in DIALECTS[api].turns(body):
        if isinstance(item, dict):
            yield from _sent_item(item)


def _sent_item(item: Mapping[str, Any]) -> Iterator[Item]:
    kind = item.get("type")
    name = kind if isinstance(kind, str) and kind in _SPEAKERS else item.get("role")
    who = _SPEAKERS.get(name if isinstance(name, str) else "", "user")
    if reasoning := item.get("reasoning"):
        yield _item("cot", "", _text(reasoning))
    if who == "call":
        yield _item(who, _text(item.get("name")), _text(item.get("arguments")))
    elif (text := item.get("output") if who == "result" else None) is not None:
        yield _item(who, _text(item.get("call_id")), _text(text))
    elif item.get("content") is not None:
        yield _item(who, _text(item.get("tool_call_id") or ""), _text(item["content"]))
    calls = item.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _item("call", _text(function.get("name")), _text(function.get("arguments")))


def _text(value: object) -> str:
    """Text, the joined texts of content parts, or the JSON of any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        parts = [part.get("text") if isinstance(part, dict) else None for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def _item(who: Speaker, about: str, text: str) -> Item:
    return {"who": who, "about": trimmed(about, 200), "text": trimmed(text)}
