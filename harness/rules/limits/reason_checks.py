"""Finish reason and status agree with the content of the reply."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.api.fields import json_object, nested, objects
from harness.api.ledger import ledger
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers, every_choice
from harness.rules.rule import CHAT, RESPONSES, Problem

family = Family("limits", CHAT, component="output")


@family.check(
    "chat.finish.tool_calls",
    every_choice,
    lambda answer: answer.reply.calls and not answer.exchange.request.forces_call,
    apis=("chat",),
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
    apis=("chat",),
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
    "responses.status",
    answers,
    apis=("responses",),
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


def _is_in_order(answer: Answer) -> bool:
    """Whether the last item of a response is the one that was written last, so far as it shows."""
    kinds = [item.get("type") for item in answer.output]
    return bool(kinds) and (kinds[0] == "reasoning" or kinds[-1] != "reasoning" or len(kinds) == 1)


@family.check(
    "responses.status.cut",
    answers,
    lambda answer: (
        answer.exchange.truncated and _is_in_order(answer) and not _complete_calls(answer)
    ),
    apis=("responses",),
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


def finish_reason(raw: Mapping[str, Any]) -> str:
    """Return the finish reason of the first choice of a Chat reply, quoted."""
    return repr(next((choice.get("finish_reason") for choice in objects(raw.get("choices"))), None))


_INCOMPLETE = ("max_output_tokens", "content_filter")  # reasons that the API defines
