"""Parsed request bodies: one view of the options of Chat Completions and Responses. No I/O."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from harness.api import DIALECTS
from harness.api.fields import nested, objects
from harness.api.items import Tool
from harness.records.conditions import Api

MESSAGE = "response.create"
"""The type of a request over WebSocket, whose response is a stream."""
ToolChoice = Literal["auto", "none", "required", "named", "other"]
_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
_LONGEST_VALUE = 40  # characters of a value that is shown
_ABSENT = object()


@dataclass(frozen=True)
class ParsedRequest:
    """One request body; `body` is empty if the request body was not a JSON object."""

    api: Api
    body: Mapping[str, Any]

    @cached_property
    def functions(self) -> Mapping[str, Tool]:
        """The offered functions by name, including those of namespaces; their `output` is empty."""
        return {tool.name: tool for tool in self._functions()}

    @property
    def strict(self) -> frozenset[str]:
        """Names of the functions declared with `strict: true`."""
        strict = (entry.get("name") for entry in self._entries() if entry.get("strict") is True)
        return frozenset(name for name in strict if isinstance(name, str))

    @cached_property
    def built_in(self) -> frozenset[str]:
        """Types of the offered tools that are not functions."""
        kinds = (tool.get("type") for tool in objects(self.body.get("tools")))
        return frozenset(kind for kind in kinds if isinstance(kind, str) and kind != "function")

    @cached_property
    def custom_tools(self) -> frozenset[str]:
        """Names of the offered tools of type custom, whose input is a text of any form."""
        custom = [tool for tool in objects(self.body.get("tools")) if tool.get("type") == "custom"]
        names = (nested(tool, "custom", "name") or tool.get("name") for tool in custom)
        return frozenset(name for name in names if isinstance(name, str))

    @property
    def tool_choice(self) -> ToolChoice:
        """Whether a tool may, must or must not be called; other is a tool that is no function."""
        choice = self.body.get("tool_choice")
        if nested(choice, "type") == "allowed_tools":
            choice = nested(choice, "allowed_tools", "mode") or nested(choice, "mode")
        if choice in ("none", "required"):
            return "none" if choice == "none" else "required"
        if self.chosen_tool:
            return "named"
        return "other" if isinstance(choice, dict) else "auto"

    @property
    def forces_call(self) -> bool:
        """Whether a tool must be called."""
        return self.tool_choice not in ("auto", "none")

    @property
    def chosen_tool(self) -> str | None:
        """The function that `tool_choice` names, if any."""
        choice = self.body.get("tool_choice")
        if not isinstance(choice, dict) or choice.get("type") != "function":
            return None
        function = choice.get("function")
        name = (function if isinstance(function, dict) else choice).get("name")
        return name if isinstance(name, str) else None

    @property
    def answers_user(self) -> bool:
        """Whether the model answers a message of the user, rather than a tool result."""
        last = (DIALECTS[self.api].turns(self.body) or [None])[-1]
        return isinstance(last, dict) and last.get("role") == "user"

    @property
    def limit(self) -> int | None:
        """The maximum number of output tokens; LM Studio and llama.cpp take -1 for no limit."""
        limits = [self.body.get(name) for name in _LIMITS]
        return next((n for n in limits if type(n) is int and n >= 0), None)

    @property
    def effort(self) -> object:
        """The reasoning effort, in the form of either API."""
        return self.body.get("reasoning_effort", nested(self.body, "reasoning", "effort"))

    @property
    def stream(self) -> bool:
        """Whether the request asks for a stream."""
        return bool(self.body.get("stream")) or self.over_socket

    @property
    def over_socket(self) -> bool:
        """Whether the request is a message over WebSocket."""
        return self.body.get("type") == MESSAGE

    @property
    def choices(self) -> int:
        """The number of requested choices (`n`)."""
        count = self.body.get("n")
        return count if isinstance(count, int) and count > 0 else 1

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        stop = self.body.get("stop")
        entries = stop if isinstance(stop, list) else [stop]
        return tuple(entry for entry in entries if isinstance(entry, str) and entry)

    @property
    def wants_json(self) -> bool:
        """Whether the request sets a JSON response format, with or without a schema."""
        return self.answer_format.get("type") in ("json_object", "json_schema")

    @property
    def answer_schema(self) -> Mapping[str, Any] | None:
        """The JSON schema of the requested response format."""
        if self.answer_format.get("type") != "json_schema":
            return None
        schema = self._answer_schema.get("schema")
        return schema if isinstance(schema, dict) else None

    @property
    def strict_answer(self) -> bool:
        """Whether the answer must follow its schema in strict mode."""
        return self._answer_schema.get("strict") is True

    @property
    def answer_format(self) -> Mapping[str, Any]:
        """The requested format of the answer; empty without one."""
        path = ("response_format",) if self.api == "chat" else ("text", "format")
        given = nested(self.body, *path)
        return given if isinstance(given, dict) else {}

    @property
    def _answer_schema(self) -> Mapping[str, Any]:
        """The member of the response format that has the schema, in the form of either API."""
        inner = self.answer_format.get("json_schema")
        return inner if isinstance(inner, dict) else self.answer_format

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        yield from objects(self.body.get("functions"))  # The form that preceded `tools`.
        tools = objects(self.body.get("tools"))
        groups = (tool for tool in tools if tool.get("type") == "namespace")
        inner = (tool for group in groups for tool in objects(group.get("tools")))
        for tool in (*tools, *inner):
            function = tool.get("function", tool)
            if tool.get("type", "function") == "function" and isinstance(function, dict):
                yield function

    def _functions(self) -> Iterator[Tool]:
        for entry in self._entries():
            name, parameters = entry.get("name"), entry.get("parameters")
            if isinstance(name, str):
                schema = parameters if isinstance(parameters, dict) else {}
                yield Tool(name, str(entry.get("description") or ""), schema, "")


def differing_members(body: object, other: object, path: str = "") -> Iterator[str]:
    """Yield the members in which one request body differs from another, with short values.

    A difference is stated at the deepest place that has all of it: ``stream` (true, there false)`,
    ``messages[1].content``, ``tools` (only here)`.
    """
    if isinstance(body, dict) and isinstance(other, dict) and (not path or body.keys() & other):
        for name in dict.fromkeys((*body, *other)):
            inner = f"{path}.{name}" if path else str(name)
            yield from differing_members(body.get(name, _ABSENT), other.get(name, _ABSENT), inner)
    elif isinstance(body, list) and isinstance(other, list) and len(body) == len(other):
        for at, (mine, theirs) in enumerate(zip(body, other, strict=True)):
            yield from differing_members(mine, theirs, f"{path}[{at}]")
    elif body is _ABSENT or other is _ABSENT:
        yield f"`{path}` (only {'there' if body is _ABSENT else 'here'})"
    elif body != other or type(body) is not type(other):
        here, there = (json.dumps(value, ensure_ascii=False) for value in (body, other))
        short = max(len(here), len(there)) <= _LONGEST_VALUE
        yield f"`{path}` ({here}, there {there})" if short else f"`{path}`"
