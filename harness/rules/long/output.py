"""Long replies: the model copies a document twice, so that each line of the reply is known."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import pairwise

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.long.requests import (
    COPIED,
    COPIED_TOKENS,
    COPIES,
    COPY,
    COUNTED,
    GROUP,
    SLACK,
    UNLIMITED,
    cell,
)
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import ProbeResponses, TrialResult, Trials
from harness.rules.rule import Problem

_LONG_PROMPT = cell(20_000, COUNTED)  # longer than a prompt and its copies: both fit if it does
_LONG = 4096  # output tokens of a reply that shows that there is no lower limit
_LEAST_COPIED = 0.5  # the smallest share of the lines that a reply must reach to be judged
_WRONG = 0.02  # the share of the lines that a model may miscopy
_GAP = 4  # lines in a row that a model hardly miscopies; a block of a KV cache has about as many
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


@GROUP.probe("long.output.lines", (UNLIMITED,), severity="info", component="engine", witness=True)
def _lines(responses: ProbeResponses) -> Trials:
    """A reply that copies a long document contains every line of it.

    Lost parts of a stream, wrong positions and wrong cache pages damage long replies, but the model
    itself may also fail.
    """
    responses.all(*COPIED)
    found = [
        result
        for name, exchange, reply in responses.readable(*COPIED)
        for result in _miscopied(exchange, reply, COPIED[name].splitlines() * COPIES)
    ]
    yield from required(found, "does_not_copy", tokens=COPIED_TOKENS)


def _miscopied(exchange: ParsedExchange, reply: Reply, lines: list[str]) -> Iterator[TrialResult]:
    """Judge the copied lines of a reply up to the last one; nothing if these are too few."""
    copied = list(map(str.strip, reply.text.splitlines()))
    same = SequenceMatcher(None, lines, copied, autojunk=False).get_matching_blocks()
    right = {at for block in same for at in range(block.a, block.a + block.size)}
    reached = max(right, default=-1) + 1
    if reached < _LEAST_COPIED * len(lines):
        return
    wrong = reached - len(right)
    gap = max(later - at - 1 for at, later in pairwise((-1, *sorted(right))))
    if wrong <= _WRONG * reached and gap < _GAP:
        yield None
        return
    first = min({*range(reached)} - right)
    message = (
        f"{wrong} of {reached} copied lines are missing or changed: a limit of the model, or a "
        "defect of positions, cache or stream. Test the same weights on another server to find "
        "out which."
    )
    yield Problem(exchange, message, lines[first], f"another line {first + 1}")


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
