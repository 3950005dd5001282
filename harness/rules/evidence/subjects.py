"""The parts of a rollout that checks judge. No I/O."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from harness.api.fields import objects
from harness.api.items import Reply, ToolCall, Usage
from harness.api.json_text import ends_early, parsed_object
from harness.api.ledger import COT_HEADER, hides_cot, ledger
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.records.replies import Ledger

T = TypeVar("T")

BUILT_IN = re.compile(r"(?:browser|python|container|repo_browser)(?:[._]\w+)?|apply_patch")
"""The tools that gpt-oss was trained with; it occasionally calls them unprompted."""

_CONTENT_TYPE = re.compile(r"(?:<\|constrain\|>)?json")
"""What a header names after the recipient: no model means it as the name of a tool."""

# Shorter replies end before a reader could notice how they arrive.
FEWEST_TOKENS = 16


class Answer(NamedTuple):
    """An exchange with a readable reply."""

    exchange: ParsedExchange
    reply: Reply

    @property
    def usage(self) -> Usage:
        """The reported token counts."""
        return self.reply.usage or Usage(None, None, None, None)

    @property
    def output(self) -> list[Mapping[str, Any]]:
        """The output items of a Responses reply."""
        return objects(self.reply.raw.get("output"))

    @property
    def ledger(self) -> Ledger | None:
        """The ledger of the reply; None if its tokens cannot be counted."""
        return ledger(self.exchange)

    @property
    def texts(self) -> Iterator[tuple[str, str]]:
        """Every generated text, with the name of its place."""
        yield "answer", self.reply.text
        yield "reasoning", self.reply.reasoning
        for call in self.reply.calls:
            yield "argument text", call.arguments

    @property
    def misplaced(self) -> Mapping[str, Any] | None:
        """The output item or call that contains the JSON answer instead of a message, if any.

        A call is the answer if its name and arguments cannot be those of a tool: its name is the
        content type of the answer, or no tool is offered, and the model was not trained to call
        one of this name. The token limit may have cut the answer.
        """
        request = self.exchange.request
        if not request.wants_json or self.reply.text.strip():
            return None
        cut = self.reply.finish == "length"
        if self.reply.calls:
            call = self.reply.calls[0]
            offered = request.functions or request.built_in or BUILT_IN.fullmatch(call.name)
            typed = call.name not in request.functions and _CONTENT_TYPE.fullmatch(call.name)
            is_answer = (typed or not offered) and _is_object(call.arguments, cut=cut)
            return (
                {"type": f"call of {call.name}", "content": call.arguments} if is_answer else None
            )
        return next((item for item in self.output if _holds_json(item, cut=cut)), None)

    @property
    def filtered(self) -> bool:
        """Whether a filter wrote or stopped the reply: only `reply.refused` judges it."""
        return self.reply.finish == "content_filter"

    @property
    def refusals(self) -> list[str]:
        """What a filter returned instead of the model's answer."""
        choices = objects(self.reply.raw.get("choices"))
        messages = objects([choice.get("message") for choice in choices])
        parts = [part for item in self.output for part in objects(item.get("content"))]
        texts = [str(part["refusal"]) for part in (*messages, *parts) if part.get("refusal")]
        return texts or ["content_filter"] * self.filtered

    @property
    def choices(self) -> list[Mapping[str, Any]]:
        """The choices of a Chat reply, or of all its chunks."""
        return [choice for body in self.exchange.bodies for choice in objects(body.get("choices"))]


def _holds_json(item: Mapping[str, Any], *, cut: bool) -> bool:
    texts = [item.get(key) for key in ("arguments", "input", "output", "code")]
    other = item.get("type") not in ("reasoning", "message", "function_call")
    return other and any(_is_object(text, cut=cut) for text in texts if isinstance(text, str))


def _is_object(text: str, *, cut: bool) -> bool:
    return parsed_object(text) is not None or (cut and ends_early(text))


class Call(NamedTuple):
    """A tool call in a reply."""

    exchange: ParsedExchange
    call: ToolCall


class Item(NamedTuple):
    """An output item of a Responses reply, with its JSON path."""

    exchange: ParsedExchange
    path: str
    item: Mapping[str, Any]

    @property
    def completed(self) -> bool:
        """Whether the response has status completed."""
        reply = self.exchange.reply
        return reply is not None and reply.raw.get("status") == "completed"


def repeats(parts: Iterable[tuple[T, object]]) -> Iterator[tuple[T, str]]:
    """Yield the parts that have the text of an earlier part; parts without text are left out."""
    known: set[str] = set()
    for part, text in parts:
        if isinstance(text, str):
            if text in known:
                yield part, text
            known.add(text)


def conversations(parsed: ParsedRollout) -> Iterator[ParsedRollout]:
    """Yield the rollout as a whole, if it has a readable reply."""
    if any(answers(parsed)):
        yield parsed


def exchanges(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Exchanges with a response of any status."""
    return (exchange for exchange in parsed.exchanges if exchange.status is not None)


def good_statuses(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Exchanges with a 2xx response, complete or not."""
    return (exchange for exchange in parsed.exchanges if exchange.good_status)


def readable(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Exchanges with events or a JSON body to validate."""
    return (
        exchange for exchange in parsed.exchanges if exchange.events or exchange.body is not None
    )


def delivered(parsed: ParsedRollout) -> Iterable[ParsedExchange]:
    """Exchanges with a complete 2xx response."""
    return parsed.delivered


def streams(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Delivered exchanges that consist of events, without simulated streams."""
    return (exchange for exchange in parsed.delivered if exchange.events and not exchange.simulated)


def answers(parsed: ParsedRollout) -> Iterator[Answer]:
    """Exchanges with a readable reply, without those that a filter wrote or stopped."""
    return (answer for answer in delivered_answers(parsed) if not answer.filtered)


def delivered_answers(parsed: ParsedRollout) -> Iterator[Answer]:
    """Exchanges with a readable reply, also one that a filter wrote or stopped."""
    return (Answer(exchange, reply) for exchange, reply in parsed.replies)


def every_choice(parsed: ParsedRollout) -> Iterator[Answer]:
    """Every choice of every reply of `answers`, which has the first of each."""
    for exchange, reply in parsed.replies:
        choices = (Answer(exchange, choice) for choice in (reply, *reply.others))
        yield from (answer for answer in choices if not answer.filtered)


def ended(parsed: ParsedRollout) -> Iterator[Answer]:
    """Choices that ended on their own, without a tool call as the reason."""
    return (answer for answer in every_choice(parsed) if answer.reply.finish == "stop")


def counted(parsed: ParsedRollout) -> Iterator[Answer]:
    """Replies that report input and output tokens."""
    for answer in answers(parsed):
        if None not in (answer.usage.input_tokens, answer.usage.output_tokens):
            yield answer


def calls(parsed: ParsedRollout) -> Iterator[Call]:
    """Every tool call."""
    return (
        Call(exchange, call) for exchange, reply in every_choice(parsed) for call in reply.calls
    )


def items(parsed: ParsedRollout) -> Iterator[Item]:
    """Every output item of Responses replies."""
    for exchange, reply in answers(parsed):
        output = reply.raw.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if isinstance(item, dict):
                yield Item(exchange, f"$.output[{index}]", item)


def reasoning_items(parsed: ParsedRollout) -> Iterator[Item]:
    """Output items of type reasoning."""
    return (item for item in items(parsed) if item.item.get("type") == "reasoning")


def timed_streams(parsed: ParsedRollout) -> Iterator[ParsedExchange]:
    """Streams long enough for their timing to matter."""
    for exchange, reply in counted(parsed):
        long = (reply.output_tokens or 0) >= FEWEST_TOKENS
        if exchange.events and long and not exchange.simulated:
            yield exchange


def opening(parsed: ParsedRollout) -> Iterator[Answer]:
    """Yield the first reply, if it answers the user, freely and in full."""
    for answer in _to_user(parsed):
        stops = answer.exchange.request.stops
        if answer.reply.finish != "length" and (answer.reply.text or not stops):
            yield answer


def truncated_opening(parsed: ParsedRollout) -> Iterator[Answer]:
    """The first reply, if it answers the user, freely, and the token limit cut its text or CoT."""
    for answer in _to_user(parsed):
        written = answer.reply.text or answer.reply.reasoning or reports_cot(answer)
        if answer.reply.finish == "length" and written:
            yield answer


def reports_cot(answer: Answer) -> bool:
    """Whether a reply reports more reasoning tokens than the header of a CoT has.

    The tokens of several choices are counted together, so they show nothing of one choice.
    """
    return not answer.reply.others and (answer.usage.reasoning_tokens or 0) > COT_HEADER


def _to_user(parsed: ParsedRollout) -> Iterator[Answer]:
    """The first reply, if the model answers the user, in any form, and its CoT is not hidden."""
    for answer in islice(answers(parsed), 1):
        request = answer.exchange.request
        free = request.tool_choice in ("auto", "none") and not request.wants_json
        if free and request.answers_user and not hides_cot(answer.exchange):
            yield answer


def after_reasoned_calls(parsed: ParsedRollout) -> Iterator[tuple[Answer, ...]]:
    """All replies after the first tool call with CoT, together."""
    replies = list(answers(parsed))
    for number, (_, reply) in enumerate(replies, start=1):
        if reply.calls and reply.reasoning:
            if later := tuple(replies[number:]):
                yield later
            return
