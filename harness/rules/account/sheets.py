"""Reads from a rollout what the account compares: texts, tokens, and what the requests want."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal

import orjson

from harness.api import DIALECTS
from harness.api.fields import nested, objects
from harness.api.items import Reply
from harness.api.json_text import strings
from harness.api.ledger import any_ledger
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.traits import Sheet, Wanted
from harness.rules.account.differences import LONG_TEXT

_FEWEST_PIECES = 6  # of a stream that has each twice


def sheets(
    parsed: ParsedRollout, wanted: Wanted | None = None, *, counted: bool
) -> Iterator[Sheet]:
    """Yield a sheet for each readable reply of a rollout.

    `wanted` is what its first reply must have in it, or the reply that makes a call. The tokens are
    read only if the replies are `counted`, because the request changes no counts.
    """
    for exchange, reply in parsed.replies:
        calls = tuple((call.name, call.arguments) for call in reply.calls)
        pieces = _pieces(exchange)
        called = wanted is not None and any(name == wanted.name for name, _ in calls)
        yield Sheet(
            exchange=exchange.index,
            request=_request(exchange),
            greedy=exchange.request.body.get("temperature") == 0,
            stops=exchange.request.stops,
            format=_digest(exchange.request.answer_format),
            end=_end(exchange, reply),
            reasoning=reply.reasoning,
            text=reply.text,
            calls=calls,
            twice=tuple(place for place, said in pieces.items() if _is_twice(said)),
            restated=tuple(place for place, said in pieces.items() if _is_restated(said)),
            streamed=bool(exchange.events),
            several=_kinds(reply).count("message") > 1,
            ledger=any_ledger(exchange) if counted else None,
            wanted=wanted if called or exchange.index == 0 else None,
        )


def _end(
    exchange: ParsedExchange, reply: Reply
) -> Literal["model", "stop string", "limit", "unknown"]:
    if reply.finish == "length":
        return "limit"
    if reply.finish not in ("stop", "tool_calls") or exchange.at_limit:
        return "unknown"
    return "stop string" if exchange.request.stops else "model"


def _kinds(reply: Reply) -> list[object]:
    """Return the types of the output items of a response; none of a Chat reply."""
    return [item.get("type") for item in objects(reply.raw.get("output"))]


def _request(exchange: ParsedExchange) -> str:
    """Return a hash of conversation, functions, choice and effort, in the terms of both APIs."""
    request, body = exchange.request, exchange.request.body
    turns = DIALECTS[exchange.api].turns(body)
    if not turns or body.get("previous_response_id") or request.choices > 1 or request.built_in:
        return ""
    instructions = body.get("instructions")
    said: list[list[Any]] = [["system", [instructions]]] if instructions else []
    for turn in turns:
        inner = turn if isinstance(turn, dict) else {"content": turn}
        kept = {key: value for key, value in inner.items() if key not in ("role", "type", "id")}
        said.append([inner.get("role") or inner.get("type"), list(strings(kept))])
    tools = sorted((name, tool.parameters) for name, tool in request.functions.items())
    chosen = sorted(strings(body.get("tool_choice") or "auto"))
    return _digest([said, tools, request.effort, chosen])


def _digest(value: object) -> str:
    """Return a hash of a JSON value; empty for an empty one."""
    encoded = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return blake2b(encoded, digest_size=12).hexdigest() if value else ""


def _pieces(exchange: ParsedExchange) -> Mapping[str, list[str]]:
    """Return the pieces of the CoT and of the answer in the order of their events."""
    pieces: dict[str, list[str]] = {"CoT": [], "answer": []}
    for event in exchange.events:
        if event.type and event.type.endswith(".delta"):
            place = "CoT" if "reasoning" in event.type else "answer"
            deltas = [(place, nested(event.data, "delta"))]
        else:
            choices = objects(nested(event.data, "choices"))
            inner = [choice.get("delta") for choice in choices]
            # Some servers send the CoT under both names.
            cots = [nested(e, "reasoning") or nested(e, "reasoning_content") for e in inner]
            deltas = [("CoT", cot) for cot in cots]
            deltas += [("answer", nested(delta, "content")) for delta in inner]
        for place, text in deltas:
            if isinstance(text, str) and text and "arguments" not in event.type:
                pieces[place].append(text)
    return pieces


def _is_restated(pieces: list[str]) -> bool:
    """Whether a piece begins with the whole text before it, as if it was the text so far."""
    before = ""
    for piece in pieces:
        if len(before) >= LONG_TEXT and piece.startswith(before):
            return True
        before += piece
    return False


def _is_twice(pieces: list[str]) -> bool:
    """Whether each piece comes twice; a text of one repeated piece does not count."""
    first, second = pieces[::2], pieces[1::2]
    return len(pieces) >= _FEWEST_PIECES and first == second and len({*first}) > 2
