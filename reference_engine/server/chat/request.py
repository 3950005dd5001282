"""The body of a Chat Completions request, and what to generate for it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harmony.conversation import AnswerFormat, Conversation, Effort
from reference_engine.server.chat.messages import Message, history_of
from reference_engine.server.errors import invalid
from reference_engine.server.fields import (
    ANY_OBJECT,
    EffortChoice,
    FunctionDefinition,
    FunctionType,
    Ignored,
    JsonSchema,
    Limit,
    RequestModel,
    Seed,
    StreamOptions,
    Temperature,
    TopP,
    Zero,
)
from reference_engine.server.generation import GenerationRequest, Sampling
from reference_engine.server.tool_choice import (
    ALLOWED,
    FORM,
    NAMED,
    Choice,
    Mode,
    OfferedTool,
)


class ShownEffort(EffortChoice):
    """`reasoning` of a request. Some servers accept `exclude` to omit the chain of thought."""

    exclude: bool = False


class Tool(RequestModel):
    """A function tool."""

    type: FunctionType
    function: FunctionDefinition


class NamedFunction(RequestModel):
    """The function of a tool choice."""

    name: str


class NamedTool(RequestModel):
    """A tool choice that names a function."""

    type: Literal["function"]
    function: NamedFunction


class AllowedNames(RequestModel):
    """The allowed functions, and whether a call is required."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


class AllowedTools(RequestModel):
    """A tool choice that allows some of the functions."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedNames


class TextFormat(RequestModel):
    """An answer without a format."""

    type: Literal["text"]


class JsonObjectFormat(RequestModel):
    """An answer that is any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(RequestModel):
    """An answer that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChatRequest(RequestModel):
    """The body of POST /v1/chat/completions."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    n: Annotated[int, Field(ge=1, le=16)] = 1
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    seed: Seed | None = None
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list, max_length=16)
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: Annotated[
        Mode | Annotated[NamedTool, NAMED] | Annotated[AllowedTools, ALLOWED], FORM
    ] = "auto"
    reasoning_effort: Effort | None = None
    reasoning: ShownEffort = ShownEffort()
    response_format: Annotated[
        TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
    ] = TextFormat(type="text")

    frequency_penalty: Zero = 0
    presence_penalty: Zero = 0
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] = Field(default_factory=dict)
    modalities: list[Literal["text"]] = Field(default_factory=list)
    verbosity: Literal["medium"] = "medium"
    metadata: Ignored = None
    parallel_tool_calls: Ignored = None
    prediction: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    safety_identifier: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    user: Ignored = None

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_as_list(cls, stop: object) -> object:
        return [stop] if isinstance(stop, str) else stop

    def generation_request(self, current_date: str | None) -> GenerationRequest:
        """What to generate for this request.


        Raises:
            ApiError: Fields contradict each other.
        """
        if self.top_logprobs is not None and not self.logprobs:
            raise invalid("top_logprobs", "'top_logprobs' requires 'logprobs' to be true.")
        offered = [
            OfferedTool(t.function.tool(), f"tools[{at}]") for at, t in enumerate(self.tools)
        ]
        tools, policy = self._choice().applied(offered)
        conversation = Conversation(
            items=history_of(self.messages),
            tools=tools,
            effort=self.reasoning_effort or self.reasoning.effort or "medium",
            answer_format=self._answer_format(),
            current_date=current_date,
        )
        return GenerationRequest(conversation, self._sampling(), policy, tuple(self.stop))

    def _sampling(self) -> Sampling:
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
        )

    def _choice(self) -> Choice:
        match self.tool_choice:
            case NamedTool(function=function):
                return Choice("required", chosen=function.name)
            case AllowedTools(allowed_tools=left):
                return Choice(left.mode, allowed=tuple(tool.function.name for tool in left.tools))
            case mode:
                return Choice(mode)

    def _answer_format(self) -> AnswerFormat | None:
        wanted: Any = self.response_format
        match wanted:
            case JsonSchemaFormat(json_schema=schema):
                return AnswerFormat(schema.name, schema.schema_, schema.description)
            case JsonObjectFormat():
                return ANY_OBJECT
            case _:
                return None
