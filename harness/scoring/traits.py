"""Properties by which the rollouts of a run are compared: requests, contents, servers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from harness.api.fields import json_object
from harness.checks.foreign import CODE_WORD
from harness.checks.json_text import strings
from harness.checks.prompt_texts import user_texts
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.scores import Traits

_LONGEST_CONVERSATION = 20_000
_SHORTEST_VALUE = 4
_SHORTEST_CONTENT, _SHORTEST_ANSWER = 200, 16
_OF_RESPONSES = re.compile(
    r"content-.*|transfer-encoding|connection|date|age|etag|expires|cache-control|keep-alive|vary"
    r"|set-cookie|alt-svc|strict-transport-security|access-control-.*|x-frame-options"
    r"|.*(?:request|trace|correlation)-?id.*|.*ratelimit.*|.*(?:time|duration|latency|ms)$",
    re.IGNORECASE,
)
"""Headers that describe a response or a connection, not the server."""
_INVENTED = re.compile(r"\b[a-z]{4,}(?!(?:19|20)\d\d\b|1234)\d{4,}\b")
"""Such words in recorded traffic, where `python312`, `user123` and `january2026` are usual."""
_RANDOM = re.compile(r"[0-9A-Za-z]{8,}")


def traits(parsed: ParsedRollout) -> Traits:
    """The traits of one rollout."""
    sent = "\n".join(_sent(exchange) for exchange in parsed.exchanges)
    replies = [reply for _, reply in parsed.replies]
    calls = {
        f"{call.name} {_canonical(call.arguments)}" for reply in replies for call in reply.calls
    }
    written = "\n".join(reply.generated for reply in replies)
    invented = CODE_WORD if parsed.rollout.recording is None else _INVENTED
    strange = {word for word in invented.findall(written.lower()) if word not in sent}
    strange |= {
        value
        for reply in replies
        for call in reply.calls
        for value in map(str.lower, strings(json_object(call.arguments)))
        if len(value) >= _SHORTEST_VALUE and value not in sent
    }
    # Replies that the token limit truncates may be endless repetitions, which requests share.
    unique = not calls and all(reply.finish != "length" for reply in replies)
    first = parsed.exchanges[0] if parsed.exchanges else None
    return Traits(
        conversation="" if first is None else _conversation(first),
        user=user_texts(parsed),
        strange=frozenset(strange),
        calls=frozenset(calls),
        content=_digest(written, _SHORTEST_CONTENT) if unique else "",
        answer=_digest(replies[0].text, _SHORTEST_ANSWER) if unique and len(replies) == 1 else "",
        replicas=tuple(dict.fromkeys(_replicas(parsed))),
    )


def _sent(exchange: ParsedExchange) -> str:
    return orjson.dumps(exchange.request.body).decode(errors="replace").lower()


def _conversation(exchange: ParsedExchange) -> str:
    """The conversation of a request, without its tools and options."""
    body = exchange.request.body
    turns = [body.get(name) for name in ("instructions", "messages", "input")]
    return orjson.dumps(turns).decode(errors="replace").lower()[:_LONGEST_CONVERSATION]


def _canonical(arguments: str) -> str:
    found = json_object(arguments)
    return arguments if found is None else orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def _digest(written: str, shortest: int) -> str:
    if len(written) < shortest:
        return ""
    return blake2b(written.encode(errors="replace"), digest_size=12).hexdigest()


def _replicas(parsed: ParsedRollout) -> Iterator[tuple[str, str]]:
    """What may differ between servers: headers, fingerprint, model, and the form of ids."""
    for exchange in parsed.exchanges:
        response = exchange.recorded.response
        for name, value in {} if response is None else response.headers.items():
            if not _OF_RESPONSES.fullmatch(name):
                yield f"header {name.lower()}", value
    for exchange, reply in parsed.replies:
        yield from _of_reply(exchange, reply.raw)


def _of_reply(exchange: ParsedExchange, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("system_fingerprint", "model"):
        if isinstance(raw.get(name), str):
            yield name, raw[name]
    reply_id = raw.get("id")
    if isinstance(reply_id, str):
        form = _RANDOM.sub(lambda found: f"<{len(found[0])}>", reply_id)
        yield f"form of {exchange.api} ids", form
