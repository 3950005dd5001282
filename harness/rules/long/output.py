"""Long replies: the model copies a document twice, so that the reply is long."""

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
from harness.rules.probe import Sent, Trials
from harness.rules.rule import Problem

_LONG_PROMPT = cell(20_000, COUNTED)  # longer than a prompt and its copies: both fit if it does
_LONG = 4096  # output tokens of a reply that shows that there is no lower limit


def _tokens(reply: Reply) -> int:
    """Return the tokens of prompt and reply, as far as they are reported."""
    return (reply.input_tokens or 0) + (reply.output_tokens or 0)


def _ended_early(copied: Sent, message: str, expected: str) -> Trials:
    """Judge whether a limit of the server cut a reply, rather than a full context."""
    replies = copied.beside(*copied.responses.rollouts).readable
    longest = max((_tokens(reply) for _, reply in replies), default=0)
    for exchange, reply in copied.replies:
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
    COPY,
    modes=("streaming",),
    unjudged="short_or_full",
    fix="Apply no limit of output tokens that the request does not set.",
    component="ends",
)
def _limited(copied: Sent) -> Trials:
    """A long reply is not truncated below the limit of its request.

    CoT and answers of hard tasks have tens of thousands of tokens. A provider with its own limit
    must reject requests with a higher one.
    """
    message = "A long reply was truncated below the limit of its request."
    return _ended_early(copied, message, "the limit of the request")


@GROUP.probe(
    "long.output.default",
    UNLIMITED,
    _LONG_PROMPT,
    severity="warning",
    unjudged="short_or_full",
    fix="Apply no limit of output tokens that the request does not set.",
    component="ends",
)
def _default(copied: Sent, _: Sent) -> Trials:
    """A long reply to a request without a token limit ends by itself or where the context is full.

    Many clients set no limit. A default of a few thousand tokens ends CoT before the answer begins.
    """
    message = "A long reply to a request without a token limit was truncated."
    return _ended_early(copied, message, "a complete reply")
