"""The body of a Responses request: its tools, and what to generate for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from openai.types.responses import ResponseIncludable
from pydantic import Discriminator, Field, Tag

from harmony.conversation import Builtin, Conversation, ConversationItem, Developer
from reference_engine.builtin.tools import ServerTools
from reference_engine.server.errors import invalid
from reference_engine.server.fields import (
    AnswerRequest,
    EffortChoice,
    FunctionDefinition,
    FunctionType,
    Ignored,
    JsonObjectFormat,
    JsonSchema,
    Limit,
    ModelRequest,
    RequestModel,
    TextFormat,
    answer_format,
)
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.responses.items import Item, MessageItem
from reference_engine.server.tool_choice import ALLOWED, FORM, NAMED, Choice, Mode, OfferedTool


class Tool(FunctionDefinition):
    """A function tool."""

    type: FunctionType
    allowed_callers: Ignored = None
    asynchronous: Literal[False] = Field(alias="async", default=False)
    defer_loading: Literal[False] = False
    output_schema: Ignored = None

    def echoed(self) -> dict[str, Any]:
        """The tool in the response."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description or None,
            "parameters": self.parameters,
            "strict": bool(self.strict),
        }


class Namespace(RequestModel):
    """A group of function tools. The model sees them without the namespace; calls repeat it."""

    type: Literal["namespace"]
    name: str
    description: str = ""
    tools: Annotated[list[Tool], Field(min_length=1)]

    def echoed(self) -> dict[str, Any]:
        """The namespace in the response."""
        return {
            "type": "namespace",
            "name": self.name,
            "description": self.description,
            "tools": [tool.echoed() for tool in self.tools],
        }


class WebSearch(RequestModel):
    """The built-in browser."""

    type: Literal[
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    ]
    external_web_access: Ignored = None
    search_content_types: Ignored = None
    search_context_size: Ignored = None
    user_location: Ignored = None

    builtin: ClassVar[Builtin] = "browser"

    def echoed(self) -> dict[str, Any]:
        """The tool in the response."""
        return self.model_dump(exclude_none=True)


class Container(RequestModel):
    """A sandbox for each program."""

    type: Literal["auto"]
    memory_limit: Ignored = None


class CodeInterpreter(RequestModel):
    """The built-in Python."""

    type: Literal["code_interpreter"]
    container: Container
    allowed_callers: Ignored = None

    builtin: ClassVar[Builtin] = "python"

    def echoed(self) -> dict[str, Any]:
        """The tool in the response."""
        return self.model_dump(exclude_none=True)


def _kind(tool: object) -> str:
    """The tag of a tool. Types that are not known must be functions."""
    kind = str(tool.get("type")) if isinstance(tool, dict) else ""
    if kind in {"namespace", "code_interpreter"}:
        return f"{kind}_tool"
    return "web_search_tool" if kind.startswith("web_search") else "function_tool"


AnyTool = Annotated[
    Annotated[Tool, Tag("function_tool")]
    | Annotated[Namespace, Tag("namespace_tool")]
    | Annotated[WebSearch, Tag("web_search_tool")]
    | Annotated[CodeInterpreter, Tag("code_interpreter_tool")],
    Discriminator(_kind),
]


class NamedTool(RequestModel):
    """A tool choice that names a function."""

    type: Literal["function"]
    name: str


class AllowedTools(RequestModel):
    """A tool choice that allows some of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


ToolChoice = Annotated[Mode | Annotated[NamedTool, NAMED] | Annotated[AllowedTools, ALLOWED], FORM]


def offered(tools: Sequence[AnyTool]) -> Iterator[OfferedTool]:
    """All functions, with their paths in the request."""
    for at, tool in enumerate(tools):
        if isinstance(tool, Namespace):
            for within, function in enumerate(tool.tools):
                yield OfferedTool(function.tool(), f"tools[{at}].tools[{within}]")
        elif isinstance(tool, Tool):
            yield OfferedTool(tool.tool(), f"tools[{at}]")


def namespaces(tools: Sequence[AnyTool]) -> dict[str, str]:
    """The namespaces of functions."""
    return {
        function.name: tool.name
        for tool in tools
        if isinstance(tool, Namespace)
        for function in tool.tools
    }


def builtin_of(body: ResponsesRequest, available: ServerTools) -> tuple[Builtin, ...]:
    """The built-in tools that the model may use: none if the tool choice is about functions.

    Raises:
        ApiError: The server does not have one of them, a function has its name, or the choice
            requires a call.
    """
    builtin: dict[Builtin, None] = {}
    for at, tool in enumerate(body.tools):
        if not isinstance(tool, WebSearch | CodeInterpreter):
            continue
        if not available.has(tool.builtin):
            raise invalid(
                f"tools[{at}].type",
                f"'{tool.type}' is not available: this server was started without "
                f"{_OPTION[tool.builtin]}.",
                "unsupported_tool",
            )
        builtin[tool.builtin] = None
    if "python" in builtin and any(each.tool.name == "python" for each in offered(body.tools)):
        message = "A function named 'python' cannot be offered together with code_interpreter."
        raise invalid("tools", message)
    if builtin and body.tool_choice == "required":
        message = "'tool_choice' cannot require a call while built-in tools are offered."
        raise invalid("tool_choice", message)
    return tuple(builtin) if body.tool_choice == "auto" else ()


_OPTION: dict[Builtin, str] = {"browser": "--browser", "python": "--python"}


def choice_of(choice: str | NamedTool | AllowedTools) -> Choice:
    """The tool choice, independent of the API."""
    match choice:
        case NamedTool(name=name):
            return Choice("required", chosen=name)
        case AllowedTools(mode=mode, tools=left):
            return Choice(mode, allowed=tuple(tool.name for tool in left))
        case "none" | "auto" | "required":
            return Choice(choice)
    raise AssertionError(choice)


_LOGPROBS = "message.output_text.logprobs"
SOURCES = "web_search_call.action.sources"
OUTPUTS = "code_interpreter_call.outputs"


class JsonSchemaFormat(JsonSchema):
    """An answer that follows a schema."""

    type: Literal["json_schema"]


class TextSettings(RequestModel):
    """`text` of a request."""

    format: Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
    ] = TextFormat(type="text")
    verbosity: Literal["medium"] = "medium"


_Input = Annotated[list[Item], Field(min_length=1)] | str


class ConversationRequest(ModelRequest):
    """The fields of all requests with a conversation."""

    input: _Input | None = None
    instructions: str | None = None
    previous_response_id: str | None = None

    @property
    def items(self) -> list[Item]:
        """The input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input or []

    @property
    def opening(self) -> tuple[Developer, ...]:
        """The instructions as a conversation item, if there are any."""
        return (Developer(self.instructions),) if self.instructions else ()


class ResponsesRequest(AnswerRequest, ConversationRequest):
    """The body of POST /v1/responses."""

    input: _Input
    store: bool = True
    max_output_tokens: Limit | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    include: list[ResponseIncludable] = Field(default_factory=list)
    tools: list[AnyTool] = Field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    reasoning: EffortChoice = EffortChoice()
    text: TextSettings = TextSettings()
    metadata: dict[str, str] = Field(default_factory=dict)
    parallel_tool_calls: bool = True
    max_tool_calls: int | None = None
    safety_identifier: str | None = None
    user: str | None = None

    background: Literal[False] = False
    truncation: Literal["disabled"] = "disabled"
    client_metadata: Ignored = None

    @property
    def logprobs(self) -> bool:
        """Whether the response includes logprobs."""
        return _LOGPROBS in self.include or self.top_logprobs > 0

    def generation_request(
        self,
        history: tuple[ConversationItem, ...],
        current_date: str | None,
        builtin: tuple[Builtin, ...] = (),
    ) -> GenerationRequest:
        """What to generate after this history, with these built-in tools.

        Raises:
            ApiError: Fields contradict each other.
        """
        tools, policy = choice_of(self.tool_choice).applied(list(offered(self.tools)))
        conversation = Conversation(
            items=(*self.opening, *history),
            tools=tools,
            effort=self.reasoning.effort or "medium",
            answer_format=answer_format(self.text.format),
            current_date=current_date,
            builtin=builtin,
        )
        top_logprobs = self.top_logprobs if self.logprobs else None
        sampling = self.sampling(self.max_output_tokens, top_logprobs)
        return GenerationRequest(conversation, sampling, replace(policy, builtin=builtin))


def unknown_previous(response_id: str) -> Exception:
    """The error for a `previous_response_id` that is not stored."""
    message = f"Previous response with id '{response_id}' not found."
    return invalid("previous_response_id", message, "previous_response_not_found")
