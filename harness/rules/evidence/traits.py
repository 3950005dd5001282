"""Extracts the traits of a rollout: the properties by which the rollouts of a run are compared."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import orjson

from harness.api import DIALECTS
from harness.api.fields import json_object, objects
from harness.api.json_text import strings
from harness.api.ledger import token_count
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.replies import Traits

CODE_WORD = re.compile(r"\b(?:[a-z]{4,}\d{3,}|[a-z]{6,}\d{2,})\b")
"""Invented words of letters and digits, which no model writes without reading them."""
_CONVERSATION = ("instructions", "messages", "input")
_LONGEST_CONVERSATION = 20_000
_SHORTEST_VALUE = 4
_SHORT_TEXT = 64  # tokens; no server cuts a prompt to fewer
_SHORTEST_CONTENT, _SHORTEST_ANSWER = 200, 16
_OF_RESPONSES = re.compile(
    r"content-.*|transfer-encoding|connection|date|age|etag|expires|cache-control|keep-alive|vary"
    r"|set-cookie|alt-svc|strict-transport-security|access-control-.*|x-frame-options"
    r"|.*(?:request|trace|correlation)-?id.*|.*ratelimit.*|.*(?:time|duration|latency|ms)$",
    re.IGNORECASE,
)
"""Headers that describe a response or a connection, not the server."""
_INVENTED = re.compile(r"\b[a-z]{4,}(?!(?:19|20)\d\d\b|1234)\d{4,}\b")
"""Invented words in recorded traffic; `python312`, `user123` and `january2026` are usual there."""
# Members of a body that do not change the prompt.
_WITHOUT_EFFECT = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "temperature", "top_p", "seed", "stop", "n", "logprobs", "top_logprobs",
    "include", "store", "frequency_penalty", "presence_penalty", "logit_bias", "user", "metadata",
})  # fmt: skip
_RANDOM = re.compile(r"[0-9A-Za-z]{8,}")
_WORD = re.compile(r"\w{3,}")


def basic_traits(parsed: ParsedRollout) -> Traits:
    """The traits that cost little: the first request, its host, and the tokens of its prompt.

    Also an invalid request is compared with others, of which a cache may give it the reply.
    """
    first = parsed.exchanges[0] if parsed.exchanges else None
    said = [first.request.body.get(name) for name in _CONVERSATION] if first else []
    return Traits(
        conversation=_lower_json(said)[:_LONGEST_CONVERSATION] if said else "",
        options="" if first is None else _options(first),
        first_input=_first_input(parsed),
        least_input=_least_input(parsed),
        created=_created(parsed),
        host=urlsplit(parsed.exchanges[0].recorded.request.url).netloc if parsed.exchanges else "",
    )


def traits(parsed: ParsedRollout) -> Traits:
    """All traits of one rollout."""
    sent = "\n".join(_lower_json(exchange.request.body) for exchange in parsed.exchanges)
    replies = [reply for _, reply in parsed.replies]
    calls = {
        f"{call.name} {_canonical(call.arguments)}" for reply in replies for call in reply.calls
    }
    written = "\n".join(reply.generated for reply in replies)
    form = CODE_WORD if parsed.rollout.recording is None else _INVENTED
    invented = {word for word in form.findall(written.lower()) if word not in sent}
    invented |= {
        value
        for reply in replies
        for call in reply.calls
        for value in map(str.lower, strings(json_object(call.arguments)))
        if len(value) >= _SHORTEST_VALUE and value not in sent
    }
    # Replies that the token limit truncates may be endless repetitions, which requests share.
    unique = not calls and all(reply.finish != "length" for reply in replies)
    answer = replies[0].text if unique and len(replies) == 1 else ""
    return replace(
        basic_traits(parsed),
        beside_user=_beside_user(parsed),
        invented=frozenset(invented),
        call_ids=frozenset(call.id for reply in replies for call in reply.calls if call.id),
        calls=frozenset(calls),
        content=_digest(written, _SHORTEST_CONTENT) if unique else "",
        answer="" if _is_from(answer, sent) else _digest(answer, _SHORTEST_ANSWER),
        replicas=tuple(dict.fromkeys(_replicas(parsed))),
        models=frozenset(_models(parsed)),
    )


def _is_from(answer: str, sent: str) -> bool:
    """Whether at least half of the words of an answer are in its own request."""
    words = _WORD.findall(answer.lower())
    return 2 * sum(word in sent for word in words) >= len(words)


def _options(exchange: ParsedExchange) -> str:
    body = exchange.request.body
    rest = sorted(body.keys() - set(_CONVERSATION))
    texts = (orjson.dumps(body[name], option=orjson.OPT_SORT_KEYS).decode() for name in rest)
    return " ".join(f"{name}={_digest(text, 0)}" for name, text in zip(rest, texts, strict=True))


def _lower_json(value: object) -> str:
    return orjson.dumps(value).decode(errors="replace").lower()


def _canonical(arguments: str) -> str:
    value = json_object(arguments)
    return arguments if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _digest(written: str, shortest: int) -> str:
    if len(written) < shortest:
        return ""
    return blake2b(written.encode(errors="replace"), digest_size=12).hexdigest()


def _beside_user(parsed: ParsedRollout) -> str:
    """Return a hash of the first request of a rollout without the user's texts.

    It is empty if a message has several parts or an image, if the server stores further messages of
    the conversation, and in imported traffic, where the server may have changed in the meantime.
    """
    if not parsed.exchanges or parsed.rollout.recording is not None:
        return ""
    body = dict(parsed.exchanges[0].request.body)
    name = "messages" if parsed.rollout.api == "chat" else "input"
    turns = body.pop(name, None)
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or body.get("previous_response_id"):
        return ""
    said = [turn.get("content") for turn in turns if _is_user(turn)]
    if not said or not all(map(_is_one_text, said)):
        return ""
    others = [{"role": "user"} if _is_user(turn) else turn for turn in turns]
    kept = {key: value for key, value in body.items() if key not in _WITHOUT_EFFECT}
    rest = blake2b(orjson.dumps([others, kept], option=orjson.OPT_SORT_KEYS), digest_size=12)
    return rest.hexdigest()


def _is_user(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"


def _is_one_text(content: object) -> bool:
    """Whether a message has one text, as such or as its only part."""
    parts = objects(content)
    one = len(parts) == 1 and isinstance(parts[0].get("text"), str)
    return one or isinstance(content, str)


def _models(parsed: ParsedRollout) -> Iterator[str]:
    model = parsed.rollout.condition.model
    for exchange, reply in () if parsed.rollout.recording else parsed.replies:
        name = reply.raw.get("model")
        if isinstance(name, str) and exchange.request.body.get("model") == model:
            yield name.rpartition("/")[2].lower()


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
        form = _RANDOM.sub(lambda match: f"<{len(match[0])}>", reply_id)
        yield f"form of {exchange.api} ids", form


def _first_input(parsed: ParsedRollout) -> int | None:
    """None with built-in tools, where the count is the sum over several prompts."""
    first = parsed.exchanges[0] if parsed.exchanges else None
    if first is None or first.reply is None or first.request.built_in:
        return None
    return first.reply.input_tokens


def _least_input(parsed: ParsedRollout) -> int:
    """Return fewer tokens than the first prompt can have, if the server estimates or cuts it, too.

    They are half of those of its last text, if a user wrote it in ASCII, or of a short text.
    """
    first = parsed.exchanges[0] if parsed.exchanges else None
    turns = objects(DIALECTS[first.api].turns(first.request.body)) if first else []
    text = turns[-1].get("content") if turns and _is_user(turns[-1]) else None
    if not isinstance(text, str) or not text.isascii():
        return 0
    return min(token_count(text) or 0, _SHORT_TEXT) // 2


def _created(parsed: ParsedRollout) -> float | None:
    reply = parsed.exchanges[0].reply if parsed.exchanges else None
    said = reply and (reply.raw.get("created") or reply.raw.get("created_at"))
    return said if isinstance(said, int | float) else None
