"""What checks are about: parts of a rollout, each judged by itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from harness.api.base import Reply, Usage
from harness.api.conversation import ToolCall
from harness.parsing.rollout import ParsedExchange, ParsedRollout

# A reply of fewer tokens is over before anyone could see how it arrives.
FEWEST_TOKENS = 64


class Answer(NamedTuple):
    """A turn that could be read, and its reply."""

    turn: ParsedExchange
    reply: Reply


class Counted(NamedTuple):
    """A reply that reports token counts."""

    turn: ParsedExchange
    reply: Reply
    usage: Usage


class Call(NamedTuple):
    """One tool call of a reply."""

    turn: ParsedExchange
    call: ToolCall


class Item(NamedTuple):
    """One output item of a Responses reply, and where it stands."""

    turn: ParsedExchange
    path: str
    item: Mapping[str, Any]


def conversations(seen: ParsedRollout) -> Iterator[ParsedRollout]:
    """The rollout as a whole, where any reply could be read."""
    if any(answers(seen)):
        yield seen


def exchanges(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """Every turn that was answered, well or not."""
    return (turn for turn in seen.turns if turn.exchange.response is not None)


def good_statuses(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """The turns that were answered with a good status, whether or not to the end."""
    return (turn for turn in seen.turns if turn.good_status)


def readable(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """The turns that hold events or a JSON body to hold to a schema."""
    return (turn for turn in seen.turns if turn.events or turn.body is not None)


def delivered(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """The turns in which a whole response with a good status came."""
    return (turn for turn in seen.turns if turn.delivered)


def streams(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """The delivered turns that consist of events."""
    return (turn for turn in seen.turns if turn.delivered and turn.events)


def answers(seen: ParsedRollout) -> Iterator[Answer]:
    """The turns that could be read."""
    return (Answer(turn, reply) for turn, reply in seen.replies)


def ended(seen: ParsedRollout) -> Iterator[Answer]:
    """Replies that ended by themselves with something other than a tool call."""
    return (answer for answer in answers(seen) if answer.reply.finish == "stop")


def counted(seen: ParsedRollout) -> Iterator[Counted]:
    """Replies that report how many tokens went in and came out."""
    for turn, reply in answers(seen):
        usage = reply.usage
        if usage and usage.input_tokens is not None and usage.output_tokens is not None:
            yield Counted(turn, reply, usage)


def calls(seen: ParsedRollout) -> Iterator[Call]:
    """Every tool call."""
    return (Call(turn, call) for turn, reply in answers(seen) for call in reply.calls)


def strict_calls(seen: ParsedRollout) -> Iterator[Call]:
    """Calls of functions that are declared strict."""
    return (found for found in calls(seen) if found.call.name in found.turn.asked.strict)


def items(seen: ParsedRollout) -> Iterator[Item]:
    """Every output item of Responses."""
    for turn, reply in answers(seen):
        output = reply.raw.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict):
                yield Item(turn, f"$.output[{index}]", item)


def reasoning_items(seen: ParsedRollout) -> Iterator[Item]:
    """The output items that hold the CoT."""
    return (item for item in items(seen) if item.item.get("type") == "reasoning")


def asked_for(option: str) -> Callable[[ParsedRollout], Iterator[Answer]]:
    """Replies to requests that set an option to something other than null or false."""

    def chosen(seen: ParsedRollout) -> Iterator[Answer]:
        return (answer for answer in answers(seen) if answer.turn.asked.body.get(option))

    return chosen


def timed_streams(seen: ParsedRollout) -> Iterator[ParsedExchange]:
    """Streams of replies long enough for their readers to notice when they arrive."""
    for turn, _, usage in counted(seen):
        if turn.events and (usage.output_tokens or 0) >= FEWEST_TOKENS:
            yield turn


def limited(seen: ParsedRollout) -> Iterator[Counted]:
    """Counted replies to requests that limit their length."""
    return (said for said in counted(seen) if said.turn.asked.limit is not None)


def ended_with_tools(seen: ParsedRollout) -> Iterator[Answer]:
    """Replies that called no tool, though some were on offer."""
    answered = (answer for answer in ended(seen) if answer.turn.asked.functions)
    return (answer for answer in answered if not answer.reply.calls)


def with_calls(seen: ParsedRollout) -> Iterator[Answer]:
    """Replies that call a tool."""
    return (answer for answer in answers(seen) if answer.reply.calls)


def completed_items(seen: ParsedRollout) -> Iterator[Item]:
    """The items of responses that say they are completed."""
    for found in items(seen):
        reply = found.turn.reply
        if reply is not None and reply.raw.get("status") == "completed":
            yield found


def forced(seen: ParsedRollout) -> Iterator[Answer]:
    """Replies to requests that force a tool call."""
    must = ("required", "named")
    return (answer for answer in answers(seen) if answer.turn.asked.tool_choice in must)


def free_conversations(seen: ParsedRollout) -> Iterator[ParsedRollout]:
    """The rollout as a whole, unless every reply in it was forced to be a tool call."""
    if any(answers(seen)) and sum(1 for _ in forced(seen)) < sum(1 for _ in answers(seen)):
        yield seen


def after_thoughtful_calls(seen: ParsedRollout) -> Iterator[tuple[Answer, ...]]:
    """The replies that follow the first tool call with CoT, together."""
    replies = list(answers(seen))
    for number, (_, reply) in enumerate(replies, start=1):
        if reply.calls and reply.reasoning:
            if later := tuple(replies[number:]):
                yield later
            return
