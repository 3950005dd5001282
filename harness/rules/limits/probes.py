"""Where a reply ends: at the token limit, or at a stop string."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain

from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.conditions import MODES, Api
from harness.rules.evidence.json_text import parsed_object
from harness.rules.evidence.ledger import FRAMING
from harness.rules.evidence.offers import NOTE, answer_format, closed
from harness.rules.evidence.refusals import declined, outcome, served
from harness.rules.limits.checks import finish_reason
from harness.rules.missing import NotVerifiableError, repeated, required
from harness.rules.probe import (
    GARBLED,
    MAY_BE_REFUSED,
    MORE_TOKENS,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
)
from harness.rules.rule import CHAT, RESPONSES, STOP_IN_COT, Problem
from harness.text import shared_beginning

LIMIT = 40  # output tokens; ends within a long answer, or within the arguments of a long call
LEAST = 1024  # output tokens that a reply without a limit may have at least
_DEFAULTS = (128, 256, 512, 1024)  # limits that servers were seen to set for such a reply
STOP, _BEGINNING_OF_STOP = "code word", "code"
_UNUSED_STOP = "\nObservation:"
_TRIES, _TRIES_OF_SEVERAL = 3, 2
"""Requests with a stop string. Two must show a problem: servers differ in the parts of a reply that
they match, and a model may spell the string in another way."""

_TEXT = (
    "From the quay to the light it is two miles; keep the church behind the white house. The boat "
    "that lies by the old mill has two sails and a green flag. At nine the wind turns to the west, "
    "and five men bring bread, salt, apples and rope on board before the tide falls."
)
_LONG = (Message("user", f"Please repeat after me: {_TEXT}"),)
_LONG_ANSWERS = {
    "long answer": "Write all numbers from 1 to 400 in words, one per line. Leave none out.",
    "other long answer": (
        "Write all numbers from 401 to 800 in words, one per line. Leave none out, and do not "
        "abbreviate."
    ),
}
_TOOL_LONG = (Message("user", f"Save this note: {_TEXT}"),)
_QUESTION = (
    Message("developer", "The code word is orchid596. Answer in a whole sentence."),
    Message("user", "What is the code word?"),
)
_FEATURE = "a low token limit"
_OTHER_LIMIT = "max_completion_tokens"
_CUT_JSON, _WITHIN_JSON = "cut list", 320  # its limit; ends within the list
_IN_COT, _WITHIN_COT = "cut in the CoT", 24  # its limit; a CoT with high effort is longer
_AT_HEADER = {f"cut at {limit}": limit for limit in range(16, 48, 4)}
"""Requests whose limits are 4 tokens apart: four limits fall inside the header between CoT and
answer, so one of these does if the CoT has 8 to 39 tokens."""
_ZEROS = 360
"""Entries of a list that a schema requires. The answer has more than `LEAST` tokens, also that of a
model that ends other answers early."""
_LIST = (Message("user", f"Give a JSON object whose zeros is a list of {_ZEROS} zeros."),)
_OF_ZEROS = closed(
    {
        "zeros": {
            "type": "array",
            "items": {"type": "integer", "enum": [0]},
            "minItems": _ZEROS,
            "maxItems": _ZEROS,
        }
    }
)


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    refusable = MAY_BE_REFUSED | {"request.failed"}
    stop, other = {"stop": [STOP]}, {_OTHER_LIMIT: LIMIT}
    several = {"stop": [_UNUSED_STOP, STOP]}
    cut = partial(ProbeRequest, effort="low", max_tokens=LIMIT, whole=False)
    requests = [
        cut("cut", _LONG),
        cut("cut tool", _TOOL_LONG, (NOTE,)),
        cut("unlimited", _QUESTION, effort="high", temperature=0.0, max_tokens=None),
        cut(_IN_COT, _QUESTION, effort="high", temperature=0.0, max_tokens=_WITHIN_COT, tries=2),
        cut(
            _CUT_JSON,
            _LIST,
            max_tokens=_WITHIN_JSON,
            options=answer_format(api, _OF_ZEROS),
            provokes=refusable | GARBLED | {"text.runaway", "answer.json"},
        ),
        *(
            cut(name, _QUESTION, effort=None, temperature=0.0, max_tokens=limit, provokes=refusable)
            for name, limit in _AT_HEADER.items()
        ),
        cut(
            "unlimited list",
            _LIST,
            max_tokens=None,
            options=answer_format(api, _OF_ZEROS),
            context=2 * LEAST,
            provokes=refusable | GARBLED | {"text.runaway", "answer.json"},
        ),
        *(
            cut(
                name,
                (Message("user", text),),
                max_tokens=MORE_TOKENS,
                context=MORE_TOKENS + LEAST,
                provokes=MAY_BE_REFUSED,
            )
            for name, text in _LONG_ANSWERS.items()
        ),
        ProbeRequest("whole", _QUESTION, temperature=0.0),
        ProbeRequest(
            "stopped", _QUESTION, temperature=0.0, options=stop, tries=_TRIES, provokes=refusable
        ),
        ProbeRequest(
            "stopped by another",
            _QUESTION,
            temperature=0.0,
            options=several,
            tries=_TRIES_OF_SEVERAL,
            provokes=refusable,
        ),
    ]
    if api == "chat":
        requests.append(
            cut("cut otherwise", _LONG, max_tokens=None, options=other, provokes=refusable)
        )
    return tuple(requests)


GROUP = ProbeGroup("limits", _requests, RESPONSES, component="ends")


@GROUP.probe(
    "limits.finish",
    ("cut", "cut tool"),
    modes=MODES,
    unjudged="shorter_than_limit",
    fix=(
        "Report the reason length (Responses: incomplete) whenever the limit cut a reply, also "
        "inside a call."
    ),
)
def _finish(responses: ProbeResponses) -> Trials:
    """A longer reply ends at the token limit and reports the truncation.

    Otherwise clients take a truncated answer for a complete one, or pay for an endless one. A
    refused request is no reply without an end.
    """
    sent = [one for name in ("cut", "cut tool") for one in served(responses, name, _FEATURE)]
    return chain.from_iterable(_limited(rollout.exchanges[-1]) for rollout in sent)


@GROUP.probe(
    "limits.finish.max_completion_tokens",
    ("cut otherwise",),
    source=CHAT,
    apis=("chat",),
    unjudged="shorter_than_limit",
    fix="Apply max_completion_tokens as the limit of output tokens.",
)
def _finish_otherwise(responses: ProbeResponses) -> Trials:
    """max_completion_tokens limits a Chat reply like max_tokens.

    OpenAI's SDKs and agents use this name today. To refuse it is a warning.
    """
    for rollout in responses.all("cut otherwise"):
        last = rollout.exchanges[-1]
        if declined(rollout):
            message = f"The provider refuses {_OTHER_LIMIT}."
            refusal = Problem(last, message, "a reply", outcome(last), f"$.{_OTHER_LIMIT}")
            yield replace(refusal, severity="warning")
        else:
            yield from _limited(last)


def _limited(exchange: ParsedExchange) -> Trials:
    """Judge one reply; nothing if it ended on its own before the limit."""
    reply = exchange.reply
    if exchange.unreadable:
        raise NotVerifiableError("unreadable")
    if reply is None:
        message = "A request with a low token limit got no reply."
        yield Problem(exchange, message, "a reply that reports its truncation", outcome(exchange))
        return
    count = reply.output_tokens
    if count is not None and count > LIMIT + FRAMING:
        message = "The reply is longer than the token limit."
        yield Problem(exchange, message, f"at most {LIMIT} tokens", f"{count}", "$.usage")
    elif reply.finish == "length":
        yield None
    elif count == LIMIT or not (reply.text or reply.calls):
        got = f"{_end(exchange, reply)}, {count} tokens"
        yield Problem(exchange, _unreported(reply), _TRUNCATED[exchange.api], got)


def _unreported(reply: Reply) -> str:
    """What is wrong with a reply that does not report that the token limit cut it."""
    if reply.raw.get("status") == "incomplete":
        return "The response is incomplete, but does not name the token limit as the reason."
    if reply.output_tokens == LIMIT:
        return "The reply ends exactly at the token limit, but does not report that it was cut."
    return "The reply has no answer, and does not report that the token limit cut it."


def _end(exchange: ParsedExchange, reply: Reply) -> str:
    """Return the reported end of a reply, in the terms of its API."""
    if exchange.api == "chat":
        return f"finish_reason {finish_reason(reply.raw)}"
    names = ("status", "incomplete_details")
    return ", ".join(f"{name} {reply.raw.get(name)!r}" for name in names)


_TRUNCATED: Mapping[Api, str] = {
    "chat": "finish_reason length",
    "responses": 'status incomplete, incomplete_details {"reason": "max_output_tokens"}',
}


@GROUP.probe(
    "limits.default",
    ("unlimited", "unlimited list"),
    fix="Apply no limit of output tokens that the request does not set.",
)
def _default(responses: ProbeResponses) -> Trials:
    """A reply to a request without a token limit is not truncated early.

    A low default limit ends the replies of a reasoning model before the answer begins. A schema
    makes one of the replies long; a provider without schemas may refuse it.
    """
    replies = list(responses.replies("unlimited"))
    with suppress(NotVerifiableError):
        replies += responses.replies("unlimited list")
    for exchange, reply in replies:
        count = reply.output_tokens
        within = reply.text.startswith("{") and parsed_object(reply.text.strip()) is None
        if reply.finish != "length" and not (within and count in _DEFAULTS):
            yield None
        elif count is None:
            raise NotVerifiableError("no_output_tokens")
        else:
            message, expected = "A reply without a token limit was truncated.", f"more than {LEAST}"
            early = Problem(exchange, message, f"{expected} tokens", f"{count}", "$.usage")
            yield early if count <= LEAST else None


@GROUP.probe(
    "limits.long",
    _LONG_ANSWERS,
    unjudged="replies_too_short",
    fix="Apply no limit of output tokens that the request does not set.",
)
def _long(responses: ProbeResponses) -> Trials:
    """A reply of more than 1,024 tokens is not truncated below the limit of its request.

    The CoT of hard problems is longer. A provider with its own limit must reject requests with a
    higher one.
    """
    replies = list(responses.replies(*_LONG_ANSWERS))
    ends = {reply.output_tokens for exchange, reply in replies if exchange.truncated}
    prompts = {reply.input_tokens for exchange, reply in replies if exchange.truncated}
    hidden = len(ends) == 1 and len(prompts) > 1
    for exchange, reply in replies:
        count = reply.output_tokens or 0
        if exchange.truncated and hidden and count < MORE_TOKENS:
            message = (
                "Replies are truncated below the limit of their request, all at the same length."
            )
            yield Problem(exchange, message, f"{MORE_TOKENS} tokens", f"{count}", "$.usage")
        elif count >= LEAST:
            yield None


_prefix_probe = partial(
    GROUP.probe,
    modes=MODES,
    component="output",
    unjudged="greedy_replies_differ",
    fix="Return a message that the token limit cut in the field of its channel, and add no text.",
)


@_prefix_probe(
    "limits.prefix",
    ("unlimited", _IN_COT),
    example=(
        "Half of a chain of thought that the limit cut is returned as content.",
        "https://github.com/jundot/omlx/issues/2860",
    ),
)
def _prefix(responses: ProbeResponses) -> Trials:
    """A truncated greedy reply is the beginning of the whole reply, channel by channel.

    Otherwise users read part of the CoT, or a text of the server, as the answer. Replies of which
    rounding errors changed the CoT are not judged.
    """
    return _beginnings(responses, "unlimited", (_IN_COT,))


@_prefix_probe(
    "limits.prefix.header",
    ("whole", *_AT_HEADER),
    modes=("streaming",),
)
def _prefix_at_header(responses: ProbeResponses) -> Trials:
    """A stream that the limit cuts at the header between CoT and answer begins like the whole one.

    Parsers of streams decide at this header where the next text belongs.
    """
    return _beginnings(responses, "whole", _AT_HEADER)


@GROUP.probe(
    "limits.prefix.json",
    (_CUT_JSON,),
    modes=MODES,
    component="output",
    unjudged="shorter_than_limit",
    fix="Return a message that the token limit cut in the field of its channel, and add no text.",
)
def _prefix_of_json(responses: ProbeResponses) -> Trials:
    """A structured answer that the token limit cuts contains the JSON up to the limit.

    Users pay for it, and it shows them that the limit is too low. Parsers that wait for the end of
    the message lose it.
    """
    for rollout in served(responses, _CUT_JSON, "JSON schemas"):
        for exchange, reply in rollout.replies:
            if exchange.truncated:
                message = "A structured answer that the token limit cut is lost."
                got = f"no answer, {reply.output_tokens} tokens"
                lost = Problem(exchange, message, "the beginning of the JSON", got)
                yield None if "{" in reply.text or reply.calls else lost


def _beginnings(responses: ProbeResponses, whole: str, names: Iterable[str]) -> Trials:
    """Compare truncated replies with a whole one.

    A problem must be repeated: rounding errors may have ended the CoT of a healthy reply early.
    """
    of_whole = [reply for _, reply in responses.replies(whole)]
    replies = [(exchange, reply) for _, exchange, reply in responses.readable(*names)]
    judged = [
        (_not_beginning(exchange, reply, of_whole), _is_beginning(reply, of_whole))
        for exchange, reply in replies
        if exchange.truncated
    ]
    yield from repeated(problem for problem, begins in judged if problem or begins)


def _is_beginning(reply: Reply, of_whole: Iterable[Reply]) -> bool:
    return any(
        whole.reasoning.startswith(_decoded(reply.reasoning))
        and whole.text.startswith(_decoded(reply.text))
        for whole in of_whole
    )


def _not_beginning(
    exchange: ParsedExchange, reply: Reply, of_whole: Sequence[Reply]
) -> Problem | None:
    """Return the problem of a truncated reply that has an answer although its CoT is unfinished.

    The CoT is the beginning of that of each whole reply, and the answer is not that of its answer.
    """
    cot, text = _decoded(reply.reasoning), _decoded(reply.text)
    if not text or not of_whole or _is_beginning(reply, of_whole):
        return None
    if all(w.reasoning.startswith(cot) and len(w.reasoning.rstrip()) > len(cot) for w in of_whole):
        message = "The CoT of a truncated reply is unfinished, and yet the reply has an answer."
        return Problem(exchange, message, "only the beginning of the CoT", repr(text))
    if all(w.reasoning.rstrip() == cot and not shared_beginning(w.text, text) for w in of_whole):
        message = "The answer of a truncated reply does not begin like the whole answer."
        return Problem(exchange, message, repr(of_whole[0].text[: len(text)]), repr(text))
    return None


def _decoded(text: str) -> str:
    """Return a truncated text without an incomplete character and white space at its end."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip()


_stop_probe = partial(GROUP.probe, source=CHAT, apis=("chat",), modes=MODES, needs="stop")


@_stop_probe(
    "limits.stop",
    ("whole", "stopped"),
    fix="Look for stop strings in the answer, and hold back text that may begin one.",
)
def _stop(responses: ProbeResponses) -> Trials:
    """A stop string ends the answer, and neither it nor its beginning is part of the answer.

    Programs use it to delimit the answer. Servers that stream every token immediately send the
    beginning before they recognize the string.
    """
    _require_stop(responses.reply("whole")[1].text, "answer")
    yield from _at_stop(served(responses, "stopped", "stop strings"))


def _at_stop(rollouts: Iterable[ParsedRollout]) -> Trials:
    """Judge the replies; one without an answer proves nothing."""
    last = ((rollout, rollout.exchanges[-1].reply) for rollout in rollouts)
    judged = (rollout for rollout, reply in last if reply is None or reply.text)
    yield from repeated(map(_stopped, required(judged, "no_answer")))


def _stopped(rollout: ParsedRollout) -> Problem | None:
    last = rollout.exchanges[-1]
    if last.reply is None:
        return Problem(last, "A request with a stop string got no reply.", "a reply", outcome(last))
    text, got = last.reply.text, repr(last.reply.text)
    if STOP in text:
        return Problem(last, "The answer contains the stop string.", f"no {STOP!r}", got)
    if text.rstrip().endswith(_BEGINNING_OF_STOP):
        message = "The answer ends with the beginning of the stop string."
        return Problem(last, message, f"no {_BEGINNING_OF_STOP!r} at the end", got)
    return None


@_stop_probe(
    "limits.stop.several",
    ("whole", "stopped by another"),
    fix="Pass every string of stop to the engine.",
)
def _any_stop(responses: ProbeResponses) -> Trials:
    """Each of several stop strings ends the answer.

    Agents set the beginnings of several sections as stop strings. The API allows four.
    """
    _require_stop(responses.reply("whole")[1].text, "answer")
    yield from _at_stop(served(responses, "stopped by another", "several stop strings"))


@_stop_probe(
    "limits.stop.cot",
    ("whole", "stopped"),
    source=STOP_IN_COT,
    modes=None,
    severity="warning",
    fix="Look for stop strings in the answer only, not in the CoT or in headers.",
    example=(
        "A stop string in the chain of thought ends the response before its answer.",
        "https://github.com/vllm-project/vllm/issues/38499",
    ),
)
def _stop_in_cot(responses: ProbeResponses) -> Trials:
    """A stop string does not end the reply within its CoT.

    Otherwise programs get no answer at all. Many engines also match stop strings against the CoT.
    """
    _, whole = responses.reply("whole")
    _require_stop(whole.reasoning, "CoT")
    before = whole.text.partition(STOP)[0]
    if not before.strip():
        raise NotVerifiableError("begins_with_stop")
    rollouts = served(responses, "stopped", "stop strings")
    yield from repeated(_ended_in_cot(rollout, before) for rollout in rollouts)


def _ended_in_cot(rollout: ParsedRollout, before: str) -> Problem | None:
    """Return the problem of a reply that ended where its CoT has the stop string, or kept it there.

    An empty reply, or a CoT with the stop string in its middle, has ended for another reason.
    """
    last = rollout.exchanges[-1]
    if last.reply is None or last.reply.text or not last.reply.reasoning.strip():
        return None
    within = last.reply.reasoning.rstrip().removesuffix(STOP)
    if STOP in within:
        return None
    message, expected = "The stop string ended the reply within its CoT.", f"an answer, {before!r}"
    got = f"a CoT that ends with {last.reply.reasoning[-40:]!r}"
    return Problem(last, message, expected, got)


def _require_stop(text: str, place: str) -> None:
    if STOP not in text:
        raise NotVerifiableError("no_stop_string", place=place)
