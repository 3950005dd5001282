"""Finish reason and status agree with what was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.checks.base import CHAT, GUIDE, RESPONSES, Family, Problem
from harness.checks.subjects import Answer, Item, answers, completed_items, ended, with_calls
from harness.parsing.rollout import ParsedExchange

family = Family("finish")

_TOOL_LOOP_WHY = "Agents decide by it whether to run tools or to stop."


@family.check(
    "chat.finish.tool_calls",
    over=with_calls,
    severity="error",
    summary="A message with tool calls ends with finish_reason tool_calls.",
    why=_TOOL_LOOP_WHY,
    source=CHAT,
    apis=("chat",),
)
def _calls_without_reason(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    if reply.finish not in ("tool_calls", "length") and not _forced(turn):
        message = "The message calls a tool but does not say so in finish_reason."
        path = "$.choices[0].finish_reason"
        yield Problem(turn, message, "tool_calls", _finish_reason(reply.raw), path)


@family.check(
    "chat.finish.no_calls",
    over=answers,
    severity="error",
    summary="finish_reason tool_calls comes with tool calls.",
    why=_TOOL_LOOP_WHY,
    source=CHAT,
    apis=("chat",),
)
def _reason_without_calls(answer: Answer) -> Iterator[Problem]:
    if answer.reply.finish == "tool_calls" and not answer.reply.calls:
        message = "finish_reason is tool_calls, yet no tool is called."
        path = "$.choices[0].message.tool_calls"
        yield Problem(answer.turn, message, "at least one tool call", "none", path)


@family.check(
    "reply.empty",
    over=ended,
    severity="error",
    summary="A reply that ended by itself holds an answer or a tool call.",
    why="The user gets nothing, with nothing to say so.",
    source=GUIDE,
    tolerated=0.02,
)
def _empty(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    if not reply.calls and not reply.text.strip():
        message = "The reply ended normally with neither an answer nor a tool call."
        got = "reasoning only" if reply.reasoning else "nothing at all"
        yield Problem(turn, message, "an answer or a tool call", got)


@family.check(
    "responses.status",
    over=answers,
    severity="error",
    summary="A finished response is completed, or incomplete with the reason.",
    why="Clients decide by it whether the answer can be used.",
    source=RESPONSES,
    apis=("responses",),
)
def _status(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    status = reply.raw.get("status")
    if status == "incomplete":
        details = reply.raw.get("incomplete_details")
        if not isinstance(details, dict) or not details.get("reason"):
            message = "The response is incomplete and does not say why."
            path = "$.incomplete_details"
            yield Problem(turn, message, '{"reason": …}', repr(details), path)
    elif status != "completed":
        message = "The response is over but its status does not say so."
        yield Problem(turn, message, "completed or incomplete", repr(status), "$.status")


@family.check(
    "responses.status.items",
    over=completed_items,
    severity="error",
    summary="In a completed response every item is completed.",
    why="Clients skip or wait for items that are not.",
    source=RESPONSES,
    apis=("responses",),
)
def _item_status(found: Item) -> Iterator[Problem]:
    status = found.item.get("status")
    if status not in (None, "completed"):
        message = "An item of a completed response is not completed."
        yield Problem(found.turn, message, "completed", repr(status), f"{found.path}.status")


def _forced(turn: ParsedExchange) -> bool:
    """Whether the request forced a call: OpenAI itself then says `stop`."""
    return turn.asked.tool_choice in ("required", "named")


def _finish_reason(raw: Mapping[str, Any]) -> str:
    choices = raw.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return repr(first.get("finish_reason")) if isinstance(first, dict) else "nothing"
