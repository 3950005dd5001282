"""Makes the rows of a rollout: all that is compared of its exchanges, read once."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from harness.api import DIALECTS
from harness.api.fields import nested, objects
from harness.api.items import Reply
from harness.api.json_text import strings
from harness.api.ledger import any_ledger, is_below_limit
from harness.api.logprob_entries import entry_bytes, logprob_entries
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import lockout, meaning
from harness.records.replies import (
    CHOICES,
    JSON,
    SOCKET,
    TOOL_RESULT,
    TRUNCATED,
    Cut,
    End,
    Feature,
    Row,
    Wanted,
)
from harness.rules.account.differences import LONG_TEXT
from harness.rules.evidence.arrivals import arrivals_of

_T = TypeVar("_T")
_FEWEST_PIECES = 6  # of a stream that has each twice


def rows(
    parsed: ParsedRollout, wanted: Wanted | None = None, *, valid: bool, counted: bool
) -> Iterator[Row]:
    """Yield the row of each exchange of a rollout.

    `wanted` is what its first reply must have in it, or the reply that makes a call. The replies to
    requests that are not `valid` are not compared; the tokens are read only if the replies are
    `counted`, because the request changes no counts.
    """
    rollout = parsed.rollout
    sample = _one((rollout.task, rollout.sample))
    for exchange in parsed.exchanges:
        members = {} if rollout.recording else _in_run(exchange, valid=valid)
        if exchange.reply is not None:
            reply_id = exchange.reply.raw.get("id")
            members["reply_id"] = reply_id if isinstance(reply_id, str) else ""
            if valid:
                members |= _answer(exchange, exchange.reply, wanted, counted=counted)
        yield Row(
            record=rollout.id,
            sample=sample,
            api=exchange.api,
            exchange=exchange.index,
            streamed=bool(exchange.events),
            features=_one(frozenset(features(exchange))),
            size=len(orjson.dumps(exchange.request.body)) // 1000,
            **members,
        )


@lru_cache(100_000)
def _one(value: _T) -> _T:
    """Return one object for equal values: most exchanges of a run have those of others."""
    return value


def _in_run(exchange: ParsedExchange, *, valid: bool) -> dict[str, Any]:
    """Return what is compared of an exchange that this tool made: when, and with what effect."""
    recorded = exchange.recorded
    request, response = recorded.request, recorded.response
    try:
        began = datetime.fromisoformat(recorded.started_at).timestamp()
    except ValueError:
        began = 0.0
    members: dict[str, Any] = {
        "began": began,
        "ended": began + recorded.elapsed,
        "locked_out": sum(retry.locked_out for retry in recorded.retries),
    }
    if response is None:
        return members
    said, got = meaning(response), f"status {response.status}: {response.text}"
    if lockout(response) is not None:
        members["rejected"] = got
    if valid and said in (None, "refusal") and request.body is not None:
        body = orjson.dumps([request.url, request.body], option=orjson.OPT_SORT_KEYS)
        members["sent"] = blake2b(body, digest_size=12).hexdigest()
        members["refusal"] = got if said else ""
    if valid and exchange.good_status:
        members["arrivals"] = arrivals_of(exchange)
    return members


def _answer(
    exchange: ParsedExchange, reply: Reply, wanted: Wanted | None, *, counted: bool
) -> dict[str, Any]:
    """Return what is compared of a reply, and of the request as far as it determines it."""
    request = exchange.request
    calls = tuple((call.name, call.arguments) for call in reply.calls)
    pieces = _pieces(exchange)
    called = wanted is not None and any(name == wanted.name for name, _ in calls)
    return {
        "answered": True,
        "request": _request(exchange),
        "greedy": request.body.get("temperature") == 0,
        "stops": request.stops,
        "format": _digest(request.answer_format),
        "end": _end(exchange, reply),
        "reasoning": reply.reasoning,
        "text": reply.text,
        "spelled": "" if exchange.imported else _spelled(exchange, reply),
        "calls": calls,
        "twice": tuple(place for place, said in pieces.items() if _is_twice(said)),
        "chunks": len(exchange.text_times),
        "restated": tuple(place for place, said in pieces.items() if _is_restated(said)),
        "again": bool(reply.text)
        and any(
            reply.text in strings(turn.get("content"))
            for turn in objects(DIALECTS[exchange.api].turns(request.body))
            if turn.get("role") == "assistant"
        ),
        "several": [item.get("type") for item in objects(reply.raw.get("output"))].count("message")
        > 1,
        "ledger": any_ledger(exchange) if counted else None,
        "wanted": wanted if called or exchange.index == 0 else None,
        "cut": _cut(exchange, reply),
    }


def _spelled(exchange: ParsedExchange, reply: Reply) -> str:
    """Return the text of the tokens with logprobs; empty without them, or if it has the answer."""
    entries = logprob_entries(exchange, reply) if reply.text else ()
    text = b"".join(map(entry_bytes, entries)).decode("utf-8", "replace")
    return "" if reply.text in text else text


def _end(exchange: ParsedExchange, reply: Reply) -> End:
    if reply.finish == "length":
        return "limit"
    if reply.finish not in ("stop", "tool_calls") or exchange.at_limit:
        return "unknown"
    return "stop string" if exchange.request.stops else "model"


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
            inner = [choice.get("delta") for choice in objects(nested(event.data, "choices"))]
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


def _cut(exchange: ParsedExchange, reply: Reply) -> Cut | None:
    """Return the tokens of a truncated reply that has fewer than its request allows."""
    given, count, limit = reply.input_tokens, reply.output_tokens, exchange.request.limit
    few = exchange.truncated and is_below_limit(exchange)
    return Cut(given, count, limit) if few and given and count and limit else None


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
    tools = [tool.get("function") or tool for tool in objects(body.get("tools"))]
    if not all(isinstance(tool, dict) and tool.get("description") for tool in tools):
        yield "a tool without a description"
