"""The tools that these probes offer: those of the shipped cases, and two small ones."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from harness.api.items import Message, Tool
from harness.api.tools import parse_tools
from harness.records.conditions import Api
from harness.records.replies import Wanted
from harness.rules.probe import ProbeRequest

_FILE = "tools.json"
TOOLS = parse_tools((resources.files("harness") / "data" / _FILE).read_text("utf-8"), _FILE)
ORDER_PLACE = "Lisbon"


def schema(properties: Mapping[str, object]) -> dict[str, Any]:
    """Return the JSON schema of an object with these properties, all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def closed(properties: Mapping[str, object]) -> dict[str, Any]:
    """Return the same schema, which allows no other properties."""
    return {**schema(properties), "additionalProperties": False}


def offered(name: str, prompt: str, tools: tuple[Tool, ...] = TOOLS) -> ProbeRequest:
    """A request with one prompt of the user and tools on offer."""
    return ProbeRequest(name, (Message("user", prompt),), tools)


ORDER = Tool(
    "lookup_order",
    "Find an order.",
    schema({"order_id": {"type": "string", "description": "Number of the order"}}),
    f'{{"order_id": "A-17", "city": "{ORDER_PLACE}"}}',
)
NOTE = Tool(
    "add_note",
    "Save a note.",
    schema({"note": {"type": "string", "description": "Text of the note"}}),
    '{"saved": true}',
)
BY_NAME = {tool.name: tool for tool in (*TOOLS, ORDER, NOTE)}
WEATHER = BY_NAME["get_weather"]
LANGUAGE = BY_NAME["identify_language"]
STATUS = BY_NAME["service_status"]
MARKDOWN = BY_NAME["markdown_to_html"]
IN_LISBON = Wanted(name=WEATHER.name, arguments={"location": "Lisbon"})
"""The call that the question about the weather in Lisbon determines."""


def answer_format(api: Api, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body members that request an answer with this JSON schema."""
    named = {"name": "reply", "strict": True, "schema": schema}
    if api == "chat":
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"text": {"format": {"type": "json_schema", **named}}}
