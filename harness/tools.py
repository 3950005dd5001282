"""The tools on offer: reading a tools file, and holding arguments to a tool's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from harness.dialects.base import Tool
from harness.errors import ConfigurationError

DEFAULT_OUTPUT = '{"ok": true}'
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_MESSAGE = 200


def parse_tools(text: str, name: str) -> tuple[Tool, ...]:
    """Read a JSON list of tools, ours or in OpenAI's `{"type": "function", ...}` form.

    Args:
        text: The file's text.
        name: What to call the file in messages.

    Raises:
        ConfigurationError: If it is not such a list, or a tool is not usable.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}.") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{name} must be a JSON list with at least one tool.")
    tools = tuple(_tool(entry, f"Tool {i} of {name}") for i, entry in enumerate(entries, start=1))
    if len({tool.name for tool in tools}) < len(tools):
        raise ConfigurationError(f"{name} names a tool twice.")
    return tools


def schema_problem(arguments: object, tool: Tool) -> str | None:
    """Why `arguments` do not fit the tool's schema, in one sentence; None where they do."""
    errors = Draft202012Validator(tool.parameters).iter_errors(arguments)
    worst = min(errors, key=lambda error: (len(error.absolute_path), error.message), default=None)
    if worst is None:
        return None
    message = str(worst.message)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    return f"{worst.json_path}: {message}"


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
    return Tool(name, description, _schema(parameters, where), _output(entry, function))


def _schema(parameters: object, where: str) -> Mapping[str, Any]:
    if not isinstance(parameters, dict):
        raise ConfigurationError(f"{where}: parameters must be a JSON schema.")
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        reason = f"{where}: parameters is no JSON schema: {error.message}."
        raise ConfigurationError(reason) from None
    return parameters


def _output(entry: Mapping[str, Any], function: Mapping[str, Any]) -> str:
    output = entry.get("output", function.get("output", DEFAULT_OUTPUT))
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
