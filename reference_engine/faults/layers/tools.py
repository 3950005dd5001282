"""Faults between the tools of a request, the prompt, and the calls of a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import Family
from reference_engine.faults.parsers import Filtered
from reference_engine.faults.seams import DATA, ORDER, PARSER, REQUEST, Asked, Json
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Order
from reference_engine.server.steering import ToolPolicy

family = Family("tool mapping")

_AUTO = ToolPolicy()


def _renaming(parser: HarmonyParser, rename: Callable[[str], str]) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("call", name):
                return [Started("call", rename(name))]
        return [event]

    return Filtered(parser, change)


@family.fault(
    ORDER,
    "required-choice-ignored",
    "tool_choice required, or naming a function, is treated as auto.",
    source="vllm#44216",
    detectors=("calls.choice", "tools.choice"),
)
def _required_choice_ignored(order: Order) -> Order:
    return replace(order, policy=_AUTO) if order.policy.mode == "required" else order


@family.fault(
    REQUEST,
    "none-choice-ignored",
    "tool_choice none is treated as auto.",
    source="vllm PR#30867",
    detectors=("calls.choice", "tools.choice"),
)
def _none_choice_ignored(body: Json, _: Asked) -> Json:
    return body | {"tool_choice": "auto"} if body.get("tool_choice") == "none" else body


@family.also(DATA, "none-choice-ignored")
def _echo_choice(data: Json, asked: Asked) -> Json:
    response = data.get("response", data)
    if "tool_choice" in response:
        response["tool_choice"] = asked.body.get("tool_choice", "auto")
    return data


@family.fault(
    REQUEST,
    "forced-choice-crashes",
    "Any tool_choice but auto and none ends in an internal error.",
    source="vllm PR#37433",
    detectors=("request.failed",),
)
def _forced_choice_crashes(body: Json, _: Asked) -> Json:
    if body.get("tool_choice", "auto") not in ("auto", "none"):
        raise ApiError(500, "NotImplementedError: only 'auto' tool_choice is supported.")
    return body


@family.fault(
    PARSER,
    "hyphens-in-names-changed",
    "A function name with hyphens comes back with underscores.",
    source="ollama 048bd4472",
    detectors=("tools.names.kept", "calls.name.polluted"),
)
def _hyphens_in_names_changed(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _renaming(parser, lambda name: name.replace("-", "_"))


@family.fault(
    PARSER,
    "channel-in-tool-name",
    "The name of a called function has the channel marker glued to it.",
    source="ollama#11704",
    detectors=("calls.name.polluted", "harmony.markers"),
)
def _channel_in_tool_name(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _renaming(parser, lambda name: f"{name}<|channel|>commentary")


@family.fault(
    PARSER,
    "json-in-tool-name",
    "The name of a called function has the content type glued to it.",
    source="llama.cpp PR#15158",
    detectors=("calls.name.polluted", "calls.name.unknown"),
)
def _json_in_tool_name(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _renaming(parser, lambda name: f"{name}json")


@family.fault(
    PARSER,
    "functions-prefix-kept",
    "The name of a called function keeps its prefix 'functions.'.",
    source="cubist38/mlx-openai-server PR#50",
    detectors=("calls.name.polluted", "calls.name.unknown"),
)
def _functions_prefix_kept(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _renaming(parser, lambda name: f"functions.{name}")


@family.fault(
    PARSER,
    "functions-deleted-in-arguments",
    "The text 'functions.' is deleted inside the arguments of calls.",
    source="cubist38/mlx-openai-server PR#50",
    detectors=("tools.arguments",),
)
def _functions_deleted_in_arguments(parser: HarmonyParser, _: Order) -> HarmonyParser:
    held: list[str] = []

    def change(event: Event) -> Iterable[Event]:
        match event:
            case Delta("call", text):
                held.append(text)
            case Ended("call"):
                text = "".join(held).replace("functions.", "")
                held.clear()
                if text:
                    yield Delta("call", text)
                yield event
            case _:
                yield event

    return Filtered(parser, change)


@family.fault(
    REQUEST,
    "property-named-items-crashes",
    "A schema with a property that is named 'items' crashes the template.",
    source="lmstudio-bug-tracker#2180",
    detectors=("tools.schema", "request.failed"),
)
def _property_named_items_crashes(body: Json, _: Asked) -> Json:
    for tool in body.get("tools") or ():
        parameters = tool.get("function", tool).get("parameters") or {}
        if "items" in parameters.get("properties", {}):
            raise ApiError(500, "Error rendering prompt with jinja template: items.")
    return body


@family.fault(
    PARSER,
    "call-refused-by-server",
    "A call of the model is answered with status 400 as if the client had sent it.",
    source="OpenHands#10187",
    detectors=("request.refused", "stream.error_event"),
)
def _call_refused_by_server(parser: HarmonyParser, _: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        if isinstance(event, Ended) and event.kind == "call":
            message = "Failed to parse tool call arguments as JSON"
            raise ApiError(400, message, code="tool_use_failed")
        return [event]

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "builtin-called",
    "A request without tools is answered with a call of a built-in tool.",
    source="vllm#27385",
    detectors=("calls.name.built_in",),
)
def _builtin_called(parser: HarmonyParser, order: Order) -> HarmonyParser:
    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("answer"):
                return [Started("call", "browser.search"), Delta("call", '{"query": "news"}')]
            case Delta("answer"):
                return []
            case Ended("answer", complete):
                return [Ended("call", complete)]
        return [event]

    return parser if order.conversation.tools else Filtered(parser, change)


@family.also(ORDER, "builtin-called")
def _calls_allowed(order: Order) -> Order:
    return order if order.conversation.tools else replace(order, policy=_AUTO)
