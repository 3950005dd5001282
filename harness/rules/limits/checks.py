"""Finish reason and status agree with the content of the reply."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from harmony.render import RenderError
from harness.api.fields import json_object, nested, objects
from harness.api.items import Reply
from harness.api.json_text import ends_early
from harness.api.ledger import (
    ANSWER_HEADER,
    COT_HEADER,
    FRAMING,
    are_joined,
    call_header,
    extra_tokens,
    hides_cot,
    ledger,
    ledger_of,
    token_count,
)
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import Api
from harness.records.replies import Cut, Ledger, Row
from harness.records.scores import Score, Severity
from harness.rules.account.counting import LONGEST_HEADER, SURELY, has_whole_cot
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.subjects import (
    Answer,
    answers,
    counted,
    delivered_answers,
    ended,
    every_choice,
)
from harness.rules.habits import MALFORMED_HEADERS, Habit, recorded
from harness.rules.rule import CHAT, GUIDE, HARMONY, RESPONSES, STOP_IN_COT, Problem

family = Family("limits", CHAT, component="output")


_EMPTY_MESSAGES = 2
"""Messages without text, or further messages of CoT, that the model may have written."""
_SPELLED_OTHERWISE = 4
"""The model may spell a tool's name with one extra token for this many tokens."""
_CONTEXT = 64  # tokens by which servers may deviate when they count what fills their context
_OTHER_PROMPTS = 16  # tokens; a full context cuts replies to closer prompts at nearly one length
_FILTERED = 0.02
"""The share of harmless requests from which a filter makes agents useless."""
_MOST_OF_HEADERS = 128
"""Tokens of a truncated reply that headers explain: those of empty messages, and of a long name."""


@family.check(
    "chat.finish.tool_calls",
    every_choice,
    lambda answer: answer.reply.calls and not answer.exchange.request.forces_call,
    component="format",
    fix="Set finish_reason to tool_calls if and only if the message has calls.",
)
def _calls_without_reason(answer: Answer) -> Iterator[Problem]:
    """A message with tool calls has finish_reason tool_calls.

    Agents use finish_reason to decide whether to run tools or to stop.
    """
    exchange, reply = answer
    # OpenAI itself returns finish_reason stop after a forced call.
    if reply.finish not in ("tool_calls", "length"):
        message = "The message has tool calls, but finish_reason is not tool_calls."
        path = "$.choices[0].finish_reason"
        yield Problem(exchange, message, "tool_calls", finish_reason(reply.raw), path)


def _names_calls(answer: Answer) -> bool:
    """Whether the finish reason is a tool call; function_call is the deprecated one."""
    deprecated = finish_reason(answer.reply.raw) == "'function_call'"
    with_tools = deprecated and "tools" in answer.exchange.request.body
    return answer.reply.finish == "tool_calls" or with_tools


@family.check(
    "chat.finish.no_calls",
    every_choice,
    _names_calls,
    fix="Return every call of the model: finish_reason says that there was one.",
)
def _reason_without_calls(answer: Answer) -> Iterator[Problem]:
    """A message with finish_reason tool_calls has tool calls.

    Agents use finish_reason to decide whether to run tools or to stop.
    """
    if not (answer.reply.calls or answer.reply.custom_calls):
        reason = finish_reason(answer.reply.raw)
        message = f"finish_reason is {reason}, but the message has no tool calls."
        path = "$.choices[0].message.tool_calls"
        yield Problem(answer.exchange, message, "at least one tool call", "none", path)


@family.check(
    "reply.empty",
    ended,
    lambda answer: not (answer.misplaced or answer.exchange.request.stops or _calls_client(answer)),
    source=GUIDE,
    habit=Habit(0.02),
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
    lambda answer: _has_counted_cot(answer) or _returns_nothing(answer),
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
    Parsers may drop a call that the token limit cut.
    """
    exchange, reply = answer
    if lost := _lost_tokens(answer):
        message = "The reply is empty, but reports more tokens than its CoT explains."
        if not reply.reasoning:
            message = "The reply contains nothing, but reports output tokens."
        got = f"{reply.output_tokens} tokens"
        sure = lost > LONGEST_HEADER and not are_joined(lost, reply.reasoning)
        proven = not reply.reasoning or (sure and not exchange.truncated)
        expected = f"text for {lost} more tokens"
        path = "$.output" if exchange.api == "responses" else "$.choices"
        yield Problem(exchange, message, expected, got, path, proven=proven)


@family.check(
    "reply.lost.truncated",
    counted,
    lambda answer: answer.reply.finish == "length" and _shows_all(answer),
    severity="warning",
    source=GUIDE,
    habit=Habit(0.02),
    fix="Return a message that the token limit cut in the field of its channel, as a complete one.",
    example=(
        "A truncated non-streaming reply contains neither its CoT nor its answer.",
        "https://github.com/raullenchai/Rapid-MLX/issues/858",
    ),
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


@family.check(
    "responses.status",
    answers,
    source=RESPONSES,
    component="ends",
    fix="Report the reason why a response is incomplete.",
)
def _status(answer: Answer) -> Iterator[Problem]:
    """A finished response has status completed, like its items, or incomplete with a reason.

    Clients use the status to decide whether they can use the answer. They skip items with another
    status, or wait for them.
    """
    exchange, reply = answer
    status = reply.raw.get("status")
    if status == "incomplete":
        details = reply.raw.get("incomplete_details")
        reason, path = nested(details, "reason"), "$.incomplete_details"
        if not reason:
            message = "The response is incomplete, but incomplete_details has no reason."
            yield Problem(exchange, message, '{"reason": …}', repr(details), path)
        elif reason not in _INCOMPLETE:
            message = "The reason in incomplete_details is not one of the API."
            expected = " or ".join(_INCOMPLETE)
            yield Problem(exchange, message, expected, repr(reason), f"{path}.reason")
    elif status != "completed":
        message = "The response has finished, but its status is neither completed nor incomplete."
        yield Problem(exchange, message, "completed or incomplete", repr(status), "$.status")
    if status == "incomplete" and _complete_calls(answer):
        message = "The status says that a limit cut the response, but its calls are complete."
        limit = exchange.request.limit or "unlimited"
        got = f"'incomplete', with {reply.output_tokens} of {limit} tokens"
        yield Problem(exchange, message, "completed", got, "$.incomplete_details.reason")
    for at, item in enumerate(answer.output if status == "completed" else ()):
        if item.get("status") not in (None, "completed"):
            message = "An item in a completed response does not have status completed."
            path = f"$.output[{at}].status"
            yield Problem(exchange, message, "completed", repr(item["status"]), path)


def _complete_calls(answer: Answer) -> bool:
    """Whether a response ends with a whole call, by its status too, below the limit if there is."""
    exchange, reply = answer
    limit, last = exchange.request.limit, answer.output[-1] if answer.output else {}
    if limit is not None and (reply.output_tokens is None or reply.output_tokens >= limit):
        return False
    if last.get("type") != "function_call" or last.get("status") != "completed":
        return False
    return bool(reply.calls) and json_object(reply.calls[-1].arguments) is not None


@family.check(
    "responses.status.cut",
    answers,
    lambda answer: answer.exchange.truncated and answer.output and not _complete_calls(answer),
    severity="warning",
    source=RESPONSES,
    component="ends",
    fix="Set the status of a truncated item to incomplete, also in its done event.",
)
def _cut_item(answer: Answer) -> Iterator[Problem]:
    """The CoT, answer or call that the token limit cut is not a completed item.

    Clients that read items take it for a whole one. A message may be a comment that ended before
    the limit, and a CoT may have ended: they are judged if the tokens leave none for their end.
    """
    done = [
        (event, event.data.get("item"))
        for event in answer.exchange.known_events
        if event.type == "response.output_item.done" and event.data
    ]
    last, path = answer.output[-1], f"$.output[{len(answer.output) - 1}].status"
    items = [(None, path, last), *((event, "$.item.status", item) for event, item in done[-1:])]
    counted = ledger(answer.exchange, "limit")
    kinds = {"function_call"}
    if counted and not counted.extra:
        kinds |= {"message", "reasoning"}
    for event, where, item in items:
        read: Mapping[str, Any] = item if isinstance(item, dict) else {}
        if read.get("type") in kinds and read.get("status") == "completed":
            message = "The item that the token limit cut has the status completed."
            number = None if event is None else event.number
            yield Problem(answer.exchange, message, "incomplete", "'completed'", where, number)
            return


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
            yield call_header(name) + (token_count(name) or 0) // _SPELLED_OTHERWISE


def finish_reason(raw: Mapping[str, Any]) -> str:
    """Return the finish reason of the first choice of a Chat reply, quoted."""
    return repr(next((choice.get("finish_reason") for choice in objects(raw.get("choices"))), None))


_INCOMPLETE = ("max_output_tokens", "content_filter")  # reasons that the API defines
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
    habit=Habit(0.02),
    needs="stop",
    component="ends",
    fix="Look for stop strings in the answer only, not in the CoT or in headers.",
)
def _stop_early(answer: Answer) -> Iterator[Problem]:
    """A stop string ends only the answer, not the CoT or the harmony format before it.

    Otherwise programs get no answer at all. Many engines also match stop strings against the CoT.
    The model itself may end its reply after the CoT: it did so if the server names another reason,
    or if the CoT ends like a sentence, and no token is left for a stop string.
    """
    reply = answer.reply
    if not reply.calls and not reply.text.strip() and not _model_ended(answer):
        message = "The request set stop strings, but the reply ended before its answer began."
        got = (
            f"reasoning that ends with {reply.reasoning[-40:]!r}" if reply.reasoning else "nothing"
        )
        yield Problem(answer.exchange, message, "an answer", got)


def _model_ended(answer: Answer) -> bool:
    """Whether a reply without an answer shows that no stop string ended it.

    vLLM and SGLang report the string that ended a reply, or else null or the number of a token.
    """
    if not answer.exchange.events:
        reasons = (choice.get(name, "") for choice in answer.choices[:1] for name in _STOP_REASONS)
        if any(not isinstance(reason, str) for reason in reasons):
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
    own = unexplained <= max(SURELY, tokens // _SPELLED_OTHERWISE)
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
    fix=(
        "Stop at the token limit of the request, and report the reason length (Responses: "
        "incomplete), also inside a call."
    ),
)
def _limit(answer: Answer) -> Iterator[Problem]:
    """A reply ends at the token limit of its request, and then reports the truncation.

    Otherwise clients take a truncated answer for a complete one, or pay for an endless one. The
    model rarely stops at exactly this length, and never within the JSON of a call. Servers may
    count a few tokens of the format in addition.
    """
    exchange, reply = answer
    request, tokens = exchange.request, reply.output_tokens or 0
    if request.limit is not None and tokens > (request.limit + FRAMING) * request.choices:
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
    lambda score: any(row.cut for row in score.rows),
    component="ends",
    fix="Apply no limit of output tokens that the request does not set.",
)
def _early(examined: Sequence[Score]) -> Iterator[Difference]:
    """A reply is truncated only at the token limit of its request, or where the context is full.

    A hidden limit of the server cuts long CoT and answers. A provider with such a limit must reject
    requests with a higher one. A complete reply that is reported as truncated makes clients repeat
    the request needlessly. A full context also ends replies early, but then prompt and reply
    together always have the same number of tokens.
    """
    groups: dict[Api, list[tuple[Score, Row, Cut]]] = defaultdict(list)
    for score in examined:
        groups[score.condition.api] += [(score, row, row.cut) for row in score.rows if row.cut]
    for group in groups.values():
        prompts = [cut.input for *_, cut in group]
        longest = max((cut.input + cut.output for *_, cut in group), default=0)
        same = len({cut.output for *_, cut in group}) == 1
        same = same and max(prompts) - min(prompts) >= _OTHER_PROMPTS
        for score, row, cut in group:
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
    example=(
        "Half of a chain of thought that the limit cut is returned as content.",
        "https://github.com/jundot/omlx/issues/2860",
    ),
)
family.account_rule(
    "stop.followed",
    "A reply that a stop string ends is the beginning of the reply to the same request without it. "
    "Otherwise text follows the stop string, and programs read it as part of the answer.",
    lambda row, entry: row.end == "stop string" and entry.kind != "unknown",
    component="ends",
    fix="End the reply at the stop string, and add no text after it.",
)
