"""Faults of answers that must follow a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.orders import conversing
from reference_engine.faults.parsers import Filtered, recast
from reference_engine.faults.seams import DATA, ORDER, PARSER, Asked, Json
from reference_engine.server.generation import Order

family = Family("structured output")


@family.fault(
    ORDER,
    "format-ignored",
    "The schema asked for does not reach the model.",
    source="llama.cpp#15276",
    detectors=("answer.json", "structured.asked"),
)
def _format_ignored(order: Order) -> Order:
    return conversing(order, answer_format=None)


@family.fault(
    PARSER,
    "json-in-reasoning",
    "An answer that must follow a schema is returned as chain of thought.",
    source="vllm#44012",
    detectors=("reply.empty", "answer.json"),
)
def _json_in_reasoning(parser: HarmonyParser, order: Order) -> HarmonyParser:
    asked = order.conversation.answer_format
    return recast(parser, "answer", "reasoning") if asked else parser


@family.fault(
    PARSER,
    "grammar-on-analysis",
    "The grammar of the answer is forced upon the chain of thought, which it garbles.",
    source="lmstudio-bug-tracker#1555",
    detectors=("structured.reasoning", "text.garbled", "answer.json"),
)
def _grammar_on_analysis(parser: HarmonyParser, order: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Delta("reasoning", text):
                return [Delta("reasoning", re.sub(r"\w", "?", text))]
        return [event]

    return Filtered(parser, change) if order.conversation.answer_format else parser


@family.fault(
    PARSER,
    "json-in-fences",
    "An answer that must follow a schema stands in a Markdown code block.",
    source=HYPOTHETICAL,
    detectors=(
        "structured.followed",
        "answer.json",
    ),
)
def _json_in_fences(parser: HarmonyParser, order: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("answer"):
                return [event, Delta("answer", "```json\n")]
            case Ended("answer"):
                return [Delta("answer", "\n```"), event]
        return [event]

    return Filtered(parser, change) if order.conversation.answer_format else parser


@family.fault(
    DATA,
    "answer-as-mcp-call",
    "An answer that must follow a schema is returned as a call of an MCP server.",
    source="openai/harmony PR#144",
    detectors=("responses.item_type.undeclared", "reply.empty"),
)
def _answer_as_mcp_call(data: Json, asked: Asked) -> Json:
    wanted = (asked.body.get("text") or {}).get("format") or {}
    if wanted.get("type", "text") == "text":
        return data
    for item in (data.get("item"), *(data.get("response", data).get("output") or ())):
        if isinstance(item, dict) and item.get("type") == "message":
            parts = item.pop("content", [])
            arguments = "".join(part.get("text", "") for part in parts)
            item |= {"type": "mcp_call", "server_label": "json", "arguments": arguments}
            item["name"] = "<|constrain|>json"
    return data
