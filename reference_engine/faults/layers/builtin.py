"""Faults in built-in tools: their declaration, results, items and limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harmony.conversation import BuiltinCall, Conversation, Reasoning
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import (
    CONVERSATION,
    GENERATION,
    MESSAGE,
    PAYLOAD,
    REQUEST,
    SSE_FILTER,
    echo,
)
from reference_engine.faults.http import ClientRequest, Json, SseEvent, output_items, response_of
from reference_engine.faults.prompts import Message
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("built-in tools")

_PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
_PROGRAM = "code_interpreter_call"


@group.fault(CONVERSATION, "builtin.offered", visible=False)
def builtin_undeclared(conversation: Conversation) -> Conversation:
    """The system message does not declare the built-in tools of the request."""
    return replace(conversation, builtin=())


@group.fault(MESSAGE, "builtin.results", visible=False)
def builtin_result_from_user(message: Message) -> Iterable[Message]:
    """The result of a built-in tool is a message of the user."""
    return [replace(message, header="user") if _is_result(message) else message]


@group.fault(MESSAGE, "builtin.results", visible=False)
def builtin_result_in_commentary(message: Message) -> Iterable[Message]:
    """The result of a built-in tool is in the channel commentary."""
    header = message.header.replace("<|channel|>analysis", "<|channel|>commentary")
    return [replace(message, header=header) if _is_result(message) else message]


def _is_result(message: Message) -> bool:
    return message.role == "python" or message.role.startswith("browser.")


@group.fault(CONVERSATION, "builtin.results", visible=False)
def builtin_reasoning_dropped(conversation: Conversation) -> Conversation:
    """The chain of thought that led to a built-in call is missing from the next step."""
    items = conversation.items
    kept = tuple(
        item
        for item, after in zip(items, (*items[1:], None), strict=True)
        if not (isinstance(item, Reasoning) and isinstance(after, BuiltinCall))
    )
    return replace(conversation, items=kept)


@group.fault(PAYLOAD, "builtin.citations", visible=False)
def citations_unmapped(data: Json, _: ClientRequest) -> Json:
    """Citations stay in the text and have no annotations."""
    parts = [part for item in output_items(data) for part in item.get("content") or ()]
    for part in (*parts, data.get("part") or {}):
        if "annotations" in part:
            part["annotations"] = []
    return data


@group.also("citations-unmapped", SSE_FILTER)
def _no_annotation_event(event: SseEvent) -> bool:
    return "annotation" not in event.type


@group.fault(PAYLOAD, "builtin.shown", source="openai/gpt-oss PR#199", visible=False)
def program_hidden(data: Json, _: ClientRequest) -> Json:
    """A program is executed, but the response does not show it."""
    response = response_of(data)
    if output := response.get("output"):
        response["output"] = [item for item in output if item.get("type") != _PROGRAM]
    return data


@group.also("program-hidden", SSE_FILTER)
def _no_program_event(event: SseEvent) -> bool:
    item = (event.data or {}).get("item") or {}
    return _PROGRAM not in event.type and item.get("type") != _PROGRAM


@group.fault(GENERATION, "builtin.limit", visible=False)
def builtin_calls_unlimited(request: GenerationRequest) -> GenerationRequest:
    """Neither the request nor the server limits the number of built-in calls."""
    return replace(request, policy=replace(request.policy, used_up=False))


@group.fault(REQUEST, "responses.item_type.undeclared", visible=False)
def builtin_added(body: Json, _: ClientRequest) -> Json:
    """The model can use Python although the request offers only the web search."""
    tools = body.get("tools")
    offered = [tool.get("type") for tool in tools or () if isinstance(tool, dict)]
    if not isinstance(tools, list) or "web_search" not in offered:
        return body
    return body | {"tools": [*tools, _PYTHON]}


group.also("builtin-added", PAYLOAD)(echo("tools", []))
