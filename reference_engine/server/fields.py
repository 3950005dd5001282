"""Request fields that the APIs share, and validation errors that name the field.

A field is supported, accepted without effect (type `Ignored`, or only with its neutral value), or
refused with an error that names it, because no model declares it. Null is equivalent to an absent
field.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from harmony.conversation import (
    AnswerFormat,
    ConversationItem,
    Effort,
    FunctionTool,
    texts_of,
)
from harmony.parse import STOP_TOKENS
from reference_engine.generation.sampling import UNLIMITED, SamplingParams
from reference_engine.server.api_error import ApiError, invalid
from reference_engine.server.grammar import rules_for, rules_for_calls

M = TypeVar("M", bound="RequestModel")

Ignored = Any
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_SMALLEST_TOP_P = 1e-9
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class RequestModel(BaseModel):
    """A JSON object of a request; undeclared fields are refused, and values are not converted."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def parse_request(model: type[M], body: bytes) -> M:
    """Read a request body. Raises ApiError."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    try:
        orjson.dumps([data])  # Events repeat parts of the request one level deeper.
    except orjson.JSONEncodeError as error:
        raise ApiError(400, "The request body is nested too deeply.") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _api_error(data, _deepest(error.errors(include_url=False))) from error


def _api_error(data: dict[str, Any], error: ErrorDetails) -> ApiError:
    paths = _paths(data, error["loc"], missing=error["type"] == "missing")
    path = next(paths, "").removeprefix(".")
    context = error.get("ctx", {})
    if tag := str(context.get("discriminator", "")).strip("'"):  # of a union by `type` or `role`
        path = f"{path}.{tag}"
    match error["type"]:
        case "missing" | "union_tag_not_found":
            message = f"Missing required parameter: '{path}'."
            return invalid(path, message, "missing_required_parameter")
        case "extra_forbidden":
            message = f"Unknown or unsupported parameter: '{path}'."
            return invalid(path, message, "unsupported_parameter")
        case _:
            reason = error["msg"].removeprefix("Value error, ")
            if error["type"] == "literal_error":
                reason += f", not {error['input']!r:.100}"
            elif error["type"] == "union_tag_invalid":
                expected = context["expected_tags"]
                reason = f"Input should be one of {expected}, not {context['tag']!r:.100}"
            code = "unsupported_value" if error["type"] == "unsupported_value" else "invalid_value"
            return invalid(path, f"Invalid value for '{path}': {reason}.", code)


def _deepest(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """Return the error for the first invalid field, from the union member that fits best."""
    field = errors[0]["loc"][:1]
    return max((error for error in errors if error["loc"][:1] == field), key=_weight)


def _weight(error: ErrorDetails) -> tuple[bool, int]:
    """Rank an error: a wrong `type` of an object comes before errors in its fields."""
    wrong_type = error["type"] == "literal_error" and error["loc"][-1] == "type"
    return wrong_type, len(error["loc"])


def _paths(data: object, steps: Sequence[int | str], *, missing: bool) -> Iterator[str]:
    """Yield the request paths that a location of pydantic can mean, such as `.messages[0].name`.

    Some steps of a location name the tried member of a union instead of a field.
    """
    if not steps:
        yield ""
        return
    step, *rest = steps
    if isinstance(step, int):
        inner = data[step] if isinstance(data, list) and step < len(data) else None
        yield from (f"[{step}]{path}" for path in _paths(inner, rest, missing=missing))
        return
    value = data.get(step) if isinstance(data, dict) else None
    if missing and not rest:
        if value is None:
            yield f".{step}"
        return
    if value is not None:
        yield from (f".{step}{path}" for path in _paths(value, rest, missing=missing))
    yield from _paths(data, rest, missing=missing)


def _joined(content: object) -> object:
    """Join text parts to one string. Refuse parts of other types."""
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


def _supported(unsupported: Collection[object], supported: str) -> BeforeValidator:
    """Refuse values that OpenAI's API has, but gpt-oss or this server does not support."""

    def check(value: object) -> object:
        if isinstance(value, str) and value in unsupported:
            message = f"'{value}' is not supported with this model; supported: {supported}"
            raise PydanticCustomError("unsupported_value", message)
        return value

    return BeforeValidator(check)


_NEAREST = {"none": "medium", "minimal": "low"}
"""Efforts that clients send to all models, and what most servers of gpt-oss make of them.

gpt-oss always reasons. SGLang 0.5.23 and llama.cpp (llama_cpp_python 0.3.36) leave out `none`, so
the prompt has the default, medium; transformers 5.24 has it for every effort. SGLang makes
`minimal` low, llama.cpp writes it as it is. vLLM 0.33 refuses both.
"""
SupportedEffort = Annotated[
    Effort,
    _supported(("xhigh", "max"), "none, minimal, low, medium, high"),
    BeforeValidator(
        lambda effort: _NEAREST.get(effort, effort) if isinstance(effort, str) else effort
    ),
]
Verbosity = Annotated[Literal["medium"], _supported(("low", "high"), "medium")]
ServiceTier = Literal[
    "auto", "default", "flex", "scale", "priority", "fast", "ultrafast", "on_demand", "performance"
]
"""OpenAI's tiers and, last, those of Groq's API, whose clients send `on_demand` to any server."""


def _count_or_all(value: int) -> int:
    if value < -1:
        raise ValueError(f"must be 1 or more, or 0 or -1 for all tokens, not {value}")
    return max(value, 0)


TopK = Annotated[int, AfterValidator(_count_or_all)]
"""vLLM's `top_k`: 0 and -1 have no effect (`SamplingParams` of vLLM 0.32)."""


def _zero(value: float) -> float:
    if value:
        raise PydanticCustomError("unsupported_value", "only 0 is supported with this model")
    return value


Zero = Annotated[float, AfterValidator(_zero)]
"""An unsupported bias: only its neutral value is accepted."""


def _one(value: float) -> float:
    if value != 1:
        raise PydanticCustomError("unsupported_value", "only 1 is supported with this model")
    return value


One = Annotated[float, AfterValidator(_one)]
"""An unsupported factor: only its neutral value is accepted."""

Penalty = Annotated[float, Field(ge=-2, le=2)]
"""`frequency_penalty` or `presence_penalty`, with the bounds of OpenAI's API."""

Limit = Annotated[int, Field(ge=1)]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
"""`metadata`: up to 16 pairs of a name and a value."""


Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop),
    Field(max_length=4),
]
"""One stop string, or up to four."""


def _valid_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 128 letters, digits, underscores or hyphens")
    return name


FunctionName = Annotated[str, AfterValidator(_valid_name)]


class FunctionDefinition(RequestModel):
    """A function tool. If `strict`, calls follow its schema."""

    name: FunctionName
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @field_validator("strict")
    @classmethod
    def _enforceable(cls, strict: bool | None, given: ValidationInfo) -> bool | None:
        if strict:
            rules_for_calls(given.data.get("parameters"))
        return strict

    def tool(self) -> FunctionTool:
        """Return the tool of the conversation."""
        return FunctionTool(self.name, self.description, self.parameters, bool(self.strict))


class JsonSchema(RequestModel):
    """A named schema for the answer. If `strict`, the server refuses schemas it cannot enforce."""

    name: str
    description: str = ""
    strict: bool = False
    schema_: dict[str, Any] = Field(alias="schema", default_factory=dict)

    @field_validator("schema_")
    @classmethod
    def _enforceable(cls, schema: dict[str, Any], given: ValidationInfo) -> dict[str, Any]:
        rules_for(schema, strict=given.data.get("strict", False))
        return schema


class EffortChoice(RequestModel):
    """`reasoning` of a request."""

    effort: SupportedEffort | None = None
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
    """Convert a `JsonSchema`, a `JsonObjectFormat` or a `TextFormat` for the conversation."""
    match chosen:
        case JsonSchema():
            return AnswerFormat(chosen.name, chosen.schema_, chosen.description, chosen.strict)
        case JsonObjectFormat():
            return AnswerFormat("json_object", {"type": "object"}, "Any JSON object")
    return None


def require_json(chosen: object, items: Sequence[ConversationItem], param: str) -> None:
    """Refuse JSON mode if no text of the conversation contains the word JSON. Raises ApiError."""
    texts = (text for item in items for text in texts_of(item))
    if isinstance(chosen, JsonObjectFormat) and not any("json" in text.lower() for text in texts):
        message = f"'{param}' must contain the word 'json' to use the format 'json_object'."
        raise invalid(param, message)


class StreamOptions(RequestModel):
    """`stream_options` of a request. `continuous_usage_stats` is vLLM's."""

    include_usage: bool = False
    include_obfuscation: bool = False  # OpenAI's default is true
    continuous_usage_stats: Ignored = None


class AnswerRequest(RequestModel):
    """The fields of all requests for an answer.

    `seed` is an extension of Responses, and `top_k` is vLLM's extension of all APIs.
    """

    model: str
    prompt_cache_key: str | None = None
    prompt_cache_options: Ignored = None
    prompt_cache_retention: Ignored = None
    service_tier: ServiceTier = "auto"
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    top_k: TopK = 0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    frequency_penalty: Penalty = 0
    presence_penalty: Penalty = 0

    # Fields of vLLM, SGLang and llama.cpp that load testers send, with their neutral values only.
    ignore_eos: Literal[False] = False
    min_tokens: Zero = 0
    min_p: Zero = 0
    repetition_penalty: One = 1
    skip_special_tokens: Literal[True] = True
    stop_token_ids: Annotated[list[int], Field(max_length=0)] = Field(default_factory=list)

    @field_validator("stream_options")
    @classmethod
    def _streamed(cls, options: StreamOptions, given: ValidationInfo) -> StreamOptions:
        if not given.data.get("stream"):
            raise ValueError("is only allowed if 'stream' is true")
        return options

    def sampling(self, max_tokens: int | None, top_logprobs: int | None) -> SamplingParams:
        """Return the sampling parameters."""
        return SamplingParams(
            max_tokens or UNLIMITED,
            self.temperature,
            max(self.top_p, _SMALLEST_TOP_P),
            self.top_k,
            self.seed,
            STOP_TOKENS,
            top_logprobs,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
        )
