"""Where replies end: at stop strings, at the limits of the request, and nowhere else."""

from collections.abc import Iterator, Sequence

from harness.api.fields import json_object
from harness.api.json_text import ends_early
from harness.api.ledger import FRAMING, any_ledger, extra_tokens, ledger_of
from harness.records.replies import Row
from harness.records.scores import Score, Severity
from harness.rules.account.counting import SURELY
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.subjects import Answer, counted, ended
from harness.rules.habits import recorded, unmeasured
from harness.rules.limits.empty_checks import SPELLED_OTHERWISE
from harness.rules.rule import CHAT, STOP_IN_COT, Problem, VoidIf

family = Family("limits", CHAT, component="output")
_CONTEXT = 64  # tokens by which servers may deviate when they count what fills their context
_OTHER_PROMPTS = 16  # tokens; a full context cuts replies to closer prompts at nearly one length
_STOP_REASONS = ("stop_reason", "matched_stop")
_SHORTEST_BEGINNING = 4  # characters of a stop string with which an answer rarely ends by chance


def _beginning(stop: str, text: str) -> str:
    """Return the longest part of a stop string, up to the end of a word, that ends a text."""
    starts = (stop[:end].rstrip() for end in range(len(stop) - 1, 0, -1) if not stop[end].isalnum())
    return next((s for s in starts if len(s) >= _SHORTEST_BEGINNING and text.endswith(s)), "")


@family.check(
    "stop.kept",
    ended,
    lambda answer: answer.exchange.request.stops,
    needs="stop",
    component="ends",
    fix="Look for every stop string in the answer, and hold back text that may begin one.",
)
def _stop_kept(answer: Answer) -> Iterator[Problem]:
    """Each stop string ends the answer, and neither it nor its beginning is part of the answer.

    Programs use stop strings to delimit the answer; the API allows four. Servers that stream every
    token immediately send the beginning before they recognize the string. Recorded answers may end
    with a beginning by chance, such as "User" of "User:", so only whole strings count in them.
    """
    text = answer.reply.text
    for stop in answer.exchange.request.stops:
        if stop in text:
            message = "The answer contains a stop string of the request."
            yield Problem(answer.exchange, message, f"no {stop!r}", text)
        elif not answer.exchange.imported and (begun := _beginning(stop, text.rstrip())):
            message = "The answer ends with the beginning of a stop string."
            yield Problem(answer.exchange, message, f"no {begun!r} at the end", text)


@family.check(
    "stop.early",
    ended,
    lambda answer: answer.exchange.request.stops,
    severity="warning",
    source=STOP_IN_COT,
    habit=unmeasured(0.02),
    needs="stop",
    component="ends",
    fix="Look for stop strings in the answer only, not in the CoT or in headers.",
)
def _stop_early(answer: Answer) -> Iterator[Problem]:
    """A stop string ends only the answer, not the CoT or the harmony format before it.

    Otherwise programs get no answer at all. Many engines also match stop strings against the CoT.
    The model itself may end its reply after the CoT: it did so if the server names another reason,
    or if the CoT ends like a sentence, and no token is left for a stop string. A stop string did it
    if the server names one with which the CoT ends, and not even the token is left that ends a CoT.
    """
    reply = answer.reply
    if not reply.calls and not reply.text.strip() and not _model_ended(answer):
        message = "The request set stop strings, but the reply ended before its answer began."
        got = (
            f"reasoning that ends with {reply.reasoning[-40:]!r}" if reply.reasoning else "nothing"
        )
        cut = _ends_at_stop(answer)
        severity: Severity | None = "error" if cut else None
        yield Problem(answer.exchange, message, "an answer", got, severity=severity, proven=cut)


def _ends_at_stop(answer: Answer) -> bool:
    """Whether the server names a stop string at the end of the CoT, and counts nothing after it."""
    named = [reason for reason in _stop_reasons(answer) if reason in answer.exchange.request.stops]
    counted, cot = ledger_of(*answer), answer.reply.reasoning
    ends = any(isinstance(reason, str) and cot.endswith(reason) for reason in named)
    return ends and counted is not None and counted.difference == -1


def _stop_reasons(answer: Answer) -> list[object]:
    """What ended the reply, as vLLM and SGLang report it: a string, null, or a token's number."""
    ended = [choice for choice in answer.choices if choice.get("finish_reason")]
    return [choice[name] for choice in ended[:1] for name in _STOP_REASONS if name in choice]


def _model_ended(answer: Answer) -> bool:
    """Whether a reply without an answer shows that no stop string ended it."""
    if any(not isinstance(reason, str) for reason in _stop_reasons(answer)):
        return True
    counted = ledger_of(*answer)
    closed = answer.reply.reasoning.rstrip().endswith((".", "!", "?"))
    return counted is not None and closed and counted.difference <= 0


def _reaches_limit(answer: Answer) -> bool:
    """Whether a reply has as many tokens as its request allows, or more, and these are its own.

    A count of more tokens that the texts of a reply do not explain is wrong, or that of lost text:
    other rules say so, and it exceeds no limit.
    """
    request, reply, usage = answer.exchange.request, answer.reply, answer.usage
    most = None if request.limit is None else request.limit * request.choices
    tokens, hidden = usage.output_tokens or 0, 0 if reply.reasoning else usage.reasoning_tokens
    unexplained = (extra_tokens(reply) or 0) - (hidden or 0)
    own = unexplained <= max(SURELY, tokens // SPELLED_OTHERWISE)
    return most is not None and (tokens == most or (tokens > most and own))


def _may_end(answer: Answer) -> bool:
    """Whether the last token that the limit allows may be the end token of a complete reply."""
    if answer.reply.calls:
        return all(json_object(call.arguments) is not None for call in answer.reply.calls)
    ends = answer.reply.text.rstrip().endswith((".", "!", "?"))
    return ends or json_object(answer.reply.text) is not None


@family.check(
    "finish.limit",
    counted,
    _reaches_limit,
    habit=recorded(0.02),
    component="ends",
    relations=[VoidIf("usage.output.miscounted", "$.usage", "output_miscounted")],
    fix=(
        "Stop at the token limit of the request, and report the reason length (Responses: "
        "incomplete), also inside a call."
    ),
)
def _limit(answer: Answer) -> Iterator[Problem]:
    """A reply ends at the token limit of its request, and then reports the truncation.

    Otherwise clients take a truncated answer for a complete one, or pay for an endless one. The
    model rarely stops at exactly this length, and never within the JSON of a call. Servers may
    count a few tokens of the format in addition, unless its text has them all.
    """
    exchange, reply = answer
    request, tokens = exchange.request, reply.output_tokens or 0
    counted = any_ledger(exchange)
    frame = 0 if counted and counted.exact and not counted.extra else FRAMING
    if request.limit is not None and tokens > (request.limit + frame) * request.choices:
        message = "The reply is longer than the token limit of the request."
        most = f"at most {request.limit * request.choices} tokens"
        yield Problem(exchange, message, most, str(tokens), "$.usage", proven=True)
    elif exchange.at_limit and reply.finish in ("stop", "tool_calls") and not _may_end(answer):
        message = "The reply ends exactly at the token limit, but reports a normal end."
        expected = "length" if exchange.api == "chat" else "incomplete, max_output_tokens"
        cut = any(ends_early(call.arguments) for call in reply.calls)
        got = reply.finish if exchange.api == "chat" else "completed"
        yield Problem(exchange, message, expected, got, proven=cut)


@family.cross_check(
    "finish.early",
    by_row=lambda row: row.api if row.cut else None,
    component="ends",
    fix="Apply no limit of output tokens that the request does not set.",
)
def _early(group: Sequence[tuple[Score, Row]]) -> Iterator[Difference]:
    """A reply is truncated only at the token limit of its request, or where the context is full.

    A hidden limit of the server cuts long CoT and answers. A provider with such a limit must reject
    requests with a higher one. A complete reply that is reported as truncated makes clients repeat
    the request needlessly. A full context also ends replies early, but then prompt and reply
    together always have the same number of tokens.
    """
    cuts = [row.cut for _, row in group if row.cut]
    prompts = [cut.input for cut in cuts]
    longest = max(cut.input + cut.output for cut in cuts)
    same = len({cut.output for cut in cuts}) == 1
    same = same and max(prompts) - min(prompts) >= _OTHER_PROMPTS
    for (score, row), cut in zip(group, cuts, strict=True):
        if same:
            where = "all truncated replies have this length, whatever their prompt"
        elif longest - cut.input - cut.output > _CONTEXT:
            where = f"its context was not full, because another reply ends at {longest} tokens"
        else:
            continue
        message = f"The reply was truncated below the limit of its request; {where}."
        expected, got = f"up to {cut.limit} tokens", f"{cut.output}, after {cut.input}"
        yield message, evidence(score.record, "$.usage", expected, got, row.exchange)


family.account_rule(
    "limits.prefix",
    "The answer of a truncated reply is the beginning of the whole answer. Otherwise users read a "
    "part of the CoT, or a text of the server, as the answer. An equal request without the limit, "
    "or the tokens of the CoT, show what the model wrote.",
    lambda row, entry: row.end == "limit" and entry.kind != "unknown",
    component="output",
    fix="Return a message that the token limit cut in the field of its channel, and add no text.",
)
