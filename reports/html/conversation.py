"""What was said in an exchange, turn by turn: read leniently, since anything may have been sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict

from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.records.conditions import Api
from harness.records.rollouts import Exchange
from reports.html.trimming import shown

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


class Turn(TypedDict):
    """One turn; `about` is the tool that is called or answers."""

    who: Speaker
    about: str
    text: str


def asked(api: Api, body: Mapping[str, Any], *, first: bool) -> Iterator[Turn]:
    """What a request said; after the first, only what it added since the last reply."""
    every = _sent(api, body)
    if first:
        yield from every
        return
    said = list(every)
    new = len(said)
    while new and said[new - 1]["who"] in ("user", "result", "developer", "system"):
        new -= 1
    yield from said[new:]


def answered(api: Api, exchange: Exchange) -> tuple[list[Turn], Reply | None]:
    """What came back, and the reply where one could be read."""
    if exchange.failure is not None:
        said = f"{exchange.failure.kind.replace('_', ' ')}: {exchange.failure.message}"
        return [_turn("problem", "", said)], None
    response = exchange.response
    if response is not None and not 200 <= response.status < 300:
        said = f"Status {response.status}: {response.body or '(no body)'}"
        return [_turn("problem", "", said)], None
    try:
        reply = DIALECTS[api].read(exchange)
    except UnreadableReplyError as error:
        return [_turn("problem", "", f"The reply could not be read: {error}")], None
    return list(_said(reply)), reply


def _said(reply: Reply) -> Iterator[Turn]:
    if reply.reasoning:
        yield _turn("cot", "", reply.reasoning)
    for call in reply.calls:
        yield _turn("call", call.name, call.arguments)
    if reply.text or not reply.calls:
        yield _turn("final", "", reply.text or "(no text)")


def _sent(api: Api, body: Mapping[str, Any]) -> Iterator[Turn]:
    if api == "responses" and body.get("instructions") is not None:
        yield _turn("developer", "instructions", _text(body["instructions"]))
    content = body.get("messages" if api == "chat" else "input")
    if isinstance(content, str):
        yield _turn("user", "", content)
    for item in content if isinstance(content, list) else ():
        if isinstance(item, dict):
            yield from _item(item)


def _item(item: Mapping[str, Any]) -> Iterator[Turn]:
    kind = item.get("type")
    name = kind if isinstance(kind, str) and kind in _SPEAKERS else item.get("role")
    who = _SPEAKERS.get(name if isinstance(name, str) else "", "user")
    if thought := item.get("reasoning"):
        yield _turn("cot", "", _text(thought))
    if who == "call":
        yield _turn(who, _text(item.get("name")), _text(item.get("arguments")))
    elif (text := item.get("output") if who == "result" else None) is not None:
        yield _turn(who, _text(item.get("call_id")), _text(text))
    elif item.get("content") is not None:
        yield _turn(who, _text(item.get("tool_call_id") or ""), _text(item["content"]))
    calls = item.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _turn("call", _text(function.get("name")), _text(function.get("arguments")))


def _text(value: object) -> str:
    """Text, the joined texts of content parts, or JSON of anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        parts = [part.get("text") if isinstance(part, dict) else None for part in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts):
            return "\n".join(texts)
    return json.dumps(value, ensure_ascii=False)


def _turn(who: Speaker, about: str, text: str) -> Turn:
    return {"who": who, "about": shown(about, 200), "text": shown(text)}
