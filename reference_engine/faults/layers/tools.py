"""Faults in tools: functions in the prompt, `tool_choice`, calls, and built-in tools."""

import html
import json
import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from harmony.conversation import BuiltinCall, ConversationItem, Reasoning
from harmony.parse import Delta, Ended, Event, Started
from reference_engine.faults import hooks
from reference_engine.faults.fault import Hook
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    chat_messages,
    output_items,
    response_of,
)
from reference_engine.server.api_error import ApiError, invalid
from reference_engine.server.tool_choice import ToolPolicy

_AUTO = ToolPolicy()
_ASCII = str.maketrans({"–": "-", "—": "-", "’": "'", "“": "'", "”": "'", "…": "..."})
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LISTS = re.compile(r"\[(\[[^\[\]]*\])(?:\s*,\s*\[[^\[\]]*\])+\s*\]")
_DAY = re.compile(r'"(\d{4}-\d\d-\d\d)"')
_EMPTY = re.compile(r'"\w+": ?(?:false|0|""|null|\[\]|\{\})(, |(?=\}))')
_PLACE = re.compile(r'("(?:location|city|place)": ?)"[^"]+"')
_BOOLEAN = re.compile(r"(?<=: )(?:true|false)(?=[,}])")
_ONE_ENTRY = re.compile(r'\[\s*("[^"\[\]]*"|[-\d.]+)\s*\]')


def _called_name(change: hooks.TextChange) -> Callable[[Event], Iterable[Event]]:
    def edit(event: Event) -> list[Event]:
        match event:
            case Started("call", name):
                return [Started("call", change(name))]
        return [event]

    return edit


def _in_32_bits(number: re.Match[str]) -> str:
    (rounded,) = struct.unpack("f", struct.pack("f", float(number[0])))
    return repr(rounded)


CALLED_NAME = Hook[hooks.TextChange](
    "parser", lambda change: hooks.PARSED.adapt(_called_name(change))
)
"""The name of each function that the model calls."""


def _choose_freely(body: Json, _: ClientRequest) -> None:
    body["tool_choice"] = "auto"


hooks.CONVERSATION.faults(
    {
        "tools-not-rendered": lambda conversation: replace(conversation, tools=()),
        "only-first-tool": lambda conversation: replace(conversation, tools=conversation.tools[:1]),
        "eight-tools": lambda conversation: replace(conversation, tools=conversation.tools[:8]),
    },
)
hooks.TOOL.faults(
    {
        "tool-description-dropped": lambda tool: replace(tool, description=""),
        "long-description-cut": lambda tool: replace(tool, description=tool.description[:1_000]),
    },
)
hooks.GENERATION.faults(
    {
        "required-choice-ignored": lambda request: (
            replace(request, policy=_AUTO) if request.policy.mode == "required" else request
        ),
        "builtin-called": lambda request: (
            request if request.conversation.tools else replace(request, policy=_AUTO)
        ),
    },
)
NONE_CHOICE = hooks.REQUEST.when(lambda body, _: body.get("tool_choice") == "none")
"""Each request that forbids calls."""
NONE_CHOICE.faults({"none-choice-ignored": _choose_freely})
NONE_CHOICE.when(hooks.of_streams).faults({"none-choice-ignored-in-streams": _choose_freely})
hooks.REQUEST.when(lambda _, request: request.streaming and request.forced_choice).faults(
    {"required-choice-ignored-in-streams": _choose_freely}
)
hooks.RESPONSE.faults(
    {
        "none-choice-ignored": hooks.echo("tool_choice", "auto"),
        "none-choice-ignored-in-streams": hooks.echo("tool_choice", "auto"),
    },
)
CALLED_NAME.faults(
    {
        "hyphens-in-names-changed": lambda name: name.replace("-", "_"),
        "channel-in-tool-name": lambda name: f"{name}<|channel|>commentary",
        "json-in-tool-name": lambda name: f"{name}json",
        "functions-prefix-kept": lambda name: f"functions.{name}",
        "names-cut-at-40": lambda name: name[:40],
        "names-emptied": lambda name: "",
    },
)
hooks.whole_text("call").faults(
    {
        "functions-deleted-in-arguments": lambda text: text.replace("functions.", ""),
        "backslashes-lost-in-arguments": lambda text: text.replace("\\\\", ""),
        "backslashes-doubled-in-arguments": lambda text: text.replace("\\\\", "\\\\\\\\"),
        "ends-of-arguments-trimmed": lambda text: re.sub(r' +"(?=[,}])', '"', text),
        "end-of-arguments-lost": lambda text: text[:-2],
        "markup-deleted-in-arguments": lambda text: re.sub(r"<[^>]*>", "", text),
        "arguments-escaped-as-html": lambda text: html.escape(text, quote=False),
        "typography-replaced-in-arguments": lambda text: text.translate(_ASCII),
        "numbers-as-strings-in-arguments": lambda text: re.sub(
            r": ?([\d.]+)(?=[,}])", r': "\1"', text
        ),
        "fractions-in-32-bits-in-arguments": lambda text: re.sub(
            r"(?<=: )\d+\.\d+", _in_32_bits, text
        ),
        "large-integers-rounded-in-arguments": lambda text: re.sub(
            r"(?<=: )\d{16,}", lambda number: str(int(float(number[0]))), text
        ),
        "days-as-times-in-arguments": lambda text: _DAY.sub(r'"\1T00:00:00Z"', text),
        "compatibility-replaced-in-arguments": lambda text: unicodedata.normalize("NFKC", text),
        "empty-arguments-dropped": lambda text: _EMPTY.sub("", text).replace(", }", "}"),
        "spaces-reduced-in-arguments": lambda text: re.sub(" +", " ", text),
        "places-masked-in-arguments": lambda text: _PLACE.sub(r'\1"<LOCATION>"', text),
        "booleans-as-numbers-in-arguments": lambda text: _BOOLEAN.sub(
            lambda value: str(int(value[0] == "true")), text
        ),
        "one-entry-lists-unwrapped": lambda text: _ONE_ENTRY.sub(r"\1", text),
        "digits-as-numbers-in-arguments": lambda text: re.sub(r': ?"0*(\d+)"', r": \1", text),
        "arguments-closed-twice": lambda text: f"{text}}}",
        "braces-before-arguments": lambda text: "{}" + text,
        "line-breaks-raw-in-arguments": lambda text: text.replace("\\n", "\n").replace("\\t", "\t"),
        "quotes-raw-in-arguments": lambda text: text.replace('\\"', '"'),
        "other-escapes-in-arguments": lambda text: text.encode(
            "ascii", "backslashreplace"
        ).decode(),
        "lists-cut-in-arguments": lambda text: _LISTS.sub(r"[\1]", text),
    },
)


@hooks.SCHEMA("number-defaults-dropped")
def number_defaults_dropped(schema: hooks.Schema) -> hooks.Schema:
    shown = isinstance(schema.get("default"), str)
    return {key: value for key, value in schema.items() if shown or key != "default"}


@hooks.SCHEMA("property-order-sorted")
def property_order_sorted(schema: hooks.Schema) -> hooks.Schema:
    if "properties" not in schema:
        return schema
    return schema | {"properties": dict(sorted(schema["properties"].items()))}


@hooks.SCHEMA("union-types-lost")
def union_types_lost(schema: hooks.Schema) -> hooks.Schema:
    kinds = schema.get("type")
    return schema | {"type": kinds[0]} if isinstance(kinds, list) and kinds else schema


@hooks.SCHEMA("parameters-in-snake-case")
def parameters_in_snake_case(schema: hooks.Schema) -> hooks.Schema:
    if isinstance(names := schema.get("properties"), dict):
        renamed = {
            _WORD_START.sub("_", name).lower(): parameter for name, parameter in names.items()
        }
        schema = schema | {"properties": renamed}
    return schema


@hooks.REQUEST("forced-choice-crashes")
def forced_choice_crashes(body: Json, _: ClientRequest) -> None:
    if body.get("tool_choice", "auto") not in ("auto", "none"):
        raise ApiError(500, "NotImplementedError: only 'auto' tool_choice is supported.")


@hooks.REQUEST("property-named-items-crashes")
def property_named_items_crashes(body: Json, _: ClientRequest) -> None:
    for tool in body.get("tools") or ():
        parameters = tool.get("function", tool).get("parameters") or {}
        if "items" in parameters.get("properties", {}):
            raise ApiError(500, "Error rendering prompt with jinja template: items.")


@hooks.REQUEST("integer-enum-default-crashes")
def integer_enum_default_crashes(body: Json, _: ClientRequest) -> None:
    for tool in body.get("tools") or ():
        parameters = tool.get("function", tool).get("parameters") or {}
        for schema in parameters.get("properties", {}).values():
            if schema.get("enum") and isinstance(schema.get("default"), int):
                text = 'The chat template raised an exception: can only concatenate str (not "int")'
                raise ApiError(500, text)


@hooks.REQUEST("undescribed-function-crashes")
def undescribed_function_crashes(body: Json, _: ClientRequest) -> None:
    for at, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function" and not tool.get("function", tool).get("description"):
            text = "jinja2.exceptions.UndefinedError: 'dict object' has no attribute 'description'"
            raise invalid(f"tools[{at}]", text)


@hooks.PARSED.when(lambda _, request: not request.conversation.tools)("builtin-called")
def builtin_called(event: Event) -> list[Event]:
    match event:
        case Started("answer"):
            return [Started("call", "browser.search"), Delta("call", '{"query": "news"}')]
        case Delta("answer"):
            return []
        case Ended("answer", complete):
            return [Ended("call", complete)]
    return [event]


def _id_key(call: Json) -> str:
    return "call_id" if "call_id" in call else "id"


def _set_arguments(call: Json, request: ClientRequest, change: Callable[[str], object]) -> None:
    """Change the complete arguments of a call; streams send them in pieces."""
    function = call.get("function", call)
    if not request.streaming:
        function["arguments"] = change(function["arguments"])


def parsed(arguments: str) -> object:
    """Return the value of JSON, or the text itself."""
    with suppress(ValueError):
        return json.loads(arguments)
    return arguments


hooks.CALL.faults(
    {
        "namespaces-lost": lambda call, _: call.pop("namespace", None),
        "call-ids-missing": lambda call, _: call.pop(_id_key(call), None),
        "arguments-escaped-twice": lambda call, request: _set_arguments(call, request, json.dumps),
        "arguments-as-objects": lambda call, request: _set_arguments(call, request, parsed),
    },
)


@hooks.CALL("call-ids-repeated")
def call_ids_repeated(call: Json, _: ClientRequest) -> None:
    if call.get(_id_key(call)):
        call[_id_key(call)] = "call_0"


@hooks.PAYLOAD("calls-dropped-reason-kept")
def calls_dropped_reason_kept(data: Json, _: ClientRequest) -> None:
    for message in chat_messages(data):
        message.pop("tool_calls", None)
    response = response_of(data)
    if "output" in response:
        items = response["output"]
        response["output"] = [item for item in items if item["type"] != "function_call"]


_PYTHON = {"type": "code_interpreter", "container": {"type": "auto"}}
_PROGRAM = "code_interpreter_call"


hooks.CONVERSATION.faults(
    {"builtin-undeclared": lambda conversation: replace(conversation, builtin=())}
)
hooks.SSE_FILTER.faults(
    {
        "citations-unmapped": lambda event: "annotation" not in event.type,
        "program-hidden": lambda event: _PROGRAM not in f"{event.type} {event.item.get('type')}",
    },
)
hooks.GENERATION.faults(
    {"builtin-calls-unlimited": lambda r: replace(r, policy=replace(r.policy, used_up=False))}
)


@hooks.ITEMS("builtin-reasoning-dropped")
def builtin_reasoning_dropped(items: hooks.Items) -> Iterator[ConversationItem]:
    for item, after in zip(items, (*items[1:], None), strict=True):
        if not (isinstance(item, Reasoning) and isinstance(after, BuiltinCall)):
            yield item


@hooks.PAYLOAD("citations-unmapped")
def citations_unmapped(data: Json, _: ClientRequest) -> None:
    parts = [part for item in output_items(data) for part in item.get("content") or ()]
    for part in (*parts, data.get("part") or {}):
        if "annotations" in part:
            part["annotations"] = []


@hooks.RESPONSE("program-hidden")
def program_hidden(response: Json, _: ClientRequest) -> None:
    if output := response.get("output"):
        response["output"] = [item for item in output if item.get("type") != _PROGRAM]
