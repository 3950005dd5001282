"""Read tools from a tools file."""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from harness.api.items import Tool
from harness.api.json_schema import exact_json, validator_of
from harness.errors import ConfigurationError
from harness.text import strict_json

DEFAULT_OUTPUT = '{"ok": true}'
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def parse_tools(text: str, name: str) -> tuple[Tool, ...]:
    """Read a JSON list of tools in this tool's form or OpenAI's. Raises ConfigurationError."""
    try:
        entries, (_, repeated) = strict_json(text), exact_json(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}.") from None
    if repeated is not None:
        raise ConfigurationError(f"{name} has an object with the key {repeated!r} twice.")
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{name} must be a JSON list with at least one tool.")
    tools = tuple(_tool(entry, f"Tool {i} of {name}") for i, entry in enumerate(entries, start=1))
    if len({tool.name for tool in tools}) < len(tools):
        raise ConfigurationError(f"{name} has two tools of the same name.")
    return tools


def _tool(entry: object, where: str) -> Tool:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where} must be a JSON object.")
    function = entry.get("function", entry)
    if not isinstance(function, dict):
        raise ConfigurationError(f"{where}: function must be a JSON object.")
    name = function.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise ConfigurationError(f"{where}: name must be up to 64 letters, digits, '_' and '-'.")
    description = function.get("description") or ""
    if not isinstance(description, str):
        raise ConfigurationError(f"{where}: description must be a string.")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    output = entry.get("output", function.get("output", DEFAULT_OUTPUT))
    if not isinstance(output, str):
        output = json.dumps(output, ensure_ascii=False)
    tool = Tool(name, description, _schema(parameters, where), output)
    try:
        orjson.dumps([description, parameters, tool.output])
    except TypeError as error:
        raise ConfigurationError(f"{where} cannot be sent as JSON: {error}.") from None
    return tool


def _schema(parameters: object, where: str) -> Mapping[str, Any]:
    if not isinstance(parameters, dict):
        raise ConfigurationError(f"{where}: parameters must be a JSON schema.")
    if (unusable := validator_of(parameters).unusable) is not None:
        reason = f"{where}: parameters is not a JSON schema that can be used: {unusable}."
        raise ConfigurationError(reason)
    return parameters
