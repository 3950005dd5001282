"""Token counts: present, possible, and consistent."""

from collections.abc import Iterator
from functools import partial

from harness.api.fields import NAMES, nested
from harness.api.parsed_rollout import ParsedExchange
from harness.records.scores import Severity
from harness.records.traits import Ledger
from harness.rules.check import Family
from harness.rules.evidence.ledger import COT_HEADER, FRAMING, Accounted, accounted, ledger
from harness.rules.evidence.subjects import Answer, answers, counted
from harness.rules.rule import CHAT, Problem

family = Family("usage", CHAT, component="usage")

_PATH = "$.usage"
_COUNTS = {
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
}
_OUTPUT_DETAILS = {"chat": "completion_tokens_details", "responses": "output_tokens_details"}
# Differences that another spelling of the same text cannot explain: a few tokens in a short text,
# one token of 20 in a longer text, and more if the model also wrote empty messages.
_FEW_TOKENS, _SLACK, _MANY_TOKENS, _MANY_MESSAGES = 3, 20, 24, 8
_CHANGED_COT = 8  # tokens by which a count differs that another one explains exactly


def _promised(answer: Answer) -> bool:
    """Whether the reply must have token counts: Chat streams have them on request only."""
    exchange = answer.exchange
    asked = nested(exchange.request.body, "stream_options", "include_usage") is True
    return asked or exchange.api == "responses" or not exchange.events


@family.check(
    "usage.missing",
    answers,
    _promised,
    severity="warning",
    fix="Report the token counts in every reply, and in streams if the request asks for them.",
)
def _missing(answer: Answer) -> Iterator[Problem]:
    """Every reply reports its token counts as integers; a Chat stream does so on request.

    Clients cope, but users cannot verify cost or context use.
    """
    usage, names = answer.reply.raw.get("usage"), _COUNTS[answer.exchange.api]
    if not isinstance(usage, dict):
        message, expected = "The reply lacks token counts.", "input and output token counts"
        got = "none" if usage is None else f"usage is {NAMES[type(usage)]}"
        yield Problem(answer.exchange, message, expected, got, _PATH)
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
    "usage.sum",
    counted,
    lambda found: found.usage.total_tokens is not None,
    fix="Count every token once: the total is the sum of prompt and completion tokens.",
)
def _sum(found: Answer) -> Iterator[Problem]:
    """The total is the sum of input and output tokens, and each token of the reply counts once.

    Providers bill by these counts, and users plan budgets with them.
    """
    usage = found.usage
    if (wrong := _miscount(found.exchange)) is not None:
        yield wrong
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    if usage.total_tokens != total:
        message = "The total is not the sum of input and output tokens."
        if (usage.total_tokens or 0) - total == _cached(found):
            message = "The total includes the cached tokens, and the input tokens do not."
        yield Problem(found.exchange, message, str(total), str(usage.total_tokens), _PATH)


def _miscount(exchange: ParsedExchange) -> Problem | None:
    """Return the problem of output tokens that count a part twice or the prompt, or omit the CoT.

    The count is then exactly that of the text with this part, so the text itself is complete. In a
    short reply, or one without CoT or answer, lost text may have this number of tokens by chance.
    """
    found, reply = ledger(exchange), exchange.reply
    if found is None or reply is None or not (found.exact and found.cot and reply.text):
        return None
    if abs(found.difference) <= _MANY_TOKENS:
        return None
    cot = found.cot
    counts = {
        "are twice those of the reply": 2 * found.explained,
        "include the CoT twice": found.explained + cot,
    }
    if found.prompt:
        counts["include the input tokens"] = found.explained + found.prompt
    if reply.reasoning.strip() not in reply.text:
        counts["omit the CoT"] = found.explained - cot
        counts["omit the CoT and its header"] = found.explained - cot - COT_HEADER
    for what, tokens in counts.items():
        if found.reported == tokens:
            message = f"The output tokens {what}."
            return Problem(exchange, message, str(found.explained), str(found.reported), _PATH)
    return None


def _has_content(answer: Answer) -> bool:
    """Whether a reply has content of the model; a filter may have refused before the model ran."""
    reply = answer.reply
    return bool(reply.reasoning or reply.text or reply.calls) and not answer.refusals


@family.check("usage.zero", counted, _has_content)
def _zero(found: Answer) -> Iterator[Problem]:
    """A reply with content reports input and output tokens above 0.

    Providers bill by these counts, and users plan budgets with them.
    """
    usage = found.usage
    for name, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        if count is not None and count <= 0:
            message = f"The reply has content, but reports no {name} tokens."
            yield Problem(found.exchange, message, "more than 0", str(count), _PATH)


@family.check(
    "usage.reasoning.excess",
    counted,
    lambda answer: answer.usage.reasoning_tokens is not None,
    fix="Report the tokens of the CoT as reasoning tokens.",
)
def _reasoning_excess(answer: Answer) -> Iterator[Problem]:
    """Reasoning tokens are included in the output tokens.

    Providers bill by these counts, and users plan budgets with them.
    """
    usage = answer.usage
    return _excess(answer, "reasoning", usage.reasoning_tokens, "output", usage.output_tokens)


@family.check(
    "usage.cached.excess",
    counted,
    lambda answer: _cached(answer) is not None,
    fix="Count cached tokens as prompt tokens too.",
)
def _cached_excess(answer: Answer) -> Iterator[Problem]:
    """Cached tokens are included in the input tokens.

    Providers bill by these counts, and users plan budgets with them.
    """
    return _excess(answer, "cached", _cached(answer), "input", answer.usage.input_tokens)


def _excess(
    answer: Answer, what: str, part: int | None, whole: str, total: int | None
) -> Iterator[Problem]:
    if part is not None and not 0 <= part <= (total or 0):
        message = f"The number of {what} tokens is negative or exceeds the {whole} tokens."
        yield Problem(answer.exchange, message, f"0 to {total}", str(part), _PATH)


@family.check(
    "usage.reasoning.missing",
    counted,
    lambda found: (
        found.usage.output_tokens and (found.reply.reasoning or found.usage.reasoning_tokens)
    ),
    severity="warning",
    fix="Report the tokens of the CoT as reasoning tokens.",
)
def _reasoning_missing(found: Answer) -> Iterator[Problem]:
    """A reply with reasoning reports reasoning tokens, in the details of the output tokens.

    Some servers never count them; clients cope. Chat need not have the details, but a count of 0
    is wrong. If the reply reports no output tokens at all, usage.zero says so.
    """
    counted_at, reported = _OUTPUT_DETAILS[found.exchange.api], found.usage.reasoning_tokens
    if found.reply.reasoning and not reported:
        message = "The reply has reasoning, but reports no reasoning tokens."
        optional = reported is None and found.exchange.api == "chat"
        severity: Severity | None = "info" if optional else None
        got = str(reported)
        yield Problem(found.exchange, message, "more than 0", got, _PATH, severity=severity)
    elif reported and not nested(found.reply.raw, "usage", counted_at):
        message = "The reasoning tokens are outside the details, where few clients read them."
        got = "next to the other counts"
        yield Problem(found.exchange, message, f"in {counted_at}", got, _PATH)


@family.check(
    "usage.reasoning.differs",
    accounted,
    lambda found: found.ledger.thinking and found.ledger.cot and not found.reply.calls,
    severity="warning",
    fix="Report the tokens of the CoT as reasoning tokens.",
)
def _reasoning_differs(found: Accounted) -> Iterator[Problem]:
    """The number of reasoning tokens matches the CoT.

    A count that includes answers or arguments misleads users about the share of reasoning. Servers
    may count the header of the CoT or not.
    """
    tokens, reported = found.ledger.cot, found.ledger.thinking or 0
    slack = max(_FEW_TOKENS, tokens // _SLACK)
    most = tokens + COT_HEADER + slack
    if not tokens - slack <= reported <= most:
        message = "The number of reasoning tokens does not match the CoT."
        expected = f"{tokens - slack} to {most} for a CoT of {tokens} tokens"
        yield Problem(found.exchange, message, expected, str(reported), _PATH)


family.check(
    "usage.reasoning.differs.with_calls",
    accounted,
    lambda found: found.ledger.thinking and found.ledger.cot and found.reply.calls,
    severity="warning",
    text="The number of reasoning tokens of a reply with a call matches the CoT. Some servers "
    "count the arguments of calls as reasoning.",
    fix="Report the tokens of the CoT as reasoning tokens.",
)(_reasoning_differs)


def _seen(found: Accounted) -> bool:
    shown = found.reply.text or found.reply.calls or found.exchange.request.stops
    return bool(found.ledger.cot and shown)


@family.check(
    "usage.output.unseen",
    partial(accounted, stopped=True),
    _seen,
    component="output",
    reads=("extras",),
)
def _unseen(found: Accounted) -> Iterator[Problem]:
    """The reply contains the text of all output tokens that it reports.

    Otherwise part of the CoT or of the answer was lost, is billed although it was not generated, or
    was generated after a stop string. A few tokens may be missing, because a model can spell a text
    with other tokens than the tokenizer does, or write empty messages, or several messages that the
    server joins. The number of reasoning tokens can show that fewer tokens are missing in the CoT.
    """
    counted = found.ledger
    messages, rest = divmod(counted.difference, COT_HEADER)
    lost = counted.difference > max(_MANY_TOKENS, counted.explained // _SLACK)
    lost = lost and (messages > _MANY_MESSAGES or bool(rest and counted.exact))
    if (lost or _changed_cot(counted) > 0) and _miscount(found.exchange) is None:
        message = f"{counted.difference} of the reported output tokens are not in the reply."
        if found.exchange.request.stops:
            message = f"{counted.difference} output tokens are reported after the stop string."
        expected = f"at most {counted.explained} tokens for this text"
        yield Problem(found.exchange, message, expected, str(counted.reported), _PATH)


def _changed_cot(counted: Ledger) -> int:
    """Return the tokens that the CoT lacks, by both the output and the reasoning tokens; else 0.

    The number is negative if the CoT has more tokens than reported.
    """
    if not (counted.exact and counted.cot and counted.thinking):
        return 0
    lacking = counted.difference
    header = counted.thinking - counted.cot - lacking
    agree = 0 <= header <= COT_HEADER
    many = abs(lacking) > max(_CHANGED_COT, counted.cot // _SLACK)
    return lacking if agree and many else 0


@family.check("usage.output.uncounted", partial(accounted, cut=True))
def _uncounted(found: Accounted) -> Iterator[Problem]:
    """The reported output tokens cover the text of the reply.

    Otherwise the count omits part of the reply, usually the CoT, or the server repeated or added
    text, such as a notice in a reply that the token limit cut.
    """
    counted = found.ledger
    few = counted.reported < counted.texts - max(_FEW_TOKENS, counted.texts // _SLACK)
    if (few or _changed_cot(counted) < 0) and _miscount(found.exchange) is None:
        message = "The reply reports fewer output tokens than its text needs."
        expected = f"at least {counted.texts} tokens"
        yield Problem(found.exchange, message, expected, str(counted.reported), _PATH)


@family.check(
    "usage.limit",
    counted,
    lambda found: found.exchange.request.limit is not None,
    component="ends",
    fix="Stop at the token limit of the request.",
)
def _limit(found: Answer) -> Iterator[Problem]:
    """A reply has no more output tokens than the request allows.

    The limit bounds cost and latency. Servers may count a few tokens of the format in addition.
    """
    request, tokens = found.exchange.request, found.usage.output_tokens or 0
    if request.limit is not None and tokens > (request.limit + FRAMING) * request.choices:
        message = "The reply is longer than the token limit of the request."
        most = f"at most {request.limit * request.choices} tokens"
        yield Problem(found.exchange, message, most, str(tokens), _PATH)


def _cached(answer: Answer) -> int | None:
    name = "prompt" if answer.exchange.api == "chat" else "input"
    cached = nested(answer.reply.raw, "usage", f"{name}_tokens_details", "cached_tokens")
    return cached if isinstance(cached, int) else None
