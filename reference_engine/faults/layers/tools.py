"""Faults in tools: functions in the prompt, `tool_choice`, and the calls of a response."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from harmony.conversation import Conversation, FunctionTool
from harmony.parse import Delta, Ended, Event, HarmonyParser, Started
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import (
    CALL,
    CONVERSATION,
    GENERATION,
    PARSED,
    PARSER,
    PAYLOAD,
    REQUEST,
    SCHEMA,
    TOOL,
    Schema,
    echo,
)
from reference_engine.faults.http import ClientRequest, Json, chat_messages, response_of
from reference_engine.faults.parsers import FilteredParser
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.tool_choice import ToolPolicy

group = FaultGroup("tool mapping")

_SNAKE = re.compile(r"(?<=[a-z])_([a-z])(?=\w*\"\s*:)")

_AUTO = ToolPolicy()
_LISTS = re.compile(r"\[(\[[^\[\]]*\])(?:\s*,\s*\[[^\[\]]*\])+\s*\]")
_ASCII = str.maketrans({"–": "-", "—": "-", "’": "'", "“": "'", "”": "'", "…": "..."})


@group.fault(CONVERSATION, "prompt.tool", source="vertesia/llumiverse PR#207")
def tools_not_rendered(conversation: Conversation) -> Conversation:
    """The server accepts the functions of a request, but they do not reach the prompt."""
    return replace(conversation, tools=())


@group.fault(CONVERSATION, "prompt.tool.several")
def only_first_tool(conversation: Conversation) -> Conversation:
    """Only the first of several functions reaches the prompt."""
    return replace(conversation, tools=conversation.tools[:1])


@group.fault(TOOL, "prompt.tool.description")
def tool_description_dropped(tool: FunctionTool) -> FunctionTool:
    """The prompt shows functions without their descriptions."""
    return replace(tool, description="")


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


@group.fault(SCHEMA, "prompt.tool.schema")
def parameter_descriptions_dropped(schema: Schema) -> Schema:
    """The prompt shows parameters without their descriptions."""
    return _without(schema, "description")


@group.fault(SCHEMA, "prompt.tool.schema.order", "numerics", source="ollama PR#13525")
def property_order_sorted(schema: Schema) -> Schema:
    """The prompt shows the parameters of a function in alphabetical order."""
    if "properties" not in schema:
        return schema
    return schema | {"properties": dict(sorted(schema["properties"].items()))}


@group.fault(SCHEMA, "prompt.tool.schema", source="ollama 30f8a68c4")
def union_types_lost(schema: Schema) -> Schema:
    """The prompt shows only the first type of a parameter with several types."""
    kinds = schema.get("type")
    return schema | {"type": kinds[0]} if isinstance(kinds, list) and kinds else schema


@group.fault(SCHEMA, "prompt.tool.schema")
def enum_dropped(schema: Schema) -> Schema:
    """The prompt does not show the allowed values of parameters."""
    return _without(schema, "enum")


@group.fault(SCHEMA, "prompt.tool.schema")
def defaults_dropped(schema: Schema) -> Schema:
    """The prompt does not show the default values of parameters."""
    return _without(schema, "default")


@group.fault(SCHEMA, "prompt.tool.schema")
def required_dropped(schema: Schema) -> Schema:
    """The prompt shows all parameters as optional."""
    return _without(schema, "required")


@group.fault(TOOL, "prompt.tool.schema")
def nested_properties_dropped(tool: FunctionTool) -> FunctionTool:
    """The prompt shows objects inside the parameters without their fields."""
    parameters = dict(tool.parameters or {})
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping):
        return tool
    flat = {name: _without(dict(each), "properties") for name, each in properties.items()}
    return replace(tool, parameters=parameters | {"properties": flat})


@group.fault(GENERATION, "calls.choice", "tools.choice", source="vllm#44216")
def required_choice_ignored(request: GenerationRequest) -> GenerationRequest:
    """The server treats tool_choice required, or a named function, as auto."""
    return replace(request, policy=_AUTO) if request.policy.mode == "required" else request


@group.fault(REQUEST, "calls.choice", "tools.choice", source="vllm PR#30867")
def none_choice_ignored(body: Json, _: ClientRequest) -> Json:
    """The server treats tool_choice none as auto."""
    return body | {"tool_choice": "auto"} if body.get("tool_choice") == "none" else body


group.also("none-choice-ignored", PAYLOAD)(echo("tool_choice", "auto"))


@group.fault(REQUEST, "request.failed", source="vllm PR#37433")
def forced_choice_crashes(body: Json, _: ClientRequest) -> Json:
    """Any tool_choice except auto and none causes an internal error."""
    if body.get("tool_choice", "auto") not in ("auto", "none"):
        raise ApiError(500, "NotImplementedError: only 'auto' tool_choice is supported.")
    return body


def _renamed(event: Event, rename: Callable[[str], str]) -> list[Event]:
    match event:
        case Started("call", name):
            return [Started("call", rename(name))]
    return [event]


@group.fault(PARSED, "tools.names.kept", "calls.name.unknown", source="ollama 048bd4472")
def hyphens_in_names_changed(event: Event) -> list[Event]:
    """Function names come back with underscores instead of hyphens."""
    return _renamed(event, lambda name: name.replace("-", "_"))


@group.fault(PARSED, "calls.name.polluted", "harmony.markers", source="ollama#11704")
def channel_in_tool_name(event: Event) -> list[Event]:
    """The name of a called function ends with <|channel|> and the channel."""
    return _renamed(event, lambda name: f"{name}<|channel|>commentary")


@group.fault(PARSED, "calls.name.polluted", "calls.name.unknown", source="llama.cpp PR#15158")
def json_in_tool_name(event: Event) -> list[Event]:
    """The name of a called function ends with the content type json."""
    return _renamed(event, lambda name: f"{name}json")


@group.fault(
    PARSED, "calls.name.polluted", "calls.name.unknown", source="cubist38/mlx-openai-server PR#50"
)
def functions_prefix_kept(event: Event) -> list[Event]:
    """The name of a called function keeps its prefix 'functions.'."""
    return _renamed(event, lambda name: f"functions.{name}")


def _with_arguments(parser: HarmonyParser, change: Callable[[str], str]) -> HarmonyParser:
    """The parser with the arguments of each call changed as a whole."""
    held: list[str] = []

    def edit(event: Event) -> Iterable[Event]:
        match event:
            case Delta("call", text):
                held.append(text)
                return
            case Ended("call"):
                text = change("".join(held))
                held.clear()
                if text:
                    yield Delta("call", text)
        yield event

    return FilteredParser(parser, edit)


@group.fault(PARSER, "tools.arguments", source="cubist38/mlx-openai-server PR#50")
def functions_deleted_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The text 'functions.' is deleted from the arguments of calls."""
    return _with_arguments(parser, lambda text: text.replace("functions.", ""))


@group.fault(PARSER, "calls.arguments.changed")
def arguments_in_camel_case(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The names of arguments are returned in camel case."""
    return _with_arguments(parser, lambda text: _SNAKE.sub(lambda found: found[1].upper(), text))


@group.fault(PARSER, "calls.arguments.cut")
def end_of_arguments_lost(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """The last two characters of arguments are lost."""
    return _with_arguments(parser, lambda text: text[:-2])


@group.fault(PARSER, "tools.arguments")
def markup_deleted_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Text in angle brackets is deleted from the arguments of calls."""
    return _with_arguments(parser, lambda text: re.sub(r"<[^>]*>", "", text))


@group.fault(PARSER, "tools.arguments")
def arguments_escaped_as_html(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Ampersands and angle brackets in the arguments of calls come back as HTML entities."""
    return _with_arguments(parser, lambda text: html.escape(text, quote=False))


@group.fault(PARSER, "tools.arguments")
def typography_replaced_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Dashes and typographic quotes in the arguments of calls come back as ASCII."""
    return _with_arguments(parser, lambda text: text.translate(_ASCII))


@group.fault(PARSER, "tools.arguments")
def numbers_as_strings_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Numbers in the arguments of calls come back as strings."""
    return _with_arguments(parser, lambda text: re.sub(r": ?([\d.]+)(?=[,}])", r': "\1"', text))


@group.fault(PARSER, "tools.arguments")
def spaces_reduced_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Runs of spaces in the arguments of calls come back as one space."""
    return _with_arguments(parser, lambda text: re.sub(" +", " ", text))


@group.fault(PARSER, "calls.arguments.changed")
def lists_cut_in_arguments(parser: HarmonyParser, _: GenerationRequest) -> HarmonyParser:
    """Lists of lists in the arguments of calls come back with their first entry only."""
    return _with_arguments(parser, lambda text: _LISTS.sub(r"[\1]", text))


@group.fault(REQUEST, "tools.schema", "request.failed", source="lmstudio-bug-tracker#2180")
def property_named_items_crashes(body: Json, _: ClientRequest) -> Json:
    """A schema with a property named 'items' crashes the template."""
    for tool in body.get("tools") or ():
        parameters = tool.get("function", tool).get("parameters") or {}
        if "items" in parameters.get("properties", {}):
            raise ApiError(500, "Error rendering prompt with jinja template: items.")
    return body


@group.fault(PARSED, "request.refused", "stream.error_event", source="OpenHands#10187")
def call_refused_by_server(event: Event) -> list[Event]:
    """A call of the model fails with status 400, as if the client had sent it."""
    if isinstance(event, Ended) and event.kind == "call":
        message = "Failed to parse tool call arguments as JSON"
        raise ApiError(400, message, code="tool_use_failed")
    return [event]


@group.fault(PARSER, "calls.name.built_in", source="vllm#27385")
def builtin_called(parser: HarmonyParser, request: GenerationRequest) -> HarmonyParser:
    """The response to a request without tools is a call of a built-in tool."""

    def change(event: Event) -> Iterable[Event]:
        match event:
            case Started("answer"):
                return [Started("call", "browser.search"), Delta("call", '{"query": "news"}')]
            case Delta("answer"):
                return []
            case Ended("answer", complete):
                return [Ended("call", complete)]
        return [event]

    return parser if request.conversation.tools else FilteredParser(parser, change)


@group.also("builtin-called", GENERATION)
def _allow_calls(request: GenerationRequest) -> GenerationRequest:
    return request if request.conversation.tools else replace(request, policy=_AUTO)


def _id_key(call: Json) -> str:
    return "call_id" if "call_id" in call else "id"


@group.fault(CALL, "calls.id.repeated")
def call_ids_repeated(call: Json, _: ClientRequest) -> None:
    """All calls have the same id."""
    if call.get(_id_key(call)):
        call[_id_key(call)] = "call_0"


@group.fault(CALL, "calls.id.missing", "chat.stream.tool_calls", "responses.stream.call")
def call_ids_missing(call: Json, _: ClientRequest) -> None:
    """Calls have no id."""
    call.pop(_id_key(call), None)


@group.fault(CALL, "chat.schema", "responses.schema")
def arguments_as_object(call: Json, request: ClientRequest) -> None:
    """The arguments of a call are a JSON object instead of a string."""
    function = call.get("function", call)
    if not request.streaming:
        function["arguments"] = json.loads(function["arguments"])


@group.fault(CALL, "calls.arguments.escaped")
def arguments_escaped_twice(call: Json, request: ClientRequest) -> None:
    """The arguments of a call are a JSON string that contains the JSON."""
    function = call.get("function", call)
    if not request.streaming:
        function["arguments"] = json.dumps(function["arguments"])


@group.fault(PAYLOAD, "chat.finish.no_calls", "reply.empty", source="NVIDIA/TensorRT-LLM#16377")
def calls_dropped_reason_kept(data: Json, _: ClientRequest) -> Json:
    """finish_reason is tool_calls, but the message contains no calls."""
    for message in chat_messages(data):
        message.pop("tool_calls", None)
    response = response_of(data)
    if "output" in response:
        items = response["output"]
        response["output"] = [item for item in items if item["type"] != "function_call"]
    return data
