"""Faults of reading the model's harmony output."""

from __future__ import annotations

from collections.abc import Iterable

from harmony.conversation import Result
from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.parsers import (
    Endless,
    Filtered,
    Tokenwise,
    Unparsed,
    recast,
    without,
)
from reference_engine.faults.seams import DATA, PARSER, Asked, Json
from reference_engine.server.generation import Order

family = Family("parsing")


@family.fault(
    PARSER,
    "raw-markers-in-content",
    "The output is not parsed: the content holds all of it, markers included.",
    source="NVIDIA/TensorRT-LLM#9256",
    detectors=("harmony.markers",),
)
def _raw_markers_in_content(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Unparsed(markers=True)


@family.fault(
    PARSER,
    "stripped-markers-in-content",
    "The output is not parsed and its markers are stripped: 'analysisWe need…assistantfinal…'.",
    source="sglang#9244",
    detectors=("harmony.remains",),
)
def _stripped_markers_in_content(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Unparsed(markers=False)


@family.fault(
    PARSER,
    "cot-in-content",
    "The chain of thought is part of the content.",
    source="lmstudio-bug-tracker#851",
    detectors=("chat.reasoning.missing", "responses.reasoning.missing", "reasoning.in_answer"),
)
def _cot_in_content(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return recast(parser, "reasoning", "answer")


@family.fault(
    PARSER,
    "cot-in-tags",
    "The chain of thought stands in <reasoning> tags before the content.",
    source="promptfoo PR#9587",
    detectors=("reasoning.in_answer", "chat.reasoning.missing", "responses.reasoning.missing"),
)
def _cot_in_tags(parser: HarmonyParser, _: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("reasoning"):
                return [Started("answer"), Delta("answer", "<reasoning>")]
            case Delta("reasoning", text):
                return [Delta("answer", text)]
            case Ended("reasoning", complete):
                return [Delta("answer", "</reasoning>"), Ended("answer", complete)]
        return [event]

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "reasoning-missing",
    "The chain of thought is not returned.",
    source=HYPOTHETICAL,
    detectors=("chat.reasoning.missing", "responses.reasoning.missing"),
)
def _reasoning_missing(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return without(parser, "reasoning")


@family.fault(
    PARSER,
    "reasoning-missing-after-result",
    "No chain of thought is returned in the turn after a tool result.",
    source="ollama#12158",
    detectors=(
        "reasoning.missing.after_result",
        "chat.reasoning.missing",
        "responses.reasoning.missing",
    ),
)
def _reasoning_missing_after_result(parser: HarmonyParser, order: Order) -> HarmonyParser:
    turns = order.conversation.turns
    return without(parser, "reasoning") if turns and isinstance(turns[-1], Result) else parser


@family.fault(
    PARSER,
    "answer-missing",
    "The final answer is lost, and the reply ends as if all were well.",
    source="NVIDIA/TensorRT-LLM#12030",
    detectors=("reply.empty",),
)
def _answer_missing(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return without(parser, "answer")


@family.fault(
    PARSER,
    "answer-in-reasoning",
    "The final answer is returned as part of the chain of thought.",
    source="llama.cpp#15789",
    detectors=("reply.empty",),
)
def _answer_in_reasoning(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return recast(parser, "answer", "reasoning")


@family.fault(
    PARSER,
    "answer-repeated",
    "The final answer comes twice.",
    source="NVIDIA/TensorRT-LLM#10614",
    detectors=("text.doubled",),
)
def _answer_repeated(parser: HarmonyParser, _: Order) -> HarmonyParser:
    texts: list[str] = []

    def change(event: Event) -> Iterable[Event]:
        yield event
        match event:
            case Delta("answer", text):
                texts.append(text)
            case Ended("answer") if texts:
                yield from (Started("answer"), Delta("answer", "".join(texts)), event)

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "call-in-content",
    "A call's arguments are returned as content.",
    source="vllm#25560",
    detectors=("calls.in_text",),
)
def _call_in_content(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return recast(parser, "call", "answer")


@family.fault(
    PARSER,
    "call-in-reasoning",
    "A call's arguments are returned as chain of thought.",
    source="vllm#24076",
    detectors=("reply.empty",),
)
def _call_in_reasoning(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return recast(parser, "call", "reasoning")


@family.fault(
    PARSER,
    "call-omitted",
    "A call is lost, and the reply ends as if all were well.",
    source="lmstudio-bug-tracker#942",
    detectors=("reply.empty",),
)
def _call_omitted(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return without(parser, "call")


@family.fault(
    PARSER,
    "call-header-in-content",
    "The markers are removed before calls are looked for, so a call and its header are content.",
    source="waybarrios/vllm-mlx PR#562",
    detectors=("harmony.remains",),
)
def _call_header_in_content(parser: HarmonyParser, _: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("call", name):
                return [Started("answer"), Delta("answer", f"commentary to=functions.{name} json")]
            case Delta("call", text):
                return [Delta("answer", text)]
            case Ended("call", complete):
                return [Ended("answer", complete)]
        return [event]

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "preamble-lost",
    "Text that the model shows the user before a call is lost.",
    source="vllm PR#28729",
    detectors=("tools.preamble",),
    visible=False,  # The small checkpoint tells the user nothing before a call.
)
def _preamble_lost(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return without(parser, "preamble")


@family.fault(
    PARSER,
    "text-stalls-after-non-ascii",
    "After a character beyond ASCII the rest of a message is dropped.",
    source="openai/harmony PR#83",
    detectors=("tools.arguments",),
)
def _text_stalls_after_non_ascii(parser: HarmonyParser, _: Order) -> HarmonyParser:
    stalled: list[bool] = []

    def change(event: Event) -> Iterable[Event]:
        if isinstance(event, Started):
            stalled.clear()
        if not (isinstance(event, Delta) and stalled):
            yield event
        if isinstance(event, Delta) and not event.text.isascii():
            stalled.append(True)

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "characters-broken",
    "Characters made of several tokens come as replacement characters.",
    source=HYPOTHETICAL,
    detectors=("text.garbled",),
)
def _characters_broken(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Tokenwise()


@family.fault(
    PARSER,
    "end-marker-unknown",
    "The end of the chain of thought is not seen, so that the rest is part of it.",
    source="ikawrakow/ik_llama.cpp PR#723",
    detectors=("harmony.markers", "reply.empty"),
)
def _end_marker_unknown(_: HarmonyParser, __: Order) -> HarmonyParser:
    return Endless()


@family.fault(
    DATA,
    "call-as-mcp-call",
    "A function call is returned as an output item of type mcp_call.",
    source="vllm PR#35907",
    detectors=("responses.item_type.undeclared", "responses.schema"),
)
def _call_as_mcp_call(data: Json, _: Asked) -> Json:
    for item in (data.get("item"), *(data.get("response", data).get("output") or ())):
        if isinstance(item, dict) and item.get("type") == "function_call":
            item |= {"type": "mcp_call", "server_label": "functions"}
            item.pop("call_id")
    return data
