"""Faults of functions and their schemas in the prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harmony.conversation import FunctionTool
from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.orders import conversing
from reference_engine.faults.seams import ORDER
from reference_engine.server.generation import Order

family = Family("tool mapping")

Schema = dict[str, Any]


def _each_tool(order: Order, change: Callable[[FunctionTool], FunctionTool]) -> Order:
    return conversing(order, tools=tuple(map(change, order.conversation.tools)))


def _each_schema(order: Order, change: Callable[[Schema], Schema]) -> Order:
    """The order with every schema, those nested in others first, replaced."""

    def changed(tool: FunctionTool) -> FunctionTool:
        if tool.parameters is None:
            return tool
        return replace(tool, parameters=_deep(dict(tool.parameters), change))

    return _each_tool(order, changed)


def _deep(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    inner = dict(schema)
    if isinstance(properties := inner.get("properties"), Mapping):
        inner["properties"] = {
            name: _deep(dict(each), change) if isinstance(each, Mapping) else each
            for name, each in properties.items()
        }
    if isinstance(items := inner.get("items"), Mapping):
        inner["items"] = _deep(dict(items), change)
    return change(inner)


def _except(*keys: str) -> Callable[[Schema], Schema]:
    return lambda schema: {key: value for key, value in schema.items() if key not in keys}


@family.fault(
    ORDER,
    "tools-not-rendered",
    "The functions of a request are accepted but do not reach the prompt.",
    source="vertesia/llumiverse PR#207",
    detectors=("prompt.tool",),
)
def _tools_not_rendered(order: Order) -> Order:
    return conversing(order, tools=())


@family.fault(
    ORDER,
    "only-first-tool",
    "Of several functions only the first one reaches the prompt.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.several",),
)
def _only_first_tool(order: Order) -> Order:
    return conversing(order, tools=order.conversation.tools[:1])


@family.fault(
    ORDER,
    "tool-description-dropped",
    "The prompt shows the functions without their descriptions.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.description",),
)
def _tool_description_dropped(order: Order) -> Order:
    return _each_tool(order, lambda tool: replace(tool, description=""))


@family.fault(
    ORDER,
    "parameter-descriptions-dropped",
    "The prompt shows the parameters without their descriptions.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.schema",),
)
def _parameter_descriptions_dropped(order: Order) -> Order:
    return _each_schema(order, _except("description"))


@family.fault(
    ORDER,
    "property-order-sorted",
    "The parameters of a function are shown in alphabetical order.",
    source="ollama PR#13525",
    detectors=("prompt.tool.schema.order", "numerics.logprobs"),
)
def _property_order_sorted(order: Order) -> Order:
    def ordered(schema: Schema) -> Schema:
        if "properties" not in schema:
            return schema
        return schema | {"properties": dict(sorted(schema["properties"].items()))}

    return _each_schema(order, ordered)


@family.fault(
    ORDER,
    "union-types-lost",
    "A parameter of several types is shown with the first of them.",
    source="ollama 30f8a68c4",
    detectors=("prompt.tool.schema",),
)
def _union_types_lost(order: Order) -> Order:
    def first(schema: Schema) -> Schema:
        kinds = schema.get("type")
        return schema | {"type": kinds[0]} if isinstance(kinds, list) and kinds else schema

    return _each_schema(order, first)


@family.fault(
    ORDER,
    "enum-dropped",
    "The values that a parameter may take are not shown.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.schema",),
)
def _enum_dropped(order: Order) -> Order:
    return _each_schema(order, _except("enum"))


@family.fault(
    ORDER,
    "defaults-dropped",
    "The default values of parameters are not shown.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.schema",),
)
def _defaults_dropped(order: Order) -> Order:
    return _each_schema(order, _except("default"))


@family.fault(
    ORDER,
    "required-dropped",
    "All parameters are shown as optional.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.schema",),
)
def _required_dropped(order: Order) -> Order:
    return _each_schema(order, _except("required"))


@family.fault(
    ORDER,
    "nested-properties-dropped",
    "Objects inside the parameters are shown without their fields.",
    source=HYPOTHETICAL,
    detectors=("prompt.tool.schema",),
)
def _nested_properties_dropped(order: Order) -> Order:
    def shallow(tool: FunctionTool) -> FunctionTool:
        parameters = dict(tool.parameters or {})
        properties = parameters.get("properties")
        if isinstance(properties, Mapping):
            flat = {name: _except("properties")(dict(each)) for name, each in properties.items()}
            return replace(tool, parameters=parameters | {"properties": flat})
        return tool

    return _each_tool(order, shallow)
