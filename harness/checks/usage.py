"""Token counts: present, possible, and adding up."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.base import CHAT, Family, Problem
from harness.checks.subjects import Answer, Counted, answers, counted, limited

family = Family("usage")

_PATH = "$.usage"
_INPUT_DETAILS = {"chat": "prompt_tokens_details", "responses": "input_tokens_details"}
_BILLING_WHY = "Users are billed and budgets are kept by these figures."
# Tokens of harmony's own markers and headers in one reply, with room to spare.
_MARKERS = 64
# Bytes of text behind one token, at most, on average. English has about 4.
_MOST_BYTES = 16


@family.check(
    "usage.missing",
    over=answers,
    severity="warning",
    summary="Every reply reports its token counts.",
    why="Clients survive without, but nobody can check cost or context.",
    source=CHAT,
)
def _missing(answer: Answer) -> Iterator[Problem]:
    usage = answer.reply.usage
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        got = "none" if usage is None else "a part of them"
        expected = "input and output token counts"
        yield Problem(answer.turn, "Token counts are missing.", expected, got, _PATH)


@family.check(
    "usage.sum",
    over=counted,
    severity="error",
    summary="Input and output tokens add up to the total.",
    why=_BILLING_WHY,
    source=CHAT,
)
def _sum(said: Counted) -> Iterator[Problem]:
    usage = said.usage
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    if usage.total_tokens is not None and usage.total_tokens != total:
        message = "The total is not the sum of input and output tokens."
        yield Problem(said.turn, message, str(total), str(usage.total_tokens), _PATH)


@family.check(
    "usage.zero",
    over=counted,
    severity="error",
    summary="A request that was answered has input and output tokens.",
    why=_BILLING_WHY,
    source=CHAT,
)
def _zero(said: Counted) -> Iterator[Problem]:
    for name, count in (("input", said.usage.input_tokens), ("output", said.usage.output_tokens)):
        if _text(said) and count is not None and count <= 0:
            message = f"Something was said, yet no {name} tokens are reported."
            yield Problem(said.turn, message, "more than 0", str(count), _PATH)


@family.check(
    "usage.reasoning.excess",
    over=counted,
    severity="error",
    summary="Reasoning tokens are a part of the output tokens.",
    why=_BILLING_WHY,
    source=CHAT,
)
def _reasoning_excess(said: Counted) -> Iterator[Problem]:
    reasoning, output = said.usage.reasoning_tokens, said.usage.output_tokens or 0
    if reasoning is not None and not 0 <= reasoning <= output:
        message = "There are more reasoning tokens than output tokens, or fewer than none."
        yield Problem(said.turn, message, f"0 to {output}", str(reasoning), _PATH)


@family.check(
    "usage.cached.excess",
    over=counted,
    severity="error",
    summary="Cached tokens are a part of the input tokens.",
    why=_BILLING_WHY,
    source=CHAT,
)
def _cached_excess(said: Counted) -> Iterator[Problem]:
    counts = said.reply.raw.get("usage")
    details = counts.get(_INPUT_DETAILS[said.turn.api]) if isinstance(counts, dict) else None
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    given = said.usage.input_tokens
    if isinstance(cached, int) and given is not None and not 0 <= cached <= given:
        message = "There are more cached tokens than input tokens, or fewer than none."
        yield Problem(said.turn, message, f"0 to {given}", str(cached), _PATH)


@family.check(
    "usage.reasoning.missing",
    over=counted,
    severity="warning",
    summary="Reasoning tokens are counted where there was reasoning.",
    why="Some servers never count them; clients survive.",
    source=CHAT,
)
def _reasoning_missing(said: Counted) -> Iterator[Problem]:
    if said.reply.reasoning and not said.usage.reasoning_tokens:
        message = "There is reasoning, but no reasoning tokens are reported."
        yield Problem(said.turn, message, "more than 0", str(said.usage.reasoning_tokens), _PATH)


@family.check(
    "usage.output.unseen",
    over=counted,
    severity="warning",
    summary="The output tokens that are reported were returned, save a few for markers.",
    why="A part of the reply was lost on the way, or is billed twice; a token has a byte at least.",
    source=CHAT,
)
def _unseen(said: Counted) -> Iterator[Problem]:
    size, tokens = len(_text(said).encode(errors="replace")), said.usage.output_tokens or 0
    if tokens > size + _MARKERS and said.turn.asked.choices == 1:
        message = "More tokens are reported than the whole reply has bytes."
        yield Problem(said.turn, message, f"at most {size + _MARKERS}", str(tokens), _PATH)


@family.check(
    "usage.output.uncounted",
    over=counted,
    severity="warning",
    summary="The output tokens that are reported can hold the reply.",
    why="A part of the reply, mostly the CoT, is left out of the count.",
    source=CHAT,
)
def _uncounted(said: Counted) -> Iterator[Problem]:
    size, tokens = len(_text(said).encode(errors="replace")), said.usage.output_tokens or 0
    if 0 < tokens * _MOST_BYTES < size:
        message = "Fewer tokens are reported than the reply must have."
        expected = f"at least {size // _MOST_BYTES} for {size} bytes"
        yield Problem(said.turn, message, expected, str(tokens), _PATH)


@family.check(
    "usage.limit",
    over=limited,
    severity="error",
    summary="A reply has no more output tokens than the request allows.",
    why="The limit is what keeps cost and waiting in bounds.",
    source=CHAT,
)
def _limit(said: Counted) -> Iterator[Problem]:
    asked, tokens = said.turn.asked, said.usage.output_tokens or 0
    if asked.limit is not None and tokens > asked.limit * asked.choices:
        message = "The reply is longer than the request allows."
        most = f"at most {asked.limit * asked.choices} tokens"
        yield Problem(said.turn, message, most, str(tokens), _PATH)


def _text(said: Counted) -> str:
    """All that was returned, as one text."""
    reply = said.reply
    calls = (f"{call.name}{call.arguments}" for call in reply.calls)
    return "".join((reply.reasoning, reply.text, *calls))
