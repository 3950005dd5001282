"""The tools of a Responses request: functions, alone or in namespaces, and the choice among them.

A namespace groups functions for the client; the model is shown all of them as `functions`, and a
call carries the namespace back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from reference_engine.server.fields import FunctionDefinition, FunctionType, Ignored, RequestModel
from reference_engine.server.tool_choice import ALLOWED, FORM, NAMED, Choice, Mode, Offered


class Tool(FunctionDefinition):
    """A function tool."""

    type: FunctionType
    allowed_callers: Ignored = None
    asynchronous: Literal[False] = Field(alias="async", default=False)
    defer_loading: Literal[False] = False
    output_schema: Ignored = None

    def echoed(self) -> dict[str, Any]:
        """The tool as the reply repeats it."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description or None,
            "parameters": self.parameters,
            "strict": bool(self.strict),
        }


class Namespace(RequestModel):
    """Several function tools under one name."""

    type: Literal["namespace"]
    name: str
    description: str = ""
    tools: Annotated[list[Tool], Field(min_length=1)]

    def echoed(self) -> dict[str, Any]:
        """The namespace as the reply repeats it."""
        return {
            "type": "namespace",
            "name": self.name,
            "description": self.description,
            "tools": [tool.echoed() for tool in self.tools],
        }


def _kind(tool: object) -> str:
    """The tag of a tool: whatever is no namespace has to be a function."""
    namespace = isinstance(tool, dict) and tool.get("type") == "namespace"
    return "namespace_tool" if namespace else "function_tool"


AnyTool = Annotated[
    Annotated[Tool, Tag("function_tool")] | Annotated[Namespace, Tag("namespace_tool")],
    Discriminator(_kind),
]


class NamedTool(RequestModel):
    """A tool choice that names a function."""

    type: Literal["function"]
    name: str


class AllowedTools(RequestModel):
    """A tool choice that leaves some of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


ToolChoice = Annotated[Mode | Annotated[NamedTool, NAMED] | Annotated[AllowedTools, ALLOWED], FORM]


def offered(tools: Sequence[Tool | Namespace]) -> Iterator[Offered]:
    """All functions, with their places in the request."""
    for at, tool in enumerate(tools):
        if isinstance(tool, Namespace):
            for within, function in enumerate(tool.tools):
                yield Offered(function.tool(), f"tools[{at}].tools[{within}]")
        else:
            yield Offered(tool.tool(), f"tools[{at}]")


def namespaces(tools: Sequence[Tool | Namespace]) -> dict[str, str]:
    """The namespace of each function that has one."""
    return {
        function.name: tool.name
        for tool in tools
        if isinstance(tool, Namespace)
        for function in tool.tools
    }


def choice_of(asked: str | NamedTool | AllowedTools) -> Choice:
    """The tool choice in the words of both dialects."""
    match asked:
        case NamedTool(name=name):
            return Choice("required", chosen=name)
        case AllowedTools(mode=mode, tools=left):
            return Choice(mode, allowed=tuple(tool.name for tool in left))
        case "none" | "auto" | "required":
            return Choice(asked)
    raise AssertionError(asked)
