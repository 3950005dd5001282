"""The body of a Responses request, and the generation request that it describes."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from harmony.conversation import Builtin, Conversation, ConversationItem, Developer
from reference_engine.server.fields import (
    AnswerRequest,
    EffortChoice,
    Ignored,
    JsonObjectFormat,
    JsonSchema,
    Metadata,
    RequestModel,
    TextFormat,
    Verbosity,
    answer_format,
    require_json,
)
from reference_engine.server.generation import GenerationRequest
from reference_engine.server.responses.input_items import Item, MessageItem
from reference_engine.server.responses.offered_tools import AnyTool, ToolChoice, choice_of, offered

_LOGPROBS = "message.output_text.logprobs"

Includable = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
"""`openai.types.responses.ResponseIncludable`; importing the SDK would take a second."""


class TextSchema(JsonSchema):
    """An answer that follows a schema."""

    type: Literal["json_schema"]


class TextSettings(RequestModel):
    """`text` of a request."""

    format: Annotated[TextFormat | JsonObjectFormat | TextSchema, Field(discriminator="type")] = (
        TextFormat(type="text")
    )
    verbosity: Verbosity = "medium"


_Input = Annotated[list[Item], Field(min_length=1)] | str


class ResponsesRequest(AnswerRequest):
    """The body of POST /v1/responses."""

    input: _Input | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool = True
    max_output_tokens: Annotated[int, Field(ge=16)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    include: list[Includable] = Field(default_factory=list)
    tools: list[AnyTool] = Field(default_factory=list)
    tool_choice: ToolChoice = "auto"
    reasoning: EffortChoice = EffortChoice()
    text: TextSettings = TextSettings()
    metadata: Metadata = Field(default_factory=dict)
    parallel_tool_calls: bool = True
    max_tool_calls: Annotated[int, Field(ge=0)] | None = None
    safety_identifier: str | None = None
    user: str | None = None

    background: Literal[False] = False
    truncation: Literal["auto", "disabled"] = "disabled"
    client_metadata: Ignored = None

    @property
    def items(self) -> list[Item]:
        """The input as items."""
        if isinstance(self.input, str):
            return [MessageItem(role="user", content=self.input)]
        return self.input or []

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
        """Return the request for this history and these built-in tools. Raises ApiError."""
        tools, policy = choice_of(self.tool_choice).applied(list(offered(self.tools)))
        opening = (Developer(self.instructions),) if self.instructions else ()
        items = (*opening, *history)
        require_json(self.text.format, items, "input")
        conversation = Conversation(
            items=items,
            tools=tools,
            effort=self.reasoning.effort or "medium",
            answer_format=answer_format(self.text.format),
            current_date=current_date,
            builtin=builtin,
        )
        top_logprobs = self.top_logprobs if self.logprobs else None
        sampling = self.sampling(self.max_output_tokens, top_logprobs)
        policy = replace(policy, builtin=builtin)
        return GenerationRequest(conversation, sampling, policy, field="input")
