"""Replies that lack what the model wrote, or have an excuse instead."""

from collections.abc import Iterator
from contextlib import suppress

from harmony.render import RenderError
from harness.api.items import Reply
from harness.api.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    are_joined,
    call_header,
    hides_cot,
    ledger,
    token_count,
)
from harness.api.parsed_rollout import ParsedExchange
from harness.records.replies import Ledger
from harness.records.scores import Severity
from harness.rules.account.counting import LONGEST_HEADER, SURELY, has_whole_cot
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers, counted, delivered_answers, ended
from harness.rules.habits import MALFORMED_HEADERS, unmeasured
from harness.rules.rule import CHAT, GUIDE, HARMONY, Problem

family = Family("limits", CHAT, component="output")
_EMPTY_MESSAGES = 2
"""Messages without text, or further messages of CoT, that the model may have written."""
SPELLED_OTHERWISE = 4
"""The model may spell a tool's name with one extra token for this many tokens."""
_FILTERED = 0.02
"""The share of harmless requests from which a filter makes agents useless."""
_MOST_OF_HEADERS = 128
"""Tokens of a truncated reply that headers explain: those of empty messages, and of a long name."""


@family.check(
    "reply.empty",
    ended,
    lambda answer: not (answer.misplaced or answer.exchange.request.stops or _calls_client(answer)),
    source=GUIDE,
    habit=unmeasured(0.02),
)
def _empty(answer: Answer) -> Iterator[Problem]:
    """A reply that ended normally contains an answer or a tool call.

    Otherwise the user gets nothing, and no error explains why. The model itself may end its reply
    after the CoT: it did so if the reported tokens are those of the CoT alone, which it may spell
    with more tokens than the tokenizer. The checks
    reply.lost, finish.limit and stop.early report replies that the server emptied or cut.
    """
    exchange, reply = answer
    if _is_empty(reply) and not exchange.at_limit and not _lost_tokens(answer):
        message = "The reply ended normally without an answer or a tool call."
        kinds = dict.fromkeys(str(item.get("type")) for item in answer.output)
        parts = ", ".join(kinds) or ("reasoning" if reply.reasoning else "")
        got = f"only {parts}" if parts else "no content"
        counted = answer.ledger
        more = counted.extra if counted is not None else 0
        own = counted is not None and counted.cot > 0 and (not more or has_whole_cot(counted, more))
        severity: Severity | None = "info" if own else None
        yield Problem(exchange, message, "an answer or a tool call", got, severity=severity)


@family.check(
    "reply.refused",
    delivered_answers,
    severity="warning",
    source=HARMONY,
    error_above=_FILTERED,
    component="filter",
    fix="Switch the filter off, or set it so that it does not stop harmless requests.",
    recordings=False,
)
def _refused(answer: Answer) -> Iterator[Problem]:
    """No content filter blocks this tool's harmless requests.

    gpt-oss writes its own refusals as ordinary answers. A `refusal` or the finish reason
    content_filter comes from a filter of the provider, which also stops harmless agents. It is an
    error if it stops more than 2% of the replies. Probes do not judge what it left of them.
    """
    if refusals := answer.refusals:
        message, got = "The reply is a refusal by a filter.", ", ".join(refusals)
        yield Problem(answer.exchange, message, "an answer or a tool call", got)


family.account_rule(
    "reply.declined",
    "No filter answers this tool's harmless requests with a refusal in place of the model. Clients "
    "take it for an answer. Its tokens are not those counted, or it lacks the CoT of others.",
    component="filter",
    fix="Switch the filter off, or report in the finish reason that it acted.",
)


@family.check(
    "reply.lost",
    answers,
    lambda answer: (
        _has_counted_cot(answer)
        or _returns_nothing(answer)
        or (answer.reply.output_tokens and not _is_empty(answer.reply))
    ),
    source=HARMONY,
    habit=MALFORMED_HEADERS,
    counts=True,
    reads=("extras",),
)
def _lost(answer: Answer) -> Iterator[Problem]:
    """A reply without an answer or a tool call has no tokens beyond its CoT.

    Otherwise the model wrote an answer or a call, and the server lost it. If the reply contains
    nothing at all, it lost the CoT, too. A call whose header the model misspelled is not a call,
    and its tokens are not counted. In rare replies, these are all tokens beyond the CoT: a few, not
    more than malformed headers have, or those of several messages of CoT that the server joined.
    Of recorded traffic, whose models are large, fewer beside tools are a call.
    Parsers may drop a call that the token limit cut.
    """
    exchange, reply = answer
    if lost := _lost_tokens(answer):
        message = "The reply is empty, but reports more tokens than its CoT explains."
        if not reply.reasoning:
            message = "The reply contains nothing, but reports output tokens."
        got = f"{reply.output_tokens} tokens"
        known = SURELY if exchange.imported and exchange.request.functions else LONGEST_HEADER
        sure = lost > known and not are_joined(lost, reply.reasoning)
        proven = sure and not (reply.reasoning and exchange.truncated)
        expected = f"text for {lost} more tokens"
        path = "$.output" if exchange.api == "responses" else "$.choices"
        yield Problem(exchange, message, expected, got, path, proven=proven)


@family.check(
    "reply.lost.truncated",
    counted,
    lambda answer: answer.reply.finish == "length" and _shows_all(answer),
    severity="warning",
    source=GUIDE,
    habit=unmeasured(0.02),
    fix="Return a message that the token limit cut in the field of its channel, as a complete one.",
    reads=("extras",),
)
def _cut_to_nothing(answer: Answer) -> Iterator[Problem]:
    """A reply that was truncated at the token limit contains the text before the limit.

    Users pay for this text, and the CoT shows them that the limit is too low. A limit that falls
    inside the header of a message or call is not reported. The check reply.lost reports replies
    with more tokens than a header can have.
    """
    exchange, reply = answer
    if _lost_tokens(answer):
        return
    calls = (call_header(name) for name in exchange.request.functions)
    least = COT_HEADER + max(ANSWER_HEADER, *calls, 0)
    if _is_empty(reply) and not reply.reasoning and (reply.output_tokens or 0) > least:
        message = "The reply was truncated at the token limit, and contains no text."
        got = f"no text, {reply.output_tokens} tokens"
        yield Problem(exchange, message, "the CoT or the answer up to the limit", got)


def _calls_client(answer: Answer) -> bool:
    """Whether a response calls a tool of the client that is not a function, such as a shell.

    Calls that the provider runs have no `call_id`.
    """
    declared = bool(answer.exchange.request.built_in)
    called = any(item.get("call_id") for item in answer.output)
    return bool(answer.reply.custom_calls) or (declared and called)


def _is_empty(reply: Reply) -> bool:
    return not reply.calls and not reply.text.strip()


def _returns_nothing(answer: Answer) -> bool:
    """Whether a counted reply has no CoT, text or call, and nothing else that explains its tokens.

    A stop string may have ended the reply at its beginning.
    """
    exchange, reply = answer
    ended = reply.finish in ("stop", "tool_calls", "length") and not exchange.request.stops
    empty = _is_empty(reply) and not reply.reasoning
    return bool(ended and empty and reply.output_tokens) and _shows_all(answer)


def _shows_all(answer: Answer) -> bool:
    """Whether a reply shows all that the model wrote.

    A summary contains CoT: responses.reasoning.content reports it. Encrypted CoT is not shown.
    """
    request = answer.exchange.request
    shown = request.choices == 1 and not request.built_in and not hides_cot(answer.exchange)
    return shown and all(
        item.get("type") in ("reasoning", "message")
        and not (item.get("summary") or item.get("encrypted_content"))
        for item in answer.output
    )


def _lost_tokens(answer: Answer) -> int:
    """Return the tokens of an empty reply beyond its CoT; 0 if headers explain them."""
    exchange, reply = answer
    if not _is_empty(reply):
        return 0
    if _returns_nothing(answer):
        tokens = reply.output_tokens or 0
        least = _MOST_OF_HEADERS if exchange.truncated else max(_headers(exchange))
        return tokens if tokens > least else 0
    counted = answer.ledger or _cut_outside_calls(exchange)
    if counted is None or not counted.cot:
        return 0
    explained = max(*_headers(exchange), counted.spelling)
    if exchange.truncated:
        explained = max(explained, _MOST_OF_HEADERS)
    return counted.difference if counted.difference > explained else 0


def _has_counted_cot(answer: Answer) -> bool:
    counted = answer.ledger or _cut_outside_calls(answer.exchange)
    return counted is not None and counted.cot > 0


def _cut_outside_calls(exchange: ParsedExchange) -> Ledger | None:
    """Return the ledger of a truncated reply that cannot be an unfinished call, if it has one."""
    request = exchange.request
    may_call = bool(request.functions) and request.tool_choice != "none"
    return None if may_call else ledger(exchange, "limit")


def _headers(exchange: ParsedExchange) -> Iterator[int]:
    """Yield the numbers of tokens of messages that the model may have begun without writing a text.

    Parsers drop a call whose header the model misspelled: 4% of the small model's replies with a
    tool name of 64 letters.
    """
    yield _EMPTY_MESSAGES * ANSWER_HEADER
    for name in exchange.request.functions:
        with suppress(RenderError):
            yield call_header(name) + (token_count(name) or 0) // SPELLED_OTHERWISE
