"""Faults in structured outputs: answers that must follow a schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from harmony.conversation import Conversation
from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import FaultGroup, Hook
from reference_engine.faults.hooks import CONVERSATION, OUTPUT_ITEM, ParserChange
from reference_engine.faults.http import ClientRequest, Json
from reference_engine.faults.layers.parsing import recast
from reference_engine.faults.parsers import FilteredParser
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("structured output")


def _structured(change: Callable[[Event], list[Event]]) -> ParserChange:
    def parse(parser: HarmonyParser, request: GenerationRequest) -> HarmonyParser:
        structured = request.conversation.answer_format
        return FilteredParser(parser, change) if structured else parser

    return parse


STRUCTURED = Hook("parser", _structured)
"""Each event of the parser, in responses that must follow a schema."""


@group.fault(CONVERSATION, "answer.json", "structured.asked", source="llama.cpp#15276")
def format_ignored(conversation: Conversation) -> Conversation:
    """The requested schema does not reach the model."""
    return replace(conversation, answer_format=None)


@group.fault(STRUCTURED, "reply.empty", "answer.json", source="vllm#44012")
def json_in_reasoning(event: Event) -> list[Event]:
    """An answer that must follow a schema is returned as chain of thought."""
    return recast(event, "answer", "reasoning")


@group.fault(
    STRUCTURED,
    "structured.reasoning",
    "text.garbled",
    "answer.json",
    source="lmstudio-bug-tracker#1555",
)
def grammar_on_analysis(event: Event) -> list[Event]:
    """The grammar of the answer also constrains the chain of thought and garbles it."""
    match event:
        case Delta("reasoning", text):
            return [Delta("reasoning", re.sub(r"\w", "?", text))]
    return [event]


@group.fault(STRUCTURED, "structured.followed", "answer.json")
def json_in_fences(event: Event) -> list[Event]:
    """An answer that must follow a schema is wrapped in a Markdown code block."""
    match event:
        case Started("answer"):
            return [event, Delta("answer", "```json\n")]
        case Ended("answer"):
            return [Delta("answer", "\n```"), event]
    return [event]


@group.fault(
    OUTPUT_ITEM,
    "responses.answer.item",
    "responses.stream",
    "structured.place",
    source="openai/harmony PR#144",
)
def answer_as_mcp_call(item: Json, request: ClientRequest) -> None:
    """An answer that must follow a schema is returned as a call of an MCP server."""
    wanted = (request.body.get("text") or {}).get("format") or {}
    if wanted.get("type", "text") != "text" and item.get("type") == "message":
        parts = item.pop("content", [])
        arguments = "".join(part.get("text", "") for part in parts)
        item |= {"type": "mcp_call", "server_label": "json", "arguments": arguments}
        item["name"] = "<|constrain|>json"
