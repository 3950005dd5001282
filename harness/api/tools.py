"""Read tools from a tools file, and validate arguments against the schema of a tool."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from harness.api.fields import DEEPEST, too_deep
from harness.api.items import Tool
from harness.errors import ConfigurationError
from harness.text import strict_json

DEFAULT_OUTPUT = '{"ok": true}'
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_MESSAGE = 200


def parse_tools(text: str, name: str) -> tuple[Tool, ...]:
    """Read a JSON list of tools in this tool's form or OpenAI's. Raises ConfigurationError."""
    try:
        entries = strict_json(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}.") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{name} must be a JSON list with at least one tool.")
    tools = tuple(_tool(entry, f"Tool {i} of {name}") for i, entry in enumerate(entries, start=1))
    if len({tool.name for tool in tools}) < len(tools):
        raise ConfigurationError(f"{name} has two tools of the same name.")
    return tools


def schema_problem(arguments: object, tool: Tool) -> str | None:
    """Why `arguments` do not match the schema of the tool, in one sentence; None if they do."""
    errors = tool.validator.iter_errors(arguments)
    try:
        worst = min(errors, key=lambda err: (len(err.absolute_path), err.message), default=None)
    except (RecursionError, OverflowError):
        return "$: too deep to validate, or a number is too large"
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
    if too_deep(parameters):
        raise ConfigurationError(f"{where}: parameters is nested deeper than {DEEPEST} levels.")
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        reason = f"{where}: parameters is not a JSON schema: {error.message}."
        raise ConfigurationError(reason) from None
    root = DRAFT202012.create_resource(parameters)
    for reference in _references(parameters):
        try:
            Registry().resolver_with_root(root).lookup(reference)
        except (Unresolvable, ValueError):
            reason = f"{where}: parameters has a $ref to a missing definition: {reference!r}."
            raise ConfigurationError(reason) from None
    return parameters


def _references(schema: object) -> Iterator[str]:
    """Every `$ref` and `$dynamicRef` in a schema."""
    if isinstance(schema, dict):
        references = (schema.get("$ref"), schema.get("$dynamicRef"))
        yield from (reference for reference in references if isinstance(reference, str))
        schema = list(schema.values())
    for inner in schema if isinstance(schema, list) else ():
        yield from _references(inner)
