"""Options of requests that the calls of a reply must follow, and how often a call is made."""

import json
import re
from collections.abc import Iterator

from harness.api.fields import objects
from harness.api.items import Reply, ToolCall
from harness.api.json_text import is_doubled, parsed_object
from harness.api.ledger import is_below_limit
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, every_choice
from harness.rules.habits import recorded
from harness.rules.rule import CHAT, GUIDE, TOOL_CHOICE, Problem

family = Family("calls", CHAT, component="choice")

_FEWEST_CHARACTERS = 4  # characters of arguments in a text


def _binds(answer: Answer) -> bool:
    """Whether tool_choice restricts a reply; one that its limit cut may lack its call."""
    request, reply = answer.exchange.request, answer.reply
    cut = request.forces_call and not reply.calls and reply.finish == "length"
    excused = cut and not is_below_limit(answer.exchange)
    return request.tool_choice not in ("auto", "other") and not excused


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
    fix="With parallel_tool_calls false, end the reply after the first call.",
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
    "calls.several",
    every_choice,
    lambda answer: answer.reply.calls,
    severity="info",
    source=GUIDE,
    witness=True,
)
def _several(answer: Answer) -> Iterator[Problem]:
    """A reply has at most one tool call.

    gpt-oss stops after one call. If the server continues generation, the model guesses what the
    first call will return.
    """
    if len(answer.reply.calls) > 1:
        message = "The reply has several tool calls."
        yield Problem(answer.exchange, message, "1 call", f"{len(answer.reply.calls)} calls")


@family.check(
    "calls.repeated",
    every_choice,
    lambda answer: answer.reply.calls,
    habit=recorded(0.005),
    component="calls",
    fix="Return every call once, and its arguments nowhere else.",
)
def _repeated(answer: Answer) -> Iterator[Problem]:
    """A reply does not contain the same call twice, nor its arguments as text.

    gpt-oss stops after one call, so the server repeated it. Agents run the tool twice, or show the
    arguments. Some streams repeat only the arguments of the call, which are then not valid JSON.
    Before a call, a model writes a sentence, if anything; after it, it writes nothing.
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
    shown = None if answer.exchange.request.wants_json else _shown_arguments(answer.reply)
    if shown is not None:
        message = f"The text of the reply repeats the arguments of the call of {shown.name}."
        expected = "the arguments in the call only"
        proven = _follows_call(answer.exchange)
        yield Problem(answer.exchange, message, expected, answer.reply.text, proven=proven)


def _shown_arguments(reply: Reply) -> ToolCall | None:
    """Return the call whose arguments are all that the text contains, as JSON or as values."""
    for call in reply.calls:
        value, text, shown = parsed_object(call.arguments), reply.text.strip(), 0
        if value and parsed_object(text) == value:
            return call
        for part in sorted(_members(value), key=len, reverse=True):
            shown += len(part) * text.count(part)
            text = text.replace(part, " ")
        if shown >= _FEWEST_CHARACTERS and not re.search(r"\w", text):
            return call
    return None


def _members(value: object) -> set[str]:
    """Return the names and values in the arguments of a call, as they may be in a text."""
    if isinstance(value, dict):
        return set(value).union(*map(_members, value.values())) - {""}
    if isinstance(value, list):
        return set().union(*map(_members, value))
    if isinstance(value, str):
        return {value} - {""}
    return {json.dumps(value), str(value)}


def _follows_call(exchange: ParsedExchange) -> bool:
    """Whether the text of a stream begins after a call has begun."""
    called = False
    for event in exchange.events:
        data = event.data or {}
        deltas = objects([choice.get("delta") for choice in objects(data.get("choices"))])
        if called and (
            event.type == "response.output_text.delta"
            or any(isinstance(text := delta.get("content"), str) and text for delta in deltas)
        ):
            return True
        called = called or any(delta.get("tool_calls") for delta in deltas)
        called = called or event.type.startswith("response.function_call_arguments")
    return False
