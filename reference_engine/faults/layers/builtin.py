"""Faults in built-in tools: their declaration, results, items and limits."""

from collections.abc import Iterator
from dataclasses import replace

from harmony.conversation import BuiltinCall, ConversationItem, Reasoning
from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, output_items

_PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
_PROGRAM = "code_interpreter_call"


hooks.CONVERSATION.faults(builtin_undeclared=lambda conversation: replace(conversation, builtin=()))
hooks.SSE_FILTER.faults(
    citations_unmapped=lambda event: "annotation" not in event.type,
    program_hidden=lambda event: _PROGRAM not in f"{event.type} {event.item.get('type')}",
)
hooks.GENERATION.faults(
    builtin_calls_unlimited=lambda r: replace(r, policy=replace(r.policy, used_up=False))
)


@hooks.ITEMS
def builtin_reasoning_dropped(items: hooks.Items) -> Iterator[ConversationItem]:
    for item, after in zip(items, (*items[1:], None), strict=True):
        if not (isinstance(item, Reasoning) and isinstance(after, BuiltinCall)):
            yield item


@hooks.PAYLOAD
def citations_unmapped(data: Json, _: ClientRequest) -> None:
    parts = [part for item in output_items(data) for part in item.get("content") or ()]
    for part in (*parts, data.get("part") or {}):
        if "annotations" in part:
            part["annotations"] = []


@hooks.RESPONSE
def program_hidden(response: Json, _: ClientRequest) -> None:
    if output := response.get("output"):
        response["output"] = [item for item in output if item.get("type") != _PROGRAM]
