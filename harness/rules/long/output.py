"""Long replies: the model copies a document twice, so that the reply is long."""

from itertools import pairwise

from harness.api.items import Reply
from harness.rules.long.requests import (
    COPY,
    COUNTED,
    GROUP,
    SLACK,
    UNLIMITED,
    cell,
)
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeResponses, Trials
from harness.rules.rule import Problem

_LONG_PROMPT = cell(20_000, COUNTED)  # longer than a prompt and its copies: both fit if it does
_LONG = 4096  # output tokens of a reply that shows that there is no lower limit
_SILENCE = 60.0
"""Seconds after which nginx (`proxy_read_timeout`) and AWS load balancers close a silent connection
by default."""


def _tokens(reply: Reply) -> int:
    """Return the tokens of prompt and reply, as far as they are reported."""
    return (reply.input_tokens or 0) + (reply.output_tokens or 0)


def _ended_early(responses: ProbeResponses, name: str, message: str, expected: str) -> Trials:
    """Judge whether a limit of the server cut a reply, rather than a full context."""
    replies = responses.readable(*responses.rollouts)
    longest = max((_tokens(reply) for _, _, reply in replies), default=0)
    for exchange, reply in responses.replies(name):
        count, limit = reply.output_tokens, exchange.request.limit
        if count is None:
            raise NotVerifiableError("no_output_tokens")
        if exchange.truncated and (limit is None or count < limit):
            if _tokens(reply) + SLACK < longest:
                got = f"{count:,} tokens; {longest:,} tokens of prompt and reply fit"
                yield Problem(exchange, message, expected, got, "$.usage")
        elif count >= _LONG:
            yield None


@GROUP.probe(
    "long.output.limit",
    (COPY,),
    modes=("streaming",),
    unjudged="short_or_full",
    fix="Apply no limit of output tokens that the request does not set.",
    component="ends",
)
def _limited(responses: ProbeResponses) -> Trials:
    """A long reply is not truncated below the limit of its request.

    CoT and answers of hard tasks have tens of thousands of tokens. A provider with its own limit
    must reject requests with a higher one.
    """
    message = "A long reply was truncated below the limit of its request."
    return _ended_early(responses, COPY, message, "the limit of the request")


@GROUP.probe(
    "long.output.default",
    (UNLIMITED, _LONG_PROMPT),
    severity="warning",
    unjudged="short_or_full",
    fix="Apply no limit of output tokens that the request does not set.",
    component="ends",
)
def _default(responses: ProbeResponses) -> Trials:
    """A long reply to a request without a token limit ends by itself or where the context is full.

    Many clients set no limit. A default of a few thousand tokens ends CoT before the answer begins.
    """
    message = "A long reply to a request without a token limit was truncated."
    return _ended_early(responses, UNLIMITED, message, "a complete reply")


@GROUP.probe(
    "long.output.gaps",
    (COPY,),
    severity="warning",
    modes=("streaming",),
    unjudged="reply_too_short",
    component="events",
    fix="Send every token when it is generated, or a comment while nothing is.",
)
def _gaps(responses: ProbeResponses) -> Trials:
    """A long stream has no gap after which clients and proxies close the connection.

    A server that generates for a long time without an event must send comments in between. The time
    until the first text does not count, because the request may wait in a queue.
    """
    message = "Nothing arrived for a long time while the reply was generated."
    expected = f"at most {_SILENCE:.0f} s between two events"
    for exchange in responses.last(COPY, mode="streaming"):
        response, begun = exchange.recorded.response, next(iter(exchange.text_times), 0.0)
        parts = response.parts if response else ()
        times = [part.at for part in parts if part.at >= begun]
        gap = max((later - at for at, later in pairwise(times)), default=0.0)
        if gap > _SILENCE:
            yield Problem(exchange, message, expected, f"{gap:.0f} s")
        elif exchange.reply and (exchange.reply.output_tokens or 0) >= _LONG:
            yield None
