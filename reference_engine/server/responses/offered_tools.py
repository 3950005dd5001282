"""The tools of a Responses request, and the choice among them."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from harmony.conversation import Builtin, FunctionTool
from reference_engine.builtin.tools import ServerTools
from reference_engine.server.api_error import invalid
from reference_engine.server.custom_tools import Syntax, TextInput, custom_function
from reference_engine.server.fields import FunctionDefinition, FunctionName, Ignored, RequestModel
from reference_engine.server.tool_choice import Choice, ChoiceMode, OfferedTool


class ResponsesTool(FunctionDefinition):
    """A function tool."""

    type: Literal["function"]
    allowed_callers: Ignored = None
    asynchronous: Literal[False] = Field(alias="async", default=False)
    defer_loading: Literal[False] = False
    output_schema: Ignored = None

    def echoed(self) -> dict[str, Any]:
        """Return the tool in the response."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description or None,
            "parameters": self.parameters,
            "strict": bool(self.strict),
        }


class Namespace(RequestModel):
    """A group of function tools. The model sees them without the namespace; calls include it."""

    type: Literal["namespace"]
    name: str
    description: str = ""
    tools: Annotated[list[ResponsesTool], Field(min_length=1)]

    def echoed(self) -> dict[str, Any]:
        """Return the namespace in the response."""
        return self.model_dump(exclude={"tools"}) | {"tools": [t.echoed() for t in self.tools]}


class _BuiltinTool(RequestModel):
    """A tool that the response repeats unchanged."""

    def echoed(self) -> dict[str, Any]:
        """Return the tool in the response."""
        return self.model_dump(exclude_none=True)


class ToolGrammar(Syntax):
    """A text that follows a grammar."""

    type: Literal["grammar"]


class ResponsesCustomTool(RequestModel):
    """A tool whose input is a text."""

    type: Literal["custom"]
    name: FunctionName
    description: str = ""
    format: Annotated[TextInput | ToolGrammar, Field(discriminator="type")] = TextInput(type="text")
    allowed_callers: Ignored = None
    asynchronous: Literal[False] = Field(alias="async", default=False)
    defer_loading: Literal[False] = False

    def tool(self) -> FunctionTool:
        """Return the function that the model sees."""
        grammar = self.format if isinstance(self.format, ToolGrammar) else None
        return custom_function(self.name, self.description, grammar)

    def echoed(self) -> dict[str, Any]:
        """Return the tool in the response."""
        return self.model_dump(include={"type", "name", "description", "format"})


class WebSearch(_BuiltinTool):
    """The built-in browser."""

    type: Literal[
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ]
    external_web_access: bool | None = None
    search_content_types: Ignored = None
    search_context_size: Ignored = None
    user_location: Ignored = None

    builtin: ClassVar[Builtin] = "browser"

    @property
    def is_optional(self) -> bool:
        """Whether the client asks only for stored pages, of which a server may have none."""
        return self.external_web_access is False


class Container(RequestModel):
    """A sandbox for each program."""

    type: Literal["auto"]
    memory_limit: Ignored = None


class CodeInterpreter(_BuiltinTool):
    """The built-in Python."""

    type: Literal["code_interpreter"]
    container: Container
    allowed_callers: Ignored = None

    builtin: ClassVar[Builtin] = "python"
    is_optional: ClassVar[bool] = False


AnyTool = Annotated[
    ResponsesTool | Namespace | ResponsesCustomTool | WebSearch | CodeInterpreter,
    Field(discriminator="type"),
]


class ChosenTool(RequestModel):
    """A tool choice that names a function or a custom tool."""

    type: Literal["function", "custom"]
    name: str


class ChosenTools(RequestModel):
    """A tool choice that allows some of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenTool], Field(min_length=1)]


ToolChoice = ChoiceMode | Annotated[ChosenTool | ChosenTools, Field(discriminator="type")]


def offered(tools: Sequence[AnyTool]) -> Iterator[OfferedTool]:
    """Yield all functions and custom tools, with their paths in the request."""
    for at, tool in enumerate(tools):
        if isinstance(tool, Namespace):
            for within, function in enumerate(tool.tools):
                yield OfferedTool(function.tool(), f"tools[{at}].tools[{within}]")
        elif isinstance(tool, ResponsesTool | ResponsesCustomTool):
            yield OfferedTool(tool.tool(), f"tools[{at}]")


def namespaces(tools: Sequence[AnyTool]) -> dict[str, str]:
    """Return the namespaces of functions."""
    return {
        function.name: tool.name
        for tool in tools
        if isinstance(tool, Namespace)
        for function in tool.tools
    }


def custom(tools: Sequence[AnyTool]) -> frozenset[str]:
    """Return the names of the custom tools."""
    return frozenset(tool.name for tool in tools if isinstance(tool, ResponsesCustomTool))


def builtin_of(
    tools: Sequence[AnyTool], choice: ToolChoice, available: ServerTools
) -> tuple[Builtin, ...]:
    """Return the built-in tools that the model may use; none if the tool choice is of functions.

    A search without web access, as Codex offers it by default, is left out if the server has no
    browser. Raises ApiError if the server does not have one of the other tools, a function has the
    same name, or the tool choice requires a call while the server runs some of the calls.
    """
    builtin: dict[Builtin, None] = {}
    for at, tool in enumerate(tools):
        if not isinstance(tool, WebSearch | CodeInterpreter):
            continue
        if not available.has(tool.builtin):
            if tool.is_optional:
                continue
            raise invalid(
                f"tools[{at}].type",
                f"'{tool.type}' is not available: this server was started without "
                f"{_OPTION[tool.builtin]}.",
                "unsupported_tool",
            )
        builtin[tool.builtin] = None
    if "python" in builtin and any(function.tool.name == "python" for function in offered(tools)):
        message = "A function named 'python' cannot be offered together with code_interpreter."
        raise invalid("tools", message)
    if choice == "required" and builtin:
        message = "'tool_choice' cannot require a call while built-in tools are offered."
        raise invalid("tool_choice", message)
    return tuple(builtin) if choice == "auto" else ()


_OPTION: dict[Builtin, str] = {"browser": "--browser", "python": "--python"}


def choice_of(choice: ToolChoice) -> Choice:
    """Return the tool choice, independent of the API."""
    match choice:
        case ChosenTool(name=name):
            return Choice("required", chosen=name)
        case ChosenTools(mode=mode, tools=listed):
            return Choice(mode, allowed=tuple(tool.name for tool in listed))
        case mode:
            return Choice(mode)
