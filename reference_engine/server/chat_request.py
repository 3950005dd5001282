"""The body of a Chat Completions request, and the generation request that it describes."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from harmony.conversation import (
    Answer,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    Effort,
    FunctionTool,
    Preamble,
    Reasoning,
    Result,
    User,
)
from reference_engine.server.api_error import invalid
from reference_engine.server.custom_tools import (
    Syntax,
    TextInput,
    custom_call,
    custom_function,
)
from reference_engine.server.fields import (
    AnswerRequest,
    EffortChoice,
    FunctionDefinition,
    FunctionName,
    Ignored,
    JsonObjectFormat,
    JsonSchema,
    Limit,
    Metadata,
    RequestModel,
    Stops,
    SupportedEffort,
    Text,
    TextFormat,
    Verbosity,
    Zero,
    answer_format,
    require_json,
)
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.tool_choice import Choice, ChoiceMode, OfferedTool


class TextMessage(RequestModel):
    """A message of the user, or instructions."""

    role: Literal["system", "developer", "user"]
    content: Text
    name: Ignored = None


class CalledFunction(RequestModel):
    """The name and the JSON arguments of a call."""

    name: str
    arguments: str
    parsed_arguments: Ignored = None


class FunctionCall(RequestModel):
    """A call of a function in an assistant message."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Ignored = None
    provider_specific_fields: Ignored = None

    def call(self) -> Call:
        """Return the call as the model wrote it."""
        return Call(self.function.name, self.function.arguments)


class CustomInput(RequestModel):
    """The name of a custom tool and the input of its call."""

    name: str
    input: str


class CustomCall(RequestModel):
    """A call of a custom tool in an assistant message."""

    id: str
    type: Literal["custom"]
    custom: CustomInput
    index: Ignored = None

    def call(self) -> Call:
        """Return the call of the function that the model saw."""
        return custom_call(self.custom.name, self.custom.input)


ToolCall = Annotated[
    Annotated[FunctionCall, Tag("function")] | Annotated[CustomCall, Tag("custom")],
    Discriminator(
        lambda call: (
            "custom" if isinstance(call, dict) and call.get("type") == "custom" else "function"
        )
    ),
]


class AssistantMessage(RequestModel):
    """A message of role assistant. `reasoning_content` is an alias of `reasoning`."""

    role: Literal["assistant"]
    content: Text = ""
    reasoning: str = ""
    reasoning_content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    refusal: str = ""
    name: Ignored = None
    parsed: Ignored = None
    annotations: Ignored = None
    reasoning_details: Ignored = None
    provider_specific_fields: Ignored = None

    def history(self, *, calls_next: bool) -> Iterator[ConversationItem]:
        """Yield the reasoning, the text and the calls, in this order."""
        if reasoning := self.reasoning or self.reasoning_content:
            yield Reasoning(reasoning)
        if text := self.content or self.refusal:
            preamble = self.tool_calls or calls_next
            yield Preamble(text) if preamble else Answer(text)
        for call in self.tool_calls:
            yield call.call()


class ToolMessage(RequestModel):
    """The result of a call."""

    role: Literal["tool"]
    content: Text
    tool_call_id: str
    name: Ignored = None


Message = Annotated[TextMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]

_ASSISTANT_SAYS = frozenset({"content", "refusal", "reasoning", "reasoning_content", "tool_calls"})


def history_of(messages: Sequence[Message]) -> tuple[ConversationItem, ...]:
    """Return the conversation items of the messages.

    `system` and `developer` messages are both instructions; the server itself writes the harmony
    system message. Assistant text with or before tool calls is a preamble; other text is an answer.
    Raises ApiError.
    """
    history: list[ConversationItem] = []
    unanswered: dict[str, str] = {}
    for at, (message, calls_next) in enumerate(zip(messages, _calls_next(messages), strict=True)):
        if isinstance(message, ToolMessage):
            history.append(_result(message, at, unanswered))
            continue
        _require_answered(unanswered, at)
        if isinstance(message, TextMessage):
            kind = User if message.role == "user" else Developer
            history.append(kind(message.content))
        else:
            if not message.model_fields_set & _ASSISTANT_SAYS:
                problem = f"messages[{at}] of the assistant has no content and no tool_calls."
                raise invalid(f"messages[{at}].content", problem)
            history += message.history(calls_next=calls_next)
            for call in message.tool_calls:
                if call.id in unanswered:
                    problem = f"Two tool calls of messages[{at}] have the id '{call.id}'."
                    raise invalid(f"messages[{at}]", problem)
                unanswered[call.id] = call.call().name
    _require_answered(unanswered, len(messages))
    return tuple(history)


def _calls_next(messages: Sequence[Message]) -> list[bool]:
    """Return, by message, whether the assistant makes a call before another role's message."""
    after = []
    calls = False
    for message in reversed(messages):
        after.append(calls)
        calls = isinstance(message, AssistantMessage) and (calls or bool(message.tool_calls))
    return after[::-1]


def _result(message: ToolMessage, at: int, unanswered: dict[str, str]) -> Result:
    name = unanswered.pop(message.tool_call_id, None)
    if name is None:
        raise invalid(
            f"messages[{at}].tool_call_id",
            f"messages[{at}].tool_call_id is '{message.tool_call_id}', but the preceding assistant "
            "message has no unanswered call with this id.",
        )
    return Result(name, message.content)


def _require_answered(unanswered: dict[str, Any], at: int) -> None:
    if unanswered:
        ids = ", ".join(f"'{call}'" for call in unanswered)
        raise invalid(
            f"messages[{at - 1}]",
            f"The tool calls {ids} before messages[{at}] have no result: a message of role 'tool' "
            "with the tool_call_id must follow each call directly.",
        )


class ShownEffort(EffortChoice):
    """`reasoning` of a request. `exclude`, as on some servers, omits the chain of thought."""

    exclude: bool = False


class TemplateArguments(RequestModel):
    """vLLM's `chat_template_kwargs`. gpt-oss always reasons, so thinking cannot be disabled."""

    reasoning_effort: SupportedEffort | None = None
    enable_thinking: Literal[True] = True
    thinking: Literal[True] = True


class OfferedFunction(FunctionDefinition):
    """A function, in which some clients repeat the type of the tool (llama-stack 0.7)."""

    type: Literal["function"] = "function"


class Tool(RequestModel):
    """A function tool."""

    type: Literal["function"]
    function: OfferedFunction
    strict: Ignored = None


class GrammarFormat(RequestModel):
    """A text that follows a grammar."""

    type: Literal["grammar"]
    grammar: Syntax


class CustomDefinition(RequestModel):
    """A custom tool."""

    name: FunctionName
    description: str = ""
    format: Annotated[TextInput | GrammarFormat, Field(discriminator="type")] = TextInput(
        type="text"
    )

    def tool(self) -> FunctionTool:
        """Return the function that the model sees."""
        grammar = self.format.grammar if isinstance(self.format, GrammarFormat) else None
        return custom_function(self.name, self.description, grammar)


class CustomTool(RequestModel):
    """A tool whose input is a text."""

    type: Literal["custom"]
    custom: CustomDefinition


class ToolName(RequestModel):
    """The tool of a tool choice."""

    name: str


class NamedTool(RequestModel):
    """A tool choice that names a function."""

    type: Literal["function"]
    function: ToolName

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.name


class NamedCustomTool(RequestModel):
    """A tool choice that names a custom tool."""

    type: Literal["custom"]
    custom: ToolName

    @property
    def name(self) -> str:
        """The name of the tool."""
        return self.custom.name


AnyNamedTool = Annotated[NamedTool | NamedCustomTool, Field(discriminator="type")]


class AllowedNames(RequestModel):
    """The allowed tools, and whether a call is required."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[AnyNamedTool], Field(min_length=1)]


class AllowedTools(RequestModel):
    """A tool choice that allows some of the functions."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedNames


class JsonSchemaFormat(RequestModel):
    """An answer that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChatRequest(AnswerRequest):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=16)] = 1
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    stop: Stops = Field(default_factory=list)
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Annotated[Tool | CustomTool, Field(discriminator="type")]] = Field(
        default_factory=list
    )
    tool_choice: (
        ChoiceMode
        | Annotated[NamedTool | NamedCustomTool | AllowedTools, Field(discriminator="type")]
    ) = "auto"
    reasoning_effort: SupportedEffort | None = None
    reasoning: ShownEffort = ShownEffort()
    include_reasoning: bool = True
    chat_template_kwargs: TemplateArguments = TemplateArguments()
    response_format: Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
    ] = TextFormat(type="text")

    logit_bias: dict[str, Zero] = Field(default_factory=dict)
    modalities: list[Literal["text"]] = Field(default_factory=list)
    verbosity: Verbosity = "medium"
    metadata: Metadata = Field(default_factory=dict)
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    safety_identifier: Ignored = None
    store: Literal[False] = False
    user: Ignored = None

    @property
    def show_reasoning(self) -> bool:
        """Whether the reply includes the chain of thought."""
        return self.include_reasoning and not self.reasoning.exclude

    @property
    def custom(self) -> frozenset[str]:
        """The names of the custom tools."""
        return frozenset(tool.custom.name for tool in self.tools if isinstance(tool, CustomTool))

    @property
    def effort(self) -> Effort:
        """The effort that one of the fields for it states."""
        template = self.chat_template_kwargs.reasoning_effort
        return self.reasoning_effort or self.reasoning.effort or template or "medium"

    def generation_request(self, current_date: str | None) -> GenerationRequest:
        """Return the generation request for this body. Raises ApiError."""
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("top_logprobs", "'top_logprobs' requires 'logprobs' to be true.")
        offered = [
            OfferedTool((t.function if isinstance(t, Tool) else t.custom).tool(), f"tools[{at}]")
            for at, t in enumerate(self.tools)
        ]
        tools, policy = self._choice().applied(offered)
        wanted = self.response_format
        items = history_of(self.messages)
        require_json(wanted, items, "messages")
        conversation = Conversation(
            items=items,
            tools=tools,
            effort=self.effort,
            answer_format=answer_format(
                wanted.json_schema if isinstance(wanted, JsonSchemaFormat) else wanted
            ),
            current_date=current_date,
        )
        sampling = self.sampling(
            self.max_completion_tokens or self.max_tokens,
            (self.top_logprobs or 0) if self.logprobs else None,
        )
        return GenerationRequest(conversation, sampling, policy, tuple(self.stop))

    def _choice(self) -> Choice:
        match self.tool_choice:
            case NamedTool() | NamedCustomTool() as named:
                return Choice("required", chosen=named.name)
            case AllowedTools(allowed_tools=listed):
                return Choice(listed.mode, allowed=tuple(tool.name for tool in listed.tools))
            case mode:
                return Choice(mode)
