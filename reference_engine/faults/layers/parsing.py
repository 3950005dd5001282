"""Faults in parsing the model's harmony output."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import replace

from harmony.conversation import Result
from harmony.parse import Delta, Ended, Event, HarmonyParser, Kind, Started
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import OUTPUT_ITEM, PARSED, PARSER
from reference_engine.faults.http import ClientRequest, Json
from reference_engine.faults.parsers import (
    EndBlindParser,
    FilteredParser,
    SharedParser,
    TokenwiseParser,
    Unparsed,
)
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("parsing")

_LOST_TOKEN = 4
_ENDS_OF_REASONING = (Ended("reasoning"), Ended("reasoning", complete=False))
_COT_MISSING = ("chat.reasoning.missing", "responses.reasoning.missing")
_HEADER_ERROR = "unexpected tokens remaining in message header: ['<|constrain|>json']"
_START_ERROR = "Unexpected token 12606 while expecting start token 200006"


def recast(event: Event, old: Kind, new: Kind) -> list[Event]:
    """The event, as part of a message of kind `new` if its kind is `old`."""
    return [replace(event, kind=new) if event.kind == old else event]


def dropped(event: Event, kind: Kind) -> list[Event]:
    """The event, unless its message is of this kind."""
    return [] if event.kind == kind else [event]


@group.fault(PARSER, "harmony.markers", source="NVIDIA/TensorRT-LLM#9256")
def raw_markers_in_content(_: HarmonyParser, __: GenerationRequest) -> HarmonyParser:
    """The output is not parsed: the content contains all of it, including special tokens."""
    return Unparsed(show_special=True)


@group.fault(PARSER, "harmony.remains", source="sglang#9244")
def stripped_markers_in_content(_: HarmonyParser, __: GenerationRequest) -> HarmonyParser:
    """The output is unparsed and loses its special tokens: 'analysisWe need…assistantfinal…'."""
    return Unparsed(show_special=False)


@group.fault(PARSED, *_COT_MISSING, "reasoning.in_answer", source="lmstudio-bug-tracker#851")
def cot_in_content(event: Event) -> list[Event]:
    """The chain of thought is part of the content."""
    return recast(event, "reasoning", "answer")


@group.fault(PARSED, "reasoning.in_answer", *_COT_MISSING, source="promptfoo PR#9587")
def cot_in_tags(event: Event) -> list[Event]:
    """The content starts with the chain of thought in <reasoning> tags."""
    match event:
        case Started("reasoning"):
            return [Started("answer"), Delta("answer", "<reasoning>")]
        case Ended("reasoning", complete):
            return [Delta("answer", "</reasoning>"), Ended("answer", complete)]
    return recast(event, "reasoning", "answer")


@group.fault(PARSED, *_COT_MISSING)
def reasoning_missing(event: Event) -> list[Event]:
    """The chain of thought is not returned."""
    return dropped(event, "reasoning")


@group.fault(PARSER, "reasoning.missing.after_result", *_COT_MISSING, source="ollama#12158")
def reasoning_missing_after_result(
    parser: HarmonyParser, request: GenerationRequest
) -> HarmonyParser:
    """The response to a tool result lacks the chain of thought."""
    items = request.conversation.items
    after_result = items and isinstance(items[-1], Result)
    return FilteredParser(parser, reasoning_missing) if after_result else parser


@group.fault(PARSED, "reply.lost", "reply.empty", source="NVIDIA/TensorRT-LLM#12030")
def answer_missing(event: Event) -> list[Event]:
    """The final answer is lost, and the response ends normally."""
    return dropped(event, "answer")


@group.fault(PARSED, "reply.empty", source="llama.cpp#15789")
def answer_in_reasoning(event: Event) -> list[Event]:
    """The final answer is returned as part of the chain of thought."""
    return recast(event, "answer", "reasoning")


@group.fault(PARSER, "text.doubled", source="NVIDIA/TensorRT-LLM#10614")
def answer_repeated(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The response contains the final answer twice."""
    texts: list[str] = []

    def change(event: Event) -> Iterable[Event]:
        yield event
        match event:
            case Delta("answer", text):
                texts.append(text)
            case Ended("answer") if texts:
                yield from (Started("answer"), Delta("answer", "".join(texts)), event)

    return FilteredParser(parser, change)


@group.fault(PARSED, "text.added")
def reasoning_with_notice(event: Event) -> list[Event]:
    """Every chain of thought ends with a notice of the server."""
    notice = [Delta("reasoning", "\n[end of reasoning]")]
    return [*(notice if event in _ENDS_OF_REASONING else []), event]


@group.fault(PARSED, "calls.in_text", source="vllm#25560")
def call_in_content(event: Event) -> list[Event]:
    """The arguments of a call are returned as content."""
    return recast(event, "call", "answer")


@group.fault(PARSED, "calls.lost", "reply.empty", source="vllm#24076")
def call_in_reasoning(event: Event) -> list[Event]:
    """The arguments of a call are returned as chain of thought."""
    return recast(event, "call", "reasoning")


@group.fault(PARSED, "reply.lost", "reply.empty", source="lmstudio-bug-tracker#942")
def call_omitted(event: Event) -> list[Event]:
    """A call is lost, and the response ends normally."""
    return dropped(event, "call")


@group.fault(PARSED, "harmony.remains", source="waybarrios/vllm-mlx PR#562")
def call_header_in_content(event: Event) -> list[Event]:
    """Special tokens are removed before calls are parsed: the call and its header are content."""
    match event:
        case Started("call", name):
            return [Started("answer"), Delta("answer", f"commentary to=functions.{name} json")]
    return recast(event, "call", "answer")


# The small checkpoint writes no preambles.
@group.fault(PARSED, "tools.preamble", source="vllm PR#28729", visible=False)
def preamble_lost(event: Event) -> list[Event]:
    """Text for the user before a call is lost."""
    return dropped(event, "preamble")


@group.fault(PARSER, "tools.arguments", source="openai/harmony PR#83")
def text_stalls_after_non_ascii(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The rest of a message after a non-ASCII character is dropped."""
    stalled = False

    def change(event: Event) -> Iterable[Event]:
        nonlocal stalled
        if isinstance(event, Started):
            stalled = False
        if not isinstance(event, Delta):
            yield event
        elif not stalled:
            yield event
            stalled = not event.text.isascii()

    return FilteredParser(parser, change)


def _without(kind: Kind, lost: Callable[[int], bool]) -> Callable[[Event], Iterable[Event]]:
    """Drop the deltas of a message whose number, from 1, is `lost`."""
    count = 0

    def change(event: Event) -> Iterable[Event]:
        nonlocal count
        if isinstance(event, Started):
            count = 0
        count += isinstance(event, Delta)
        return [] if isinstance(event, Delta) and event.kind == kind and lost(count) else [event]

    return change


@group.fault(
    PARSER, "usage.output.lost", "usage.output.unseen", source="llamastack/llama-stack recordings"
)
def word_lost(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """One token in the middle of the chain of thought is lost."""
    return FilteredParser(parser, _without("reasoning", lambda number: number == _LOST_TOKEN))


@group.fault(PARSER, "usage.output.unseen", "usage.output.lost")
def reasoning_cut(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The chain of thought ends after its first words."""
    return FilteredParser(parser, _without("reasoning", lambda number: number > _LOST_TOKEN))


@group.fault(PARSED, "text.escaped", "usage.output", "tools.arguments", "parity")
def text_escaped_for_html(event: Event) -> list[Event]:
    """The text is escaped for HTML: `&lt;` in place of `<`."""
    return [replace(event, text=html.escape(event.text)) if isinstance(event, Delta) else event]


@group.fault(PARSER, "text.garbled")
def characters_broken(_: HarmonyParser, __: GenerationRequest) -> HarmonyParser:
    """Characters that span several tokens come back as U+FFFD replacement characters."""
    return TokenwiseParser()


@group.fault(PARSER, "harmony.markers", "reply.empty", source="ikawrakow/ik_llama.cpp PR#723")
def end_marker_unknown(_: HarmonyParser, __: GenerationRequest) -> HarmonyParser:
    """The parser misses the end of the chain of thought, which then contains the answer."""
    return EndBlindParser()


@group.fault(
    OUTPUT_ITEM, "responses.item_type.undeclared", "responses.schema", source="vllm PR#35907"
)
def call_as_mcp_call(item: Json, _: ClientRequest) -> None:
    """A function call is returned as an output item of type mcp_call."""
    if item.get("type") == "function_call":
        item |= {"type": "mcp_call", "server_label": "functions"}
        item.pop("call_id")


def _fail_after_reasoning(event: Event, status: int, message: str) -> list[Event]:
    """Fail at the first header after the chain of thought."""
    if isinstance(event, Started) and event.kind != "reasoning":
        raise ApiError(status, message)
    return [event]


@group.fault(PARSED, "request.failed", "stream.error_event", source="vllm#51977")
def header_crash(event: Event) -> list[Event]:
    """The parser fails at a message header, and the request fails with status 500."""
    return _fail_after_reasoning(event, 500, _HEADER_ERROR)


@group.fault(PARSED, "request.refused", "stream.error_event", source="sglang PR#35299")
def header_crash_blames_client(event: Event) -> list[Event]:
    """The parser fails at a message header, and the request fails with status 400."""
    return _fail_after_reasoning(event, 400, _HEADER_ERROR)


@group.fault(PARSED, "request.failed", "stream.error_event", source="vllm#46464")
def start_token_crash(event: Event) -> list[Event]:
    """The parser misses a start token between messages, and the request fails with status 503."""
    return _fail_after_reasoning(event, 503, _START_ERROR)


@group.fault(
    PARSER,
    "load",
    "chat.reasoning.missing",
    "request.refused",
    "responses.stream.items",
    "text.garbled",
    source="sglang#8914",
)
def parser_shared(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Concurrent requests share one parser."""
    return SharedParser(parser)
