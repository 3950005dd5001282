"""Faults of token limits, stop strings and long prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from harmony.conversation import Conversation, User
from harmony.parse import Delta, Ended, Event, HarmonyParser, Kind, Started
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.orders import with_turns
from reference_engine.faults.parsers import Filtered
from reference_engine.faults.seams import (
    DATA,
    ORDER,
    PARSER,
    PROMPT,
    REPLY,
    REQUEST,
    Asked,
    Json,
    Reply,
)
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Order

family = Family("limits")

_LONGEST_PROMPT = 1024
_KEPT_AT_START = 256
_LONGEST_TEXT = 12_000
_HIDDEN_LIMIT = 16


def _cut_off(data: Json) -> bool:
    """Whether a reply, or the last event of a stream, says that the limit ended it."""
    finished = [choice.get("finish_reason") for choice in data.get("choices") or ()]
    return "length" in finished or data.get("response", data).get("status") == "incomplete"


@family.fault(
    DATA,
    "truncation-as-completed",
    "A reply that the limit cut off is said to be complete.",
    source="vllm#24184",
    detectors=("finish.limit",),
)
def _truncation_as_completed(data: Json, _: Asked) -> Json:
    for choice in data.get("choices") or ():
        if choice.get("finish_reason") == "length":
            choice["finish_reason"] = "stop"
    response = data.get("response", data)
    if response.get("status") == "incomplete":
        response |= {"status": "completed", "incomplete_details": None}
    if data.get("type") == "response.incomplete":
        data["type"] = "response.completed"
    return data


@family.fault(
    DATA,
    "truncated-output-lost",
    "A reply that the limit cut off is empty, without counts, and said to be complete.",
    source="vllm PR#24561",
    detectors=("finish.limit", "reply.empty", "usage.zero"),
)
def _truncated_output_lost(data: Json, asked: Asked) -> Json:
    if asked.dialect == "responses" and _cut_off(data):
        response = data.get("response", data)
        data = _truncation_as_completed(data, asked)
        response["output"] = []
        if usage := response.get("usage"):
            usage |= {"output_tokens": 0, "input_tokens": 0, "total_tokens": 0}
    return data


@family.fault(
    REPLY,
    "truncation-crashes",
    "A whole reply that the limit cut off is answered with status 400.",
    source="sglang#10014",
    detectors=("request.refused",),
)
def _truncation_crashes(reply: Reply, _: Asked) -> Reply:
    if reply.status != 200 or not _cut_off(reply.json):
        return reply
    error = ApiError(400, "1 validation error for ResponseOutputText: text: Field required")
    return replace(reply, status=400, body=orjson.dumps(error.body()))


@family.fault(
    DATA,
    "incomplete-details-missing",
    "An incomplete response does not say why it is.",
    source=HYPOTHETICAL,
    detectors=("responses.status",),
)
def _incomplete_details_missing(data: Json, _: Asked) -> Json:
    response = data.get("response", data)
    if response.get("status") == "incomplete":
        response["incomplete_details"] = None
    return data


@family.fault(
    ORDER,
    "limit-ignored",
    "The limit of tokens that a request sets has no effect.",
    source=HYPOTHETICAL,
    detectors=("usage.limit",),
)
def _limit_ignored(order: Order) -> Order:
    return replace(order, sampling=replace(order.sampling, max_tokens=None))


@family.fault(
    ORDER,
    "limit-hidden",
    "A request that sets no limit is cut off after 16 tokens.",
    source=HYPOTHETICAL,
    detectors=("limits.default",),
)
def _limit_hidden(order: Order) -> Order:
    limit = order.sampling.max_tokens or _HIDDEN_LIMIT
    return replace(order, sampling=replace(order.sampling, max_tokens=limit))


@family.fault(
    PROMPT,
    "prompt-cut-in-the-middle",
    "Of a prompt longer than 1,024 tokens the middle is left out, and nobody is told.",
    source=HYPOTHETICAL,
    detectors=("prompt.long",),
)
def _prompt_cut_in_the_middle(tokens: list[int], _: Conversation) -> list[int]:
    if len(tokens) <= _LONGEST_PROMPT:
        return tokens
    return tokens[:_KEPT_AT_START] + tokens[_KEPT_AT_START - _LONGEST_PROMPT :]


@family.fault(
    ORDER,
    "overflow-cut-silently",
    "A text that may not fit the context is cut instead of being refused.",
    source=HYPOTHETICAL,
    detectors=("errors.overflow",),
)
def _overflow_cut_silently(order: Order) -> Order:
    turns = (
        User(turn.text[:_LONGEST_TEXT]) if isinstance(turn, User) else turn
        for turn in order.conversation.turns
    )
    return with_turns(order, turns)


@family.fault(
    ORDER,
    "stop-ignored",
    "Stop strings have no effect.",
    source=HYPOTHETICAL,
    detectors=(
        "limits.stop",
        "stop.kept",
    ),
)
def _stop_ignored(order: Order) -> Order:
    return replace(order, stop=())


@family.fault(
    PARSER,
    "stop-acts-on-reasoning",
    "A stop string in the chain of thought ends the reply before its answer.",
    source="vllm#38499",
    detectors=(
        "limits.stop",
        "reply.empty",
    ),
)
def _stop_acts_on_reasoning(parser: HarmonyParser, order: Order) -> HarmonyParser:
    return _silenced(parser, "reasoning", order.stop, keep=False)


@family.fault(
    ORDER,
    "stop-string-kept",
    "The stop string that ended the answer is part of it.",
    source="vllm#52599",
    detectors=(
        "limits.stop",
        "stop.kept",
    ),
)
def _stop_string_kept(order: Order) -> Order:
    return _KeepingStop(order.conversation, order.sampling, order.policy, (), order.stop)


@family.also(PARSER, "stop-string-kept")
def _cut_after_stop(parser: HarmonyParser, order: Order) -> HarmonyParser:
    strings = order.kept if isinstance(order, _KeepingStop) else ()
    return _silenced(parser, "answer", strings, keep=True)


@dataclass(frozen=True)
class _KeepingStop(Order):
    """An order whose stop strings end the answer but stay in it."""

    kept: tuple[str, ...] = ()


def _silenced(
    parser: HarmonyParser, kind: Kind, strings: tuple[str, ...], *, keep: bool
) -> HarmonyParser:
    """A parser that says no more once a message of this kind holds one of the strings."""
    text = ""
    silent = False

    def change(event: Event) -> Iterable[Event]:
        nonlocal text, silent
        if silent:
            return
        match event:
            case Started():
                text = ""
            case Delta(found, more) if found == kind:
                before, text = len(text), text + more
                ends = [
                    at + len(string) * keep for string in strings if (at := text.find(string)) >= 0
                ]
                if ends:
                    silent = True
                    if shown := text[before : min(ends)]:
                        yield Delta(kind, shown)
                    yield Ended(kind)
                    return
        yield event

    return Filtered(parser, change)


@family.fault(
    REQUEST,
    "max-completion-tokens-ignored",
    "Of the two names of the limit in Chat requests only max_tokens has an effect.",
    source=HYPOTHETICAL,
    detectors=("usage.limit",),
)
def _max_completion_tokens_ignored(body: Json, _: Asked) -> Json:
    return {key: value for key, value in body.items() if key != "max_completion_tokens"}
