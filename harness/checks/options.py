"""Request options that the reply must follow."""

from collections.abc import Iterator

from harness.api.parsed_rollout import ParsedRollout
from harness.checks.check import Family
from harness.checks.json_text import (
    ends_early,
    is_doubled,
    is_padded,
    misfit,
    parsed_object,
    parsed_value,
)
from harness.checks.ledger import ledger_of
from harness.checks.rules import CHAT, GUIDE, STOP_IN_COT, STRUCTURED, TOOL_CHOICE, Problem
from harness.checks.subjects import Answer, answers, counted, ended, every_choice

family = Family("parameters", CHAT)

_ENDED = ("stop", "tool_calls")
_STOP_REASONS = ("stop_reason", "matched_stop")


def _binds(answer: Answer) -> bool:
    """Whether tool_choice restricts a reply; one that a limit or a filter cut may lack its call."""
    request, reply = answer.exchange.request, answer.reply
    cut = request.forces_call and not reply.calls and reply.finish in ("length", "content_filter")
    return request.tool_choice != "auto" and not cut


@family.check(
    "calls.choice",
    every_choice,
    _binds,
    source=TOOL_CHOICE,
    needs="tool_choice",
)
def _choice(answer: Answer) -> Iterator[Problem]:
    """The reply follows tool_choice none, required, or a named tool.

    Programs rely on it. A provider that does not support it must reject the request.
    """
    exchange, reply = answer
    choice, named = exchange.request.tool_choice, exchange.request.chosen_tool
    called = [call.name for call in reply.calls]
    if choice == "none" and called:
        expected = "no tool call"
    elif exchange.request.forces_call and not called:
        expected = "a tool call"
    elif choice == "named" and any(name != named for name in called):
        expected = f"a call of {named}"
    else:
        return
    message = f"The request set tool_choice to {choice}, but the reply does not follow it."
    yield Problem(exchange, message, expected, f"calls: {', '.join(called) or 'none'}")


@family.check(
    "calls.parallel",
    every_choice,
    lambda answer: (
        answer.reply.calls and answer.exchange.request.body.get("parallel_tool_calls") is False
    ),
    source=TOOL_CHOICE,
)
def _parallel(answer: Answer) -> Iterator[Problem]:
    """With parallel_tool_calls false, a reply has at most one tool call.

    Programs set it because they cannot handle several calls.
    """
    if len(answer.reply.calls) > 1:
        message = "The request disabled parallel tool calls, but the reply has several calls."
        yield Problem(
            answer.exchange, message, "at most 1 call", f"{len(answer.reply.calls)} calls"
        )


@family.check(
    "calls.several", every_choice, lambda answer: answer.reply.calls, severity="info", source=GUIDE
)
def _several(answer: Answer) -> Iterator[Problem]:
    """A reply has at most one tool call.

    gpt-oss stops after one call. If the server continues generation, the model guesses what the
    first call will return.
    """
    if len(answer.reply.calls) > 1:
        message = "The reply has several tool calls."
        yield Problem(answer.exchange, message, "1 call", f"{len(answer.reply.calls)} calls")


@family.check("calls.repeated", every_choice, lambda answer: answer.reply.calls, tolerated=0.005)
def _repeated(answer: Answer) -> Iterator[Problem]:
    """A reply does not contain the same call twice, nor its arguments as text.

    gpt-oss stops after one call, so the server repeated it. Agents run the tool twice, or show the
    arguments. Some streams repeat only the arguments of the call, which are then not valid JSON.
    """
    doubled = next((call for call in answer.reply.calls if is_doubled(call.arguments)), None)
    if doubled is not None:
        message = f"The call of {doubled.name} has its arguments twice."
        yield Problem(answer.exchange, message, "the arguments once", doubled.arguments)
    made = [(call.name, call.arguments) for call in answer.reply.calls]
    twice = next((call for at, call in enumerate(made) if call in made[:at]), None)
    if twice is not None:
        message = f"The reply calls {twice[0]} twice with the same arguments."
        yield Problem(answer.exchange, message, "the call once", twice[1])
    said = parsed_object(answer.reply.text.strip())
    same = (call for call in answer.reply.calls if said and parsed_object(call.arguments) == said)
    shown = None if answer.exchange.request.wants_json else next(same, None)
    if shown is not None:
        message = f"The text of the reply repeats the arguments of the call of {shown.name}."
        yield Problem(answer.exchange, message, "the arguments in the call only", answer.reply.text)


@family.check("stop.kept", ended, lambda answer: answer.exchange.request.stops, needs="stop")
def _stop_kept(answer: Answer) -> Iterator[Problem]:
    """A stop string ends the answer and is not part of it.

    Programs use stop strings to delimit the answer.
    """
    for stop in answer.exchange.request.stops:
        if stop in answer.reply.text:
            message = "The answer contains a stop string of the request."
            yield Problem(answer.exchange, message, f"no {stop!r}", answer.reply.text)


@family.check(
    "stop.early",
    ended,
    lambda answer: answer.exchange.request.stops,
    severity="warning",
    source=STOP_IN_COT,
    tolerated=0.02,
    needs="stop",
)
def _stop_early(answer: Answer) -> Iterator[Problem]:
    """A stop string ends only the answer, not the CoT or the harmony format before it.

    Otherwise programs get no answer at all. Many engines also match stop strings against the CoT.
    The model itself may end its reply after the CoT: it did so if the server names another reason,
    or if the CoT ends like a sentence, and its tokens leave none for a stop string.
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
    found = ledger_of(*answer)
    closed = answer.reply.reasoning.rstrip().endswith((".", "!", "?"))
    return found is not None and closed and found.difference <= 0


@family.check(
    "chat.logprobs.missing",
    answers,
    lambda answer: answer.exchange.request.body.get("logprobs") and answer.reply.text,
    needs="logprobs",
)
def _logprobs(answer: Answer) -> Iterator[Problem]:
    """Requested logprobs are in the reply.

    Clients that need them fail on a reply that silently omits them. A provider that does not
    support them must reject the request.
    """
    if not any(choice.get("logprobs") for choice in answer.choices):
        message = "The request set logprobs, but the reply has none."
        yield Problem(answer.exchange, message, "logprobs", "none", "$.choices[0].logprobs")


def _whole(parsed: ParsedRollout) -> Iterator[Answer]:
    """Choices that ended on their own, or with white space up to the token limit."""
    for answer in every_choice(parsed):
        padded = answer.reply.finish == "length" and is_padded(answer.reply.text)
        if answer.reply.finish == "stop" or padded:
            yield answer


@family.check(
    "answer.json",
    _whole,
    lambda answer: (
        answer.exchange.request.wants_json and not answer.reply.calls and not answer.misplaced
    ),
    source=STRUCTURED,
    tolerated=0.02,
    needs="json_schema",
)
def _structured_answer(answer: Answer) -> Iterator[Problem]:
    """An answer with a JSON response format is JSON that conforms to the requested schema.

    Programs parse it. A provider that does not support it must reject the request. A grammar that
    allows white space after the JSON lets the model write it up to the token limit: then the answer
    does not end.
    """
    exchange, reply = answer
    if reply.finish == "length":
        message = "The answer is complete JSON, followed by white space up to the token limit."
        got = f"{len(reply.text) - len(reply.text.rstrip())} characters of white space"
        yield Problem(exchange, message, "the end of the reply after the JSON", got)
        return
    schema = exchange.request.answer_schema
    found = parsed_value(reply.text.strip())
    if found is None or (schema is None and not isinstance(found, dict)):
        expected = "a JSON object" if schema is None else "a JSON value"
        message = f"The request set a JSON response format, but the answer is not {expected}."
        yield Problem(exchange, message, expected, reply.text or "no text")
    elif schema is not None:
        problem = misfit(found, schema)
        if problem is not None:
            message = "The answer violates the schema of the requested response format."
            yield Problem(exchange, message, problem, reply.text)


def _misplaced_answer(answer: Answer) -> Iterator[Problem]:
    """An answer with a JSON response format is the text of a message.

    Otherwise the provider's harmony parser took the content type of the answer for the name of a
    tool, and programs find no answer.
    """
    item = answer.misplaced
    if item is not None:
        message = f"The JSON answer was returned as an item of type {item.get('type')}."
        path = "$.output"
        if answer.exchange.api == "chat":
            message = f"The JSON answer was returned as a {item.get('type')}, which is not offered."
            path = "$.choices[0].message.tool_calls"
        yield Problem(answer.exchange, message, "a message", repr(item), path)


for _id in ("chat.answer.item", "responses.answer.item"):
    family.check(
        _id,
        every_choice,
        lambda answer: answer.exchange.request.wants_json and answer.reply.finish in _ENDED,
        source=STRUCTURED,
    )(_misplaced_answer)


@family.check("finish.limit", counted, lambda answer: answer.exchange.at_limit, tolerated=0.02)
def _limit(answer: Answer) -> Iterator[Problem]:
    """A reply that was truncated at the token limit reports the truncation.

    Otherwise clients take a truncated answer for a complete one. The model ends few of the replies
    of this length itself, and none of the calls whose JSON is unfinished.
    """
    exchange, reply = answer
    if reply.finish in ("stop", "tool_calls"):
        message = "The reply ends exactly at the token limit, but reports a normal end."
        expected = "length" if exchange.api == "chat" else "incomplete, max_output_tokens"
        cut = any(ends_early(call.arguments) for call in reply.calls)
        yield Problem(exchange, message, expected, reply.finish, proven=cut)
