"""The replies of a run as questions: request, reply in messages, and settings. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harmony.parse import FIRST_SPECIAL, Kind
from harmony.spelling import WrittenMessage, WrittenReply
from harmony.vocabulary import bytes_of, encode, token_of
from harness.api.fields import nested, objects
from harness.api.items import Reply
from harness.api.json_text import parsed_object
from harness.api.ledger import hides_cot
from harness.api.logprob_entries import entry_bytes, logprob_entries
from harness.api.parsed_request import ParsedRequest
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import Api
from harness.records.readings import Unread
from harness.rescoring.history import History

_PENALTIES = ("frequency_penalty", "presence_penalty", "logit_bias", "min_p", "typical_p", "top_k")
_REPETITION = "repetition_penalty"
_CONCEALED = ("encrypted_content", "summary")
_LOST_BYTES = "\ufffd"  # stands for bytes that are no character
_MEDIA = ("image_url", "input_image", "input_file", "input_audio", "file")


_NOTHING = WrittenReply(())


@dataclass(frozen=True)
class Question:
    """A reply and the request that it answers.

    `body` has the whole conversation, `date` is the day on which it was sent (ISO 8601). `unread`
    says why it cannot be read; then the reply is empty.
    """

    record: str
    exchange: int
    choice: int
    api: Api
    body: Mapping[str, Any]
    date: str
    temperature: float = 1.0
    top_p: float = 1.0
    reply: WrittenReply = _NOTHING
    unread: Unread | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """The record, the exchange and the choice."""
        return self.record, self.exchange, self.choice


def questions_of(rollout: ParsedRollout, history: History) -> Iterator[Question]:
    """Yield the replies of a rollout to requests that ask for one, in order.

    Requests that were refused, and those that only read or delete what is stored, are none.
    """
    for exchange in rollout.exchanges:
        body = history.expanded(exchange)
        if exchange.recorded.request.body is None or _is_refusal(exchange):
            continue
        replies = [exchange.reply, *exchange.reply.others] if exchange.reply else [None]
        for choice, reply in enumerate(replies):
            yield _question(rollout, exchange, body, choice, reply)


def _is_refusal(exchange: ParsedExchange) -> bool:
    return exchange.received == "refused"


def _question(
    rollout: ParsedRollout,
    exchange: ParsedExchange,
    body: Mapping[str, Any] | None,
    choice: int,
    reply: Reply | None,
) -> Question:
    sent = exchange.request.body
    unread = _unread(exchange, body, reply)
    temperature, top_p = (_number(sent.get(name), 1.0) for name in ("temperature", "top_p"))
    return Question(
        record=rollout.rollout.id,
        exchange=exchange.index,
        choice=choice,
        api=exchange.api,
        body=body or {},
        date=exchange.recorded.started_at[:10],
        temperature=temperature,
        top_p=top_p,
        reply=_written(exchange, reply) if reply and not unread else _NOTHING,
        unread=unread,
    )


def _unread(
    exchange: ParsedExchange, body: Mapping[str, Any] | None, reply: Reply | None
) -> Unread | None:
    if reply is None:
        return "no_reply"
    request = exchange.request
    reasons: Mapping[Unread, object] = {
        "filtered": reply.finish == "content_filter",
        "unrecorded_history": body is None,
        "custom_tools": request.custom_tools or reply.custom_calls,
        "built_in_tools": request.built_in,
        "penalties": any(map(request.body.get, _PENALTIES))
        or request.body.get(_REPETITION) not in (None, 1),
        "hidden_cot": hides_cot(exchange) or _conceals(reply),
        "several_calls": len(reply.calls) > 1,
        "images": _has_media(body),
        "empty": not reply.generated.strip(),
        "undecodable": _LOST_BYTES in reply.generated and _exact(exchange, reply) is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _conceals(reply: Reply) -> bool:
    """Whether the reply has its CoT encrypted or summarized instead of as text."""
    items = objects(reply.raw.get("output"))
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    return any(
        not item.get("content") and any(item.get(name) for name in _CONCEALED) for item in thoughts
    )


def _has_media(value: object) -> bool:
    if isinstance(value, Mapping):
        return value.get("type") in _MEDIA or any(map(_has_media, value.values()))
    return isinstance(value, list) and any(map(_has_media, value))


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default


def _written(exchange: ParsedExchange, reply: Reply) -> WrittenReply:
    """Return the messages of a reply, with what a server or a grammar decided in them."""
    request = exchange.request
    stopped = bool(request.stops) and reply.finish == "stop"
    complete = reply.finish not in ("length", "unknown") and not stopped
    written = tuple(_with_origin(message, request) for message in _messages(exchange, reply))
    if stopped and written and written[-1].kind == "answer":
        written = (*written[:-1], _without_end(written[-1]))
    return WrittenReply(written, complete, _exact(exchange, reply))


def _with_origin(message: WrittenMessage, request: ParsedRequest) -> WrittenMessage:
    """Return a message with what the server or a grammar decided in it, and not the model.

    What is neither a known function nor JSON is the rest of a malformed header, cut by a parser.
    """
    if message.kind == "call":
        choice = request.tool_choice != "auto" or isinstance(request.body.get("tool_choice"), dict)
        malformed = message.name not in request.functions and parsed_object(message.text) is None
        given, bound = choice or malformed, message.name in request.strict or malformed
    else:
        forced = request.tool_choice != "auto" or not request.functions
        given = message.kind == "answer" and forced
        bound = message.kind == "answer" and request.wants_json
    return replace(message, given=given, bound=bound)


def _without_end(message: WrittenMessage) -> WrittenMessage:
    """Return a stopped answer without its last word.

    Its last token may have been a longer one that contained the beginning of the stop string.
    """
    kept = message.text.rstrip()
    kept = kept[: max(kept.rfind(" "), kept.rfind("\n"), 0)]
    return replace(message, text=kept, spelled=None)


def _messages(exchange: ParsedExchange, reply: Reply) -> Iterator[WrittenMessage]:
    items = objects(reply.raw.get("output")) if exchange.api == "responses" else []
    spelled = _spelled(exchange, reply)
    if not items:
        if reply.reasoning:
            yield WrittenMessage("reasoning", reply.reasoning)
        if reply.text:
            yield WrittenMessage(
                "preamble" if reply.calls else "answer", reply.text, spelled=spelled
            )
        yield from (WrittenMessage("call", call.arguments, call.name) for call in reply.calls)
        return
    called = [item.get("type") == "function_call" for item in items]
    for at, item in enumerate(items):
        text = "".join(str(part.get("text") or "") for part in objects(item.get("content")))
        match item.get("type"):
            case "reasoning":
                yield WrittenMessage("reasoning", text)
            case "message":
                kind: Kind = "preamble" if any(called[at:]) else "answer"
                yield WrittenMessage(kind, text, spelled=spelled if text == reply.text else None)
            case "function_call":
                yield WrittenMessage(
                    "call", str(item.get("arguments") or ""), str(item.get("name"))
                )


def _spelled(exchange: ParsedExchange, reply: Reply) -> tuple[int, ...] | None:
    """Return the tokens of the answer, if its logprobs spell exactly this text."""
    entries = [entry_bytes(entry) for entry in logprob_entries(exchange, reply)]
    ids = [token_of(name) for name in entries]
    known = [token for token in ids if token is not None and token < FIRST_SPECIAL]
    if (
        not entries
        or len(known) < len(ids)
        or b"".join(entries) != reply.text.encode("utf-8", "replace")
    ):
        return None
    return tuple(known)


def _exact(exchange: ParsedExchange, reply: Reply) -> tuple[int, ...] | None:
    """Return all tokens of the completion, if the reply has them (vLLM's `return_token_ids`)."""
    choices: Sequence[Mapping[str, Any]] = objects(reply.raw.get("choices"))
    ids = nested(choices[0], "token_ids") if choices else None
    if isinstance(ids, list) and ids and all(type(token) is int for token in ids):
        return tuple(ids)
    if exchange.api == "harmony" and choices and isinstance(text := choices[0].get("text"), str):
        spelled = tuple(encode(text))
        return spelled if b"".join(map(bytes_of, spelled)) == text.encode() else None
    return None
