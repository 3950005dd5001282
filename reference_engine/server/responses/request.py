"""The body of a Responses request: its tools, and what to generate for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from openai.types.responses import ResponseIncludable
from pydantic import Discriminator, Field, Tag

from harmony.conversation import Conversation, ConversationItem, Developer
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


def _kind(tool: object) -> str:
    """The tag of a tool. All tools except namespaces must be functions."""
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
    """A tool choice that allows some of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


ToolChoice = Annotated[Mode | Annotated[NamedTool, NAMED] | Annotated[AllowedTools, ALLOWED], FORM]


def offered(tools: Sequence[Tool | Namespace]) -> Iterator[OfferedTool]:
    """All functions, with their paths in the request."""
    for at, tool in enumerate(tools):
        if isinstance(tool, Namespace):
            for within, function in enumerate(tool.tools):
                yield OfferedTool(function.tool(), f"tools[{at}].tools[{within}]")
        else:
            yield OfferedTool(tool.tool(), f"tools[{at}]")


def namespaces(tools: Sequence[Tool | Namespace]) -> dict[str, str]:
    """The namespaces of functions."""
    return {
        function.name: tool.name
        for tool in tools
        if isinstance(tool, Namespace)
        for function in tool.tools
    }


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
        self, history: tuple[ConversationItem, ...], current_date: str | None
    ) -> GenerationRequest:
        """What to generate after this history.

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
        )
        top_logprobs = self.top_logprobs if self.logprobs else None
        sampling = self.sampling(self.max_output_tokens, top_logprobs)
        return GenerationRequest(conversation, sampling, policy)


def unknown_previous(response_id: str) -> Exception:
    """The error for a `previous_response_id` that is not stored."""
    message = f"Previous response with id '{response_id}' not found."
    return invalid("previous_response_id", message, "previous_response_not_found")
