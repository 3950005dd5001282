"""What a Responses request may hold, and the order it makes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from openai.types.responses import ResponseIncludable
from pydantic import Field

from harmony.conversation import AnswerFormat, Conversation, ConversationItem, Developer
from reference_engine.server.errors import invalid
from reference_engine.server.fields import (
    ANY_OBJECT,
    EffortChoice,
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
from reference_engine.server.responses.items import Item, MessageItem
from reference_engine.server.responses.tools import (
    AnyTool,
    ToolChoice,
    choice_of,
    offered,
)

_LOGPROBS = "message.output_text.logprobs"


class TextFormat(RequestModel):
    """An ordinary answer."""

    type: Literal["text"]


class JsonObjectFormat(RequestModel):
    """An answer that is any JSON object."""

    type: Literal["json_object"]


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


class ConversationRequest(RequestModel):
    """What any request about a conversation holds."""

    model: str
    input: _Input | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None

    @property
    def items(self) -> list[Item]:
        """The input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input or []

    @property
    def opening(self) -> tuple[Developer, ...]:
        """The instructions as a turn, if there are any."""
        return (Developer(self.instructions),) if self.instructions else ()


class ResponsesRequest(ConversationRequest):
    """The body of POST /v1/responses; `seed` is our addition."""

    input: _Input
    store: bool = True
    stream: bool = False
    max_output_tokens: Limit | None = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    seed: Seed | None = None
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
    frequency_penalty: Zero = 0
    presence_penalty: Zero = 0
    client_metadata: Ignored = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: Ignored = None
    stream_options: StreamOptions = StreamOptions()

    @property
    def logprobs(self) -> bool:
        """Whether the answer's tokens come with their log probabilities."""
        return _LOGPROBS in self.include or self.top_logprobs > 0

    def order(
        self, turns: tuple[ConversationItem, ...], current_date: str | None
    ) -> GenerationRequest:
        """What to generate after these turns.

        Raises:
            ApiError: Fields contradict each other.
        """
        tools, policy = choice_of(self.tool_choice).applied(list(offered(self.tools)))
        conversation = Conversation(
            items=(*self.opening, *turns),
            tools=tools,
            effort=self.reasoning.effort or "medium",
            answer_format=self._answer_format(),
            current_date=current_date,
        )
        sampling = Sampling(
            max_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            top_logprobs=self.top_logprobs if self.logprobs else None,
        )
        return GenerationRequest(conversation, sampling, policy)

    def _answer_format(self) -> AnswerFormat | None:
        wanted: Any = self.text.format
        match wanted:
            case JsonSchemaFormat():
                return AnswerFormat(wanted.name, wanted.schema_, wanted.description)
            case JsonObjectFormat():
                return ANY_OBJECT
            case _:
                return None


def unknown_previous(response_id: str) -> Exception:
    """The error for a `previous_response_id` that is not stored (any more)."""
    message = f"Previous response with id '{response_id}' not found."
    return invalid("previous_response_id", message, "previous_response_not_found")
