"""Which recorded exchanges continue which: by message prefix or `previous_response_id`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.api.fields import entries
from harness.traffic.exchanges import Imported

_Turn = tuple[object, ...]
"""One message or item of a conversation, in a form in which equal ones are equal."""


def conversations(found: Sequence[Imported]) -> list[list[Imported]]:
    """Join exchanges to conversations; the order in which they were recorded does not matter.

    An exchange continues another if its messages begin with the messages and the reply of the
    other, or if its `previous_response_id` is the id of the other's reply. Where two continue the
    same one, the second starts a conversation of its own.
    """
    replies = [_reply(each) for each in found]
    after: dict[object, list[int]] = {}
    for number, (each, reply) in enumerate(zip(found, replies, strict=True)):
        if reply is not None:
            turns = [*_sent(each), *_returned(each, reply)]
            after.setdefault(_key(each, turns), []).append(number)
            if each.api == "responses" and reply.raw.get("id"):
                after.setdefault(reply.raw["id"], []).append(number)
    follower: dict[int, int] = {}
    continued = set()
    for number, each in enumerate(found):
        before = [one for one in _before(each, after) if one != number and one not in follower]
        if before:
            same_file = [one for one in before if found[one].pair.file == each.pair.file]
            follower[(same_file or before)[0]] = number
            continued.add(number)
    return [_chain(start, found, follower) for start in range(len(found)) if start not in continued]


def _chain(start: int, found: Sequence[Imported], follower: Mapping[int, int]) -> list[Imported]:
    joined, number = [], start
    while True:
        joined.append(found[number])
        if number not in follower:
            return joined
        number = follower[number]


def _before(each: Imported, after: Mapping[object, list[int]]) -> list[int]:
    """The exchanges that this one continues: those with the longest common beginning."""
    previous = each.body.get("previous_response_id")
    if previous is not None and previous in after:
        return after[previous]
    turns = _sent(each)
    for length in range(len(turns) - 1, 0, -1):
        key = _key(each, turns[:length])
        if key in after:
            return after[key]
    return []


def _key(each: Imported, turns: Iterable[_Turn]) -> object:
    """A conversation keeps its API, mode, model and host."""
    body = each.body
    return each.api, bool(body.get("stream")), body.get("model"), each.host, tuple(turns)


def _reply(each: Imported) -> Reply | None:
    try:
        return DIALECTS[each.api].read(each.exchange)
    except UnreadableReplyError:
        return None


def _sent(each: Imported) -> list[_Turn]:
    """The turns of a request; without CoT, because clients need not send it back."""
    turns = entries(DIALECTS[each.api].turns({**each.body, "instructions": None}))
    return [_turn(turn) for turn in turns if turn.get("type") != "reasoning"]


def _returned(each: Imported, reply: Reply) -> list[_Turn]:
    """The turns that a client appends for a reply."""
    calls = [_call(call.name, call.arguments) for call in reply.calls]
    if each.api == "chat":
        return [("assistant", reply.text.strip(), *calls)]
    text: list[_Turn] = [("assistant", reply.text.strip())] if reply.text else []
    return [*text, *(("call", call) for call in calls)]


def _turn(turn: Mapping[str, Any]) -> _Turn:
    """A message of Chat Completions, or an item of Responses."""
    if turn.get("type") == "function_call":
        return ("call", _call(turn.get("name"), turn.get("arguments")))
    if turn.get("type") == "function_call_output":
        return ("result", turn.get("call_id"), _text(turn.get("output")))
    functions = [call.get("function") for call in entries(turn.get("tool_calls"))]
    calls = [_call(each.get("name"), each.get("arguments")) for each in entries(functions)]
    return (turn.get("role"), _text(turn.get("content")), *calls)


def _call(name: object, arguments: object) -> str:
    """A tool call as text; arguments are compared as JSON."""
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        value = arguments
    return f"{name}({json.dumps(value, sort_keys=True, default=str)})"


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = (part.get("text") or json.dumps(part, sort_keys=True) for part in entries(content))
        return "".join(map(str, parts)).strip()
    return str(content or "").strip()
