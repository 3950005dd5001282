"""Request fields that the APIs share, and validation errors that name the field.

A field is supported, or accepted without effect (type `Ignored`, or its neutral value only), or
refused by name because no model declares it. Null is equivalent to an absent field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from harmony.conversation import AnswerFormat, Effort, FunctionTool
from reference_engine.server.errors import ApiError, invalid
from reference_engine.server.generation import Sampling

M = TypeVar("M", bound="RequestModel")

Ignored = Any
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
# The tags with which pydantic marks the tried member of a union in an error location.
_UNION_TAGS = frozenset({
    *("system", "developer", "user", "assistant", "tool", "message", "reasoning", "text", "str"),
    *("function_call", "function_call_output", "item_reference", "json_object", "json_schema"),
    *("function_tool", "namespace_tool", "web_search_tool", "code_interpreter_tool", "mcp_tool"),
    *("web_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools", "compaction"),
    *("custom_tool", "custom_tool_call", "custom_tool_call_output", "ToolFilter", "list[str]"),
})  # fmt: skip
_UNIONS = frozenset({"input", "prompt", "response_format", "format", "tool_choice"})
_TYPE_OF_MEMBER = re.compile(r"[A-Z]|\w+\[")


class RequestModel(BaseModel):
    """A JSON object of a request: every field is declared, and no value is converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def parse_request(model: type[M], body: bytes) -> M:
    """Read a request body.

    Raises:
        ApiError: The body is not JSON or does not match the model; the error names the field.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    try:
        orjson.dumps([data])  # An event repeats parts of the request one level deeper.
    except orjson.JSONEncodeError as error:
        raise ApiError(400, "The request body is nested too deeply.") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _api_error(_deepest(error.errors(include_url=False))) from error


def _api_error(error: ErrorDetails) -> ApiError:
    path = _path(error["loc"])
    match error["type"]:
        case "missing":
            message = f"Missing required parameter: '{path}'."
            return invalid(path, message, "missing_required_parameter")
        case "extra_forbidden":
            message = f"Unknown or unsupported parameter: '{path}'."
            return invalid(path, message, "unsupported_parameter")
        case _:
            reason = error["msg"].removeprefix("Value error, ")
            return invalid(path, f"Invalid value for '{path}': {reason}.")


def _deepest(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The error of the first invalid field, from the union member that fits best."""
    field = errors[0]["loc"][:1]
    return max((error for error in errors if error["loc"][:1] == field), key=_weight)


def _weight(error: ErrorDetails) -> tuple[bool, int]:
    """A wrong type of an object comes before errors in its fields."""
    wrong_type = error["type"] in {"literal_error", "tool_type"} and error["loc"][-1] == "type"
    return wrong_type, len(error["loc"])


def _path(location: tuple[int | str, ...]) -> str:
    """The path of the field in the request, such as `messages[0].content`, without union tags."""
    path = ""
    for at, step in enumerate(location):
        if isinstance(step, int):
            path += f"[{step}]"
        elif not _is_tag(location, at):
            path += f".{step}" if path else step
    return path


def _is_tag(location: tuple[int | str, ...], at: int) -> bool:
    """Whether this step is the tag of a union member instead of a field."""
    step, before = location[at], location[at - 1] if at else ""
    if before in _UNIONS and _TYPE_OF_MEMBER.match(str(step)):
        return True
    return step in _UNION_TAGS and (isinstance(before, int) or before in _UNIONS)


def _joined(content: object) -> object:
    """Join parts of text to one string. Other parts are refused by their type."""
    if not isinstance(content, list):
        return content
    texts = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        field = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
        text = part.get(field) if field else None
        if not isinstance(text, str):
            problem = "has no text" if field else "is not supported, only text is"
            message = "part {at} of type {kind} " + problem
            raise PydanticCustomError("content_part", message, {"at": at, "kind": repr(kind)})
        texts.append(text)
    return "".join(texts)


Text = Annotated[str, BeforeValidator(_joined)]


def _zero(value: float) -> float:
    if value:
        raise PydanticCustomError("unsupported", "only 0 is supported")
    return value


Zero = Annotated[float, AfterValidator(_zero)]
"""A penalty without support: only its neutral value is accepted."""


def _function(kind: object) -> object:
    if kind != "function":
        message = "{kind} is not a tool of this server in this API"
        raise PydanticCustomError("tool_type", message, {"kind": repr(kind)[:100]})
    return kind


FunctionType = Annotated[Literal["function"], BeforeValidator(_function)]
"""The type of a function tool. Other tools are refused by name."""

Limit = Annotated[int, Field(ge=1)]


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_list), Field(max_length=16)
]
"""One stop string or several."""


def _valid_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 128 letters, digits, underscores or hyphens")
    return name


FunctionName = Annotated[str, AfterValidator(_valid_name)]


class FunctionDefinition(RequestModel):
    """A function tool. `strict` is accepted without effect."""

    name: FunctionName
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: Ignored = None

    def tool(self) -> FunctionTool:
        """The tool of the conversation."""
        return FunctionTool(self.name, self.description, self.parameters)


class JsonSchema(RequestModel):
    """A named schema for the answer. `strict` is accepted, but only the prompt enforces it."""

    name: str
    description: str = ""
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)
    strict: bool | None = None


class EffortChoice(RequestModel):
    """`reasoning` of a request."""

    effort: Effort | None = None
    context: Literal["auto"] = "auto"
    mode: Literal["standard"] = "standard"
    summary: Ignored = None
    generate_summary: Ignored = None


class TextFormat(RequestModel):
    """An answer without a format."""

    type: Literal["text"]


class JsonObjectFormat(RequestModel):
    """An answer that is any JSON object."""

    type: Literal["json_object"]


def answer_format(chosen: object) -> AnswerFormat | None:
    """The format of the conversation for a `JsonSchema`, a `JsonObjectFormat` or a `TextFormat`."""
    match chosen:
        case JsonSchema():
            return AnswerFormat(chosen.name, chosen.schema_, chosen.description)
        case JsonObjectFormat():
            return AnswerFormat("json_object", {"type": "object"}, "Any JSON object")
    return None


class StreamOptions(RequestModel):
    """`stream_options` of a request."""

    include_usage: bool = False
    include_obfuscation: Ignored = None


class ModelRequest(RequestModel):
    """The fields of all requests to the model."""

    model: str
    prompt_cache_key: str | None = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: Ignored = None


class AnswerRequest(ModelRequest):
    """The fields of requests for an answer, in both APIs. `seed` is an extension of Responses."""

    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    frequency_penalty: Zero = 0
    presence_penalty: Zero = 0

    def sampling(self, max_tokens: int | None, top_logprobs: int | None) -> Sampling:
        """The sampling parameters."""
        return Sampling(max_tokens, self.temperature, self.top_p, self.seed, top_logprobs)
