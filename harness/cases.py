"""Test cases and the tools they offer: loading, validation, and their hash for `run.json`.

A case file holds one JSON object a line: `tool_name`, `input`, `expected_arguments` (JSON in a
string, or an object), and optionally `instructions` and `id`. A tools file is a JSON list.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from jsonschema import Draft202012Validator, SchemaError

from harness.dialects.base import Tool
from harness.errors import ConfigurationError

DEFAULT_OUTPUT = '{"ok": true}'
_KNOWN_KEYS = frozenset({"id", "tool_name", "input", "expected_arguments", "instructions"})
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]+")
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """A prompt and the one call it asks for."""

    id: str
    tool_name: str
    prompt: str
    expected_arguments: Mapping[str, Any]
    instructions: str | None = None


@dataclass(frozen=True)
class BadLine:
    """A line of the case file that could not be used, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Suite:
    """The cases of a run, the tools that every one of them offers, and what was left out."""

    cases: tuple[Case, ...]
    tools: tuple[Tool, ...]
    bad_lines: tuple[BadLine, ...]
    sha256: str

    def tool(self, name: str) -> Tool:
        """The tool of that name."""
        return next(tool for tool in self.tools if tool.name == name)

    def first(self, count: int | None) -> Suite:
        """The same suite with its first `count` cases; all of them where `count` is None."""
        cases = self.cases if count is None else self.cases[:count]
        return Suite(cases, self.tools, self.bad_lines, self.sha256)


class _BadCaseError(ValueError):
    """Why one line is no case."""


def load_suite(cases: Path | None = None, tools: Path | None = None) -> Suite:
    """Read a case file and a tools file; those that ship with the package where None.

    Raises:
        ConfigurationError: If a file is missing or unreadable, the tools are not usable, or not
            a single line of the case file is a good case.
    """
    case_text, case_name = _text(cases, "cases.jsonl")
    tool_text, tool_name = _text(tools, "tools.json")
    offered = parse_tools(tool_text, tool_name)
    good, bad = parse_cases(case_text, offered)
    if not good:
        first = f" Line {bad[0].number}: {bad[0].reason}" if bad else " It is empty."
        raise ConfigurationError(f"{case_name} holds no usable case.{first}")
    digest = hashlib.sha256(f"{case_text}\0{tool_text}".encode()).hexdigest()
    return Suite(good, offered, bad, digest)


def parse_cases(
    text: str, tools: tuple[Tool, ...]
) -> tuple[tuple[Case, ...], tuple[BadLine, ...]]:
    """Read every line that is a case; number and explain those that are not."""
    good: dict[str, Case] = {}
    bad: list[BadLine] = []
    by_name = {tool.name: tool for tool in tools}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            case = _case(line, by_name)
            if case.id in good:
                raise _BadCaseError(f"the id {case.id!r} (or the same case) appears twice")
        except _BadCaseError as error:
            bad.append(BadLine(number, str(error)))
        else:
            good[case.id] = case
    return tuple(good.values()), tuple(bad)


def parse_tools(text: str, name: str) -> tuple[Tool, ...]:
    """Read a JSON list of tools, ours or in OpenAI's `{"type": "function", ...}` form.

    Raises:
        ConfigurationError: If it is not such a list, or a tool is not usable.
    """
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} is not JSON: {error}.") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{name} must be a JSON list with at least one tool.")
    tools = tuple(_tool(entry, f"tool {i} of {name}") for i, entry in enumerate(entries, start=1))
    if len({tool.name for tool in tools}) < len(tools):
        raise ConfigurationError(f"{name} names a tool twice.")
    return tools


def _case(line: str, tools: Mapping[str, Tool]) -> Case:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _BadCaseError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise _BadCaseError("not a JSON object")
    if unknown := sorted(row.keys() - _KNOWN_KEYS):
        raise _BadCaseError(f"unknown key {unknown[0]!r}")
    tool_name = _field(row, "tool_name")
    prompt = _field(row, "input")
    if tool_name not in tools:
        raise _BadCaseError(f"tool_name {tool_name!r} is not in the tools file")
    arguments = _arguments(row.get("expected_arguments"), tools[tool_name])
    instructions = _field(row, "instructions") if row.get("instructions") is not None else None
    identity = json.dumps([tool_name, prompt, instructions])
    case_id = row.get("id", f"{tool_name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}")
    if not isinstance(case_id, str) or not _SAFE_ID.fullmatch(case_id):
        raise _BadCaseError("id must consist of letters, digits, '.', '_' and '-'")
    return Case(case_id, tool_name, prompt, arguments, instructions)


def _arguments(value: Any, tool: Tool) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise _BadCaseError(f"expected_arguments is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _BadCaseError("expected_arguments must be a JSON object, or one in a string")
    problem = schema_problem(value, tool)
    if problem:
        raise _BadCaseError(f"expected_arguments do not fit {tool.name}: {problem}")
    return value


def schema_problem(arguments: Any, tool: Tool) -> str | None:
    """Why `arguments` do not fit the tool's schema, in one sentence; None where they do."""
    errors: Iterator[Any] = Draft202012Validator(tool.parameters).iter_errors(arguments)
    worst = min(errors, key=lambda error: (len(error.absolute_path), error.message), default=None)
    if worst is None:
        return None
    message = worst.message if len(worst.message) <= 200 else f"{worst.message[:200]}…"
    return f"{worst.json_path}: {message}"


def _tool(entry: Any, where: str) -> Tool:
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):
        entry = {**entry["function"], **{k: entry[k] for k in ("output",) if k in entry}}
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where} must be a JSON object.")

    def value(key: str, default: _T, good: Callable[[Any], bool], kind: str) -> _T:
        found = default if entry.get(key) is None else entry[key]
        if not good(found):
            raise ConfigurationError(f"{where}: {key} must be {kind}.")
        return found

    def is_name(found: Any) -> bool:
        return isinstance(found, str) and bool(_FUNCTION_NAME.fullmatch(found))

    name = value("name", "", is_name, "up to 64 letters, digits, '_' and '-'")
    description = value("description", "", lambda found: isinstance(found, str), "a string")
    empty: dict[str, Any] = {"type": "object", "properties": {}}
    parameters = value("parameters", empty, lambda found: isinstance(found, dict), "a JSON schema")
    try:
        Draft202012Validator.check_schema(parameters)
    except SchemaError as error:
        raise ConfigurationError(f"{where}: parameters is no JSON schema: {error.message}") from None
    output = entry.get("output", DEFAULT_OUTPUT)
    if not isinstance(output, str):
        output = json.dumps(output, ensure_ascii=False)
    return Tool(name, description, parameters, output)


def _field(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _BadCaseError(f"{key} must be a string that is not empty")
    return value


def _text(path: Path | None, default: str) -> tuple[str, str]:
    if path is None:
        return (resources.files("harness") / "data" / default).read_text("utf-8"), default
    try:
        return path.read_text("utf-8-sig"), str(path)
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
