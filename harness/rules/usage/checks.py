"""Token counts: present, possible, and consistent."""

from collections.abc import Iterator
from itertools import islice

from harness.api.fields import NAMES, nested, objects
from harness.api.ledger import COT_HEADER, SLACK
from harness.api.parsed_rollout import ParsedExchange
from harness.records.scores import Severity
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers, counted, streams
from harness.rules.habits import MALFORMED_HEADERS
from harness.rules.rule import CHAT, Problem

family = Family("usage", CHAT, component="usage")

_PATH = "$.usage"
_COUNTS = {
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
}
_OUTPUT_DETAILS = {"chat": "completion_tokens_details", "responses": "output_tokens_details"}
_FEW_TOKENS = 3
"""With one of `SLACK` in a longer text, a difference that other spellings explain."""


def _promised(answer: Answer) -> bool:
    """Whether the reply must have token counts: Chat streams have them on request only."""
    return _asked(answer) or answer.exchange.api == "responses" or not answer.exchange.events


def _asked(answer: Answer) -> bool:
    return nested(answer.exchange.request.body, "stream_options", "include_usage") is True


@family.check(
    "usage.missing",
    answers,
    _promised,
    severity="warning",
    reads=("extras",),
    fix="Report the token counts in every reply, and in streams if the request asks for them.",
)
def _missing(answer: Answer) -> Iterator[Problem]:
    """Every reply reports its token counts as integers; a Chat stream does so on request.

    Clients cope, but users cannot verify cost or context use. A stream without the counts that its
    request asks for is an error: a client that asks needs them to go on.
    """
    usage, names = answer.reply.raw.get("usage"), _COUNTS[answer.exchange.api]
    if not isinstance(usage, dict):
        message, expected = "The reply lacks token counts.", "input and output token counts"
        got = "none" if usage is None else f"usage is {NAMES[type(usage)]}"
        severity: Severity | None = "error" if _asked(answer) else None
        yield Problem(answer.exchange, message, expected, got, _PATH, severity=severity)
        return
    for name in names:
        count = usage.get(name)
        if count is None:
            message = f"The usage lacks {name}."
            yield Problem(answer.exchange, message, "an integer", "none", _PATH)
        elif type(count) is not int:
            message, got = f"{name} is not an integer.", f"{NAMES[type(count)]}, {count!r}"
            yield Problem(answer.exchange, message, "an integer", got, f"{_PATH}.{name}")


@family.check(
    "usage.unasked",
    streams,
    severity="warning",
    apis=("chat",),
    modes=("streaming",),
    fix="Send token counts once, in a last chunk without choices, and only if the request sets "
    "stream_options.include_usage.",
)
def _unasked(exchange: ParsedExchange) -> Iterator[Problem]:
    """A Chat stream has token counts only at its end, and a chunk for them only on request.

    Clients that did not ask for that chunk, which has no choices, read the first choice of every
    chunk, and fail. Some take every chunk with counts for it, and show no text.
    """
    asked = nested(exchange.request.body, "stream_options", "include_usage")
    counts = [event for event in exchange.events if nested(event.data, "usage")]
    for event in () if asked else counts:
        if nested(event.data, "choices") == []:
            message = "The stream has a chunk with usage and no choices, which nobody asked for."
            yield Problem(exchange, message, "no such chunk", event.text, event=event.number)
    choices = ((event, objects(nested(event.data, "choices"))) for event in counts)
    early = [event for event, made in choices if made and not made[0].get("finish_reason")]
    if len(early) > 1:
        message = f"{len(early)} chunks before the last one have token counts."
        yield Problem(exchange, message, "null", early[0].text, _PATH, early[0].number)


@family.check(
    "usage.sum",
    counted,
    fix="Count every token of the rendered prompt and of the complete output once, CoT included.",
)
def _sum(answer: Answer) -> Iterator[Problem]:
    """The token counts of a reply are possible.

    Providers bill by these counts, and users plan budgets with them. The total is the sum of input
    and output tokens, which include the cached and the reasoning tokens. It is a warning if a reply
    that the limit cut reports one token less than that: it has no end token to leave out.
    """
    request, made = answer.exchange.request, answer.usage.output_tokens
    for message, expected, got in islice(_wrong_counts(answer), 1):
        yield Problem(answer.exchange, message, expected, str(got), _PATH)
        return
    if answer.exchange.truncated and request.choices == 1 and made == (request.limit or 0) - 1:
        message = "The token limit cut the reply, but the output tokens are one less."
        yield Problem(
            answer.exchange, message, str(request.limit), str(made), _PATH, severity="warning"
        )


def _wrong_counts(answer: Answer) -> Iterator[tuple[str, str, int | None]]:
    """Yield what is wrong with the counts of a reply: message, expected and reported count."""
    usage, cached = answer.usage, _cached(answer)
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    if answer.reply.reasoning or answer.reply.text or answer.reply.calls:
        for name, count in (("input", given), ("output", made)):
            if count <= 0:
                message = f"The reply has content, but reports no {name} tokens."
                yield message, "more than 0", count
    if usage.total_tokens not in (None, given + made):
        message = "The total is not the sum of input and output tokens."
        if (usage.total_tokens or 0) - given - made == cached:
            message = "The total includes the cached tokens, and the input tokens do not."
        yield message, str(given + made), usage.total_tokens
    for what, part, whole, total in (
        ("reasoning", usage.reasoning_tokens, "output", made),
        ("cached", cached, "input", given),
    ):
        if part is not None and not 0 <= part <= total:
            message = f"The number of {what} tokens is negative or exceeds the {whole} tokens."
            yield message, f"0 to {total}", part


@family.check(
    "usage.reasoning",
    counted,
    lambda answer: (
        answer.usage.output_tokens and (answer.reply.reasoning or answer.usage.reasoning_tokens)
    ),
    severity="warning",
    fix="Report the tokens of the CoT as reasoning tokens, and return the CoT uncut.",
)
def _reasoning(answer: Answer) -> Iterator[Problem]:
    """The details of the output tokens have the tokens of the CoT as reasoning tokens.

    A count that includes answers or arguments misleads users about the share of reasoning. Servers
    may count the header of the CoT or not. Some never count reasoning tokens; clients cope. Chat
    need not have the details, but a count of 0 is wrong.
    """
    counted_at, reported = _OUTPUT_DETAILS[answer.exchange.api], answer.usage.reasoning_tokens
    counted_text = answer.ledger
    severity: Severity | None = None
    if answer.reply.reasoning and not reported:
        message = "The reply has reasoning, but reports no reasoning tokens."
        expected, got = "more than 0", str(reported)
        if reported is None and answer.exchange.api == "chat":
            severity = "info"
    elif reported and not nested(answer.reply.raw, "usage", counted_at):
        message = "The reasoning tokens are outside the details, where few clients read them."
        expected, got = f"in {counted_at}", "next to the other counts"
    elif reported and counted_text and (tokens := counted_text.cot):
        slack = max(_FEW_TOKENS, tokens // SLACK)
        # The model may write its CoT in several messages, which servers join with blank lines.
        items = sum(item.get("type") == "reasoning" for item in answer.output)
        further = max(items - 1, answer.reply.reasoning.count("\n\n"))
        least, most = tokens - slack - further, tokens + COT_HEADER * (1 + further) + slack
        if least <= reported <= most:
            return
        message = "The number of reasoning tokens does not match the CoT."
        if reported > most and answer.reply.reasoning.rstrip().endswith(("...", "…")):
            message = "The CoT ends with an ellipsis, and tokens are missing: the server cut it."
        expected, got = f"{least} to {most} for a CoT of {tokens} tokens", str(reported)
    else:
        return
    yield Problem(answer.exchange, message, expected, got, _PATH, severity=severity)


def _cached(answer: Answer) -> int | None:
    name = "prompt" if answer.exchange.api == "chat" else "input"
    cached = nested(answer.reply.raw, "usage", f"{name}_tokens_details", "cached_tokens")
    return cached if isinstance(cached, int) else None


family.account_rule(
    "usage.output.miscounted",
    "The output tokens of a reply count its CoT, its answer and its calls, each once. Users pay by "
    "this count, and plan their limits with it. The texts are intact: equal replies report a "
    "different count, or one formula explains the counts of most replies.",
    fix="Count every token of the complete output once, CoT included.",
)
family.account_rule(
    "usage.output.lost",
    "A reply has all the text that the model wrote. Otherwise users get an incomplete answer, and "
    "clients send an incomplete CoT back. The request determines the text, an equal request got it "
    "whole, or the reported tokens include a CoT that the reply lacks.",
    component="output",
    reads=("extras",),
)
family.account_rule(
    "usage.output.unexplained",
    "The reported output tokens match the text of the reply. Otherwise the server counts "
    "wrongly, or it has lost or added text; the counts alone do not show which. A few tokens may "
    "differ, because a model can spell a text with other tokens than the tokenizer does.",
    component="output",
    habit=MALFORMED_HEADERS,
    witness=True,
    counts=True,
    reads=("extras",),
)
