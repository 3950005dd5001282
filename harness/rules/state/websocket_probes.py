"""Responses over WebSocket, which OpenAI's clients and Codex offer.

Codex 0.171 dials it if its provider has `supports_websockets = true`, and otherwise uses HTTP.

A request is one message, and each event of its response is one. The connection knows its own
responses, also those with `store: false`, so that a turn sends only what is new. A provider that
does not offer it refuses the upgrade with 426 or another 4xx status: that is no failure.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from harness.api.fields import objects
from harness.api.items import Message, Reply
from harness.api.parsed_request import MESSAGE
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import Mode
from harness.records.rollouts import Sender
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.prompt_counts import UNRELIABLE_PROMPT_TOKENS
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import (
    MAY_BE_REFUSED,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
    prompt_tokens,
)
from harness.rules.refusals import outcome
from harness.rules.rule import Problem

_GUIDE = "https://developers.openai.com/api/docs/guides/websocket-mode"
_FEATURE = "Responses over WebSocket"
_UNKNOWN = "resp_gpt_oss_verify_never_got_this_id"
_STREAMS: tuple[Mode, ...] = ("streaming",)
_TRIES = 2
_WORDS = ("orchid", "walnut")
_FACTS = (
    "The code word is heron284. The lamp in the window of the mill is red, and the bench beside "
    "the gate is made of stone. Keep all of that in mind, for I will ask later."
)
_CODE_WORD = "heron284"
_QUESTION = "What is the code word?"
_HI = (Message("user", "Hi there!"),)
_SENT = 3  # requests of `wrong`

_message = partial(
    ProbeRequest,
    options={"type": MESSAGE, "store": False},
    omits=frozenset({"stream"}),
    sender=Sender(socket="own"),
    provokes=MAY_BE_REFUSED | {"request.failed", "reply.unreadable"},
)


def _say(word: str) -> tuple[Message]:
    return (Message("user", f"Say the word {word} and nothing else."),)


GROUP = ProbeGroup(
    "state.websocket",
    _GUIDE,
    apis=("responses",),
    modes=_STREAMS,
    relations=UNRELIABLE_PROMPT_TOKENS,
    component="storage",
)
_OPEN = GROUP.send(_message("greeting", _HI, temperature=0, tries=_TRIES))
_PLAIN = GROUP.send(
    ProbeRequest("greeting in a stream", _HI, temperature=0, tries=_TRIES, options={"store": False})
)
_continuing = partial(_message, history="response", max_turns=2)
_TOLD = GROUP.send(_continuing("told", (Message("user", _FACTS),), then=(_QUESTION,), tries=_TRIES))
_PREPARED = GROUP.send(
    _continuing(
        "prepared",
        (Message("user", _FACTS),),
        then=(_QUESTION,),
        options={"type": MESSAGE, "store": False, "generate": False},
        later={"generate": True},
        whole=False,
        valid=False,
    )
)
_CALLED = GROUP.send(
    _continuing(
        "called",
        (Message("user", "What is the weather in Lisbon?"),),
        (WEATHER,),
        tries=_TRIES,
    )
)


def _open(greeting: Sent, sent: Sent) -> Sequence[ParsedRollout]:
    """Return the rollouts of a request if the provider offers WebSocket at all.

    Raises NotVerifiableError if it does not, or a request was not sent.
    """
    greetings = [last for _, last in greeting.last]
    if not any(last.reply is not None for last in greetings):
        last = greetings[0]
        if last.status is None or not last.good_status:
            raise NotVerifiableError("refuses_feature", feature=_FEATURE, status=last.status or 0)
        raise NotVerifiableError("fails_on_feature", feature=_FEATURE, got=outcome(last))
    return sent.rollouts


@GROUP.probe(
    "state.websocket.events",
    _OPEN,
    _PLAIN,
    component="events",
    fix="Send the events that a stream over HTTP has, in the same order.",
)
def _events(greeting: Sent, plain: Sent) -> Trials:
    """Over WebSocket, a response has the events of a stream, in the same order.

    Clients read both with the same code.
    """
    opened = _open(greeting, greeting)
    usual = {_kinds(exchange): exchange for exchange, _ in plain.replies}
    shapes = {_shape(reply) for _, reply in plain.replies}
    for rollout in opened:
        exchange = rollout.exchanges[-1]
        if exchange.reply is not None and _shape(exchange.reply) in shapes:
            kinds = _kinds(exchange)
            message = "Over WebSocket, the events differ from those of a stream over HTTP."
            expected = ", ".join(next(iter(usual)))
            yield (
                None if kinds in usual else Problem(exchange, message, expected, ", ".join(kinds))
            )


def _kinds(exchange: ParsedExchange) -> tuple[str, ...]:
    """Return the types of the events in order, those that repeat once, without an optional one."""
    kinds = (event.type for event in exchange.known_events if event.type != "response.queued")
    return tuple(kind for kind, _ in groupby(kinds))


def _shape(reply: Reply) -> tuple[object, ...]:
    """Return the types of its items, of which a model may write several, and why it ended."""
    return *(item.get("type") for item in objects(reply.raw.get("output"))), reply.finish


@GROUP.probe(
    "state.websocket.continued",
    _OPEN,
    (_TOLD, _CALLED),
    fix="Keep the responses of a connection in its memory until it is closed, whatever `store` is.",
)
def _continued(greeting: Sent, asked: Sent) -> Trials:
    """A response is continued by its id on its connection, also with `store: false`.

    Each turn sends only what is new. A server that loses the rest answers without the conversation,
    or without the call whose result it gets.
    """
    for each in asked:
        for rollout in _open(greeting, each):
            first, last = rollout.exchanges[0], rollout.exchanges[-1]
            if first.reply is None or (last is first and each.name == _CALLED.id):
                continue  # no reply, or the model called no tool
            if last is not first:
                yield _lost(first.reply, last)


def _lost(first: Reply, last: ParsedExchange) -> Problem | None:
    """Return the problem of a continued conversation, if any. Raises NotVerifiableError."""
    message = "On the same connection, a response cannot be continued by its id."
    if last.reply is None:
        return Problem(last, message, "a reply", outcome(last))
    if _CODE_WORD in last.reply.text or prompt_tokens(last.reply) > prompt_tokens(first):
        return None
    message = "The prompt that continues a response of the connection is not longer than before."
    got = f"{prompt_tokens(last.reply)}, after {prompt_tokens(first)} in the request before"
    return Problem(last, message, "more prompt tokens", got, "$.usage.input_tokens")


@GROUP.probe(
    "state.websocket.prepared",
    _OPEN,
    _TOLD,
    _PREPARED,
    fix="With generate false, keep the request without a reply, or refuse it with an error event.",
)
def _prepared(greeting: Sent, told: Sent, prepared: Sent) -> Trials:
    """With `generate: false`, a request gets no output, and can be continued by its id.

    Codex 0.171 sends its instructions and tools so, before its question. A server that ignores the
    member bills a reply that nobody reads; one that drops the request loses the instructions.
    """
    for rollout in _open(greeting, prepared):
        first, last = rollout.exchanges[0], rollout.exchanges[-1]
        if first.reply is None:
            message = "A request with `generate: false` got neither a response nor an error event."
            wrong = Problem(first, message, "an empty response", outcome(first))
            yield None if _has_error(first) else wrong
        elif first.reply.generated.strip():
            message = "The provider accepts `generate: false`, and generates a reply."
            yield Problem(first, message, "no output", first.reply.generated, "$.response.output")
        elif last is first:
            raise NotVerifiableError("not_continued")
        else:
            yield _lost(told.first[1], last)


_WRONG = GROUP.send(
    _message(
        "wrong",
        _HI,
        together=({"previous_response_id": _UNKNOWN}, {}),
        whole=False,
        valid=False,
    )
)


@GROUP.probe(
    "state.websocket.errors",
    _OPEN,
    _WRONG,
    component="errors",
    fix="Send an event of the type error with its status, and keep the connection open.",
)
def _errors(greeting: Sent, failing: Sent) -> Trials:
    """A request with an error gets an event of the type error, and the connection stays open.

    If it is closed instead, clients do not learn what was wrong, repeat the request, and lose the
    conversation that only the connection knows.
    """
    for rollout in _open(greeting, failing):
        if len(rollout.exchanges) < _SENT:
            continue  # a damaged record
        _, wrong, right = rollout.exchanges[:_SENT]
        if wrong.reply is not None:
            raise NotVerifiableError("wrong_accepted")
        for exchange, good, message, expected in (
            (
                wrong,
                _has_error(wrong),
                "A wrong request got no event of the type error.",
                "an error event",
            ),
            (right, right.reply is not None, "After an error, a request got no reply.", "a reply"),
        ):
            if not good:
                yield Problem(exchange, message, expected, outcome(exchange))
                break
        else:
            yield None


def _has_error(exchange: ParsedExchange) -> bool:
    known = exchange.status is not None
    return known and (not exchange.good_status or bool(exchange.error_events))


_OTHER = {"type": "message", "role": "user", "content": _say(_WORDS[1])[0].text}
_TWO = GROUP.send(
    _message("two", _say(_WORDS[0]), together=({"input": [_OTHER]},), tries=_TRIES, valid=False)
)


@GROUP.probe(
    "state.websocket.order",
    _OPEN,
    _TWO,
    component="shared",
    fix="Answer the requests of a connection one after another, or name the stream of each event.",
)
def _order(greeting: Sent, two: Sent) -> Trials:
    """Two requests on one connection are answered one after another.

    Only the order tells a client to which request an event belongs. If the events of two responses
    are mixed, it joins pieces of both.
    """
    for rollout in _open(greeting, two):
        yield next(_mixed(rollout), None)


def _response_ids(exchange: ParsedExchange) -> set[str]:
    responses = [(event.data or {}).get("response") for event in exchange.events]
    return {str(each.get("id")) for each in responses if isinstance(each, dict)}


def _mixed(rollout: ParsedRollout) -> Iterator[Problem]:
    named = {exchange.index: _response_ids(exchange) for exchange in rollout.exchanges}
    for exchange in rollout.exchanges:  # A reply that its limit cuts is missing.
        own, other = _WORDS[exchange.index], _WORDS[1 - exchange.index]
        ids = named[exchange.index]
        # An id that is in one of them only belongs to a response that changes its own.
        if len(ids) > 1 and any(ids & each for each in named.values() if each is not ids):
            message = "The events of two responses are mixed on one connection."
            yield Problem(exchange, message, "the events of one response", ", ".join(sorted(ids)))
        elif exchange.reply is None:
            message = "One of two requests on a connection got no reply."
            yield Problem(exchange, message, "a reply", outcome(exchange))
        else:
            said = exchange.reply.generated.lower()
            if other in said and own not in said:
                message = "A request on a connection got the reply to another one."
                yield Problem(exchange, message, own, exchange.reply.text)
