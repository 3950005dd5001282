"""Strict validation with the types of the `openai` package, with readable messages.

The package itself builds its objects without validation, so it never rejects a reply. This module
applies its types strictly: correct JSON types (no "3" for 3), required fields and closed sets of
values. Unknown fields are allowed. In a union, only the member that `type` names is considered.
What any release of the past year accepts is accepted; see `data/sdk_history.json`. The types are
imported on first use, which takes half a second.
"""

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.records.conditions import Api

# Fields that the package requires but healthy servers omit or set to null. Usage has checks.
_MAY_BE_MISSING = frozenset({"logprobs", "annotations"})
# Those that they only omit: Codex 0.171 ends at the details of a usage that are null or empty.
_MAY_BE_OMITTED = frozenset({"input_tokens_details", "output_tokens_details"})
# Times. Some servers send fractions of a second.
_MAY_BE_FRACTIONAL = frozenset({"created"})
# Members of chunks that may be null; some gateways send an empty string for null.
_MAY_BE_EMPTY = frozenset({"finish_reason", "role"})
# Closed sets of values that only concern OpenAI's own service.
_MAY_BE_OTHER = frozenset({"truncation", "effort", "verbosity", "summary"})
# A closed set whose values each provider defines: the name of a service level.
_FREE_TEXT = "service_tier"
EXEMPT_MEMBERS = frozenset({
    *_MAY_BE_MISSING, *_MAY_BE_OMITTED, *_MAY_BE_FRACTIONAL, *_MAY_BE_EMPTY, *_MAY_BE_OTHER,
    _FREE_TEXT,
})  # fmt: skip
"""The members that may differ from the types; `docs/exemptions.md` says which servers need it."""
# What clients do not read: repeated tools of the request, and objects of OpenAI's own service.
_UNREAD = re.compile(
    r"\$(\.response)?\.(tools\[|(tool_usage|moderation|access_programs|prompt_cache_\w+)\b)"
)
_LONGEST_VALUE = 120
# Fields whose type in the package is any string, wherever a string is allowed, or any object.
FREE_STRINGS = frozenset({
    *("id", "item_id", "call_id", "model", "name", "token", "system_fingerprint", "obfuscation"),
    *("delta", "text", "content", "arguments", "refusal", "reasoning", "reasoning_content"),
    *("description", "instructions", "previous_response_id", "encrypted_content"),
})  # fmt: skip
FREE_OBJECTS = frozenset({"parameters"})
# The parser reads larger integers as floats; the types accept them as integers.
_LARGEST_INTEGER = 2**63
_MOST_SHAPES = 1_000
_valid: set[object] = set()  # shapes of valid data, each with its type

_Location = tuple[int | str, ...]


@dataclass(frozen=True)
class Mismatch:
    """One difference between data and type. Minor ones do not make a reply invalid."""

    path: str
    message: str
    got: str
    minor: bool
    missing: bool = False  # a required member


def mismatches(
    model: type[BaseModel], text: str, data: Mapping[str, Any], judged: set[object]
) -> Sequence[Mismatch]:
    """Every difference between the JSON `text` (parsed as `data`) and `model`.

    Most events of a stream have one of a few shapes, and all data of one shape is equally valid.
    Shapes in `judged` are not reported again; the shape of `data` is added.
    """
    shape = model, shape_of(data)
    if shape in _valid or shape in judged:
        return ()
    judged.add(shape)
    misses: list[Mismatch] = []
    try:
        model.model_validate_json(text, strict=True)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        misses += _readable(
            model, [problem for problem in errors if not _accepted(model, problem)], data
        )
    if not misses:
        if len(_valid) >= _MOST_SHAPES:
            _valid.clear()
        _valid.add(shape)
    return misses


def shape_of(data: Mapping[str, Any]) -> tuple[object, object]:
    """A JSON object without the values that no type of the package restricts; hashable.

    Strings remain, except in fields of `FREE_STRINGS`. Lists become sets, because their elements
    are validated independently.
    """
    shape: list[object] = []
    for name, value in data.items():  # Inlined: most data is judged here.
        kind = type(value)
        if kind is str:
            shape.append(str if name in FREE_STRINGS else value)
        elif kind is dict:
            shape.append(dict if name in FREE_OBJECTS else shape_of(value))
        elif kind is list:
            shape.append(frozenset([_element_shape(name, element) for element in value]))
        else:
            large = kind is float and abs(value) >= _LARGEST_INTEGER  # An integer in the text?
            shape.append(value if kind is bool or large else kind)
    return tuple(data), tuple(shape)


def _element_shape(name: str, value: object) -> object:
    """Return the shape of an element of the list in a field."""
    if type(value) is dict and name not in FREE_OBJECTS:
        return shape_of(value)
    return shape_of({name: value})[1]


class _History(BaseModel):
    """Differences of some releases from the newest; fields are `module.Class.field`."""

    releases: list[str]
    newly_required: dict[str, str]
    formerly_accepted: dict[str, list[str]]


@cache
def _history() -> _History:
    path = resources.files("harness") / "data" / "sdk_history.json"
    return _History.model_validate_json(path.read_text("utf-8"))


def _accepted(model: type[BaseModel], error: ErrorDetails) -> bool:
    """Whether another release of the package has no such error."""
    steps = [step for step in error["loc"] if isinstance(step, str)]
    if not steps:
        return False
    *outer, field = steps
    if field == _FREE_TEXT and isinstance(error["input"], str):
        return True
    names = [f"{owner}.{field}" for owner in _owners(model, tuple(outer))]
    if error["type"] == "missing" or error["input"] is None:
        return any(name in _history().newly_required for name in names)
    former = (_history().formerly_accepted.get(name, ()) for name in names)
    return any(error["input"] in values for values in former)


@cache
def _owners(model: type[BaseModel], steps: Sequence[str]) -> Sequence[str]:
    """Return the models to which field names and names of union members lead: `module.Class`.

    Cached because a body without the members that are null has hundreds of errors.
    """
    models = [model]
    for step in steps:
        fields = [model.model_fields[step] for model in models if step in model.model_fields]
        inner = [model for field in fields for model in _models_in(field.annotation)]
        models = inner or [model for model in models if model.__name__ == step] or models
    return [f"{model.__module__.rpartition('.')[2]}.{model.__name__}" for model in models]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


@cache
def _event_models() -> Mapping[str, type[BaseModel]]:
    from openai.types.responses import ResponseStreamEvent

    union = get_args(ResponseStreamEvent)[0]
    known = {
        kind: model
        for model in get_args(union)
        for kind in get_args(model.model_fields["type"].annotation)
    }
    return {**known, **OTHER_REASONING_EVENTS}


def event_model(kind: str) -> type[BaseModel] | None:
    """Return the type of a Responses event in any dialect; None for unknown events."""
    return _event_models().get(kind)


@cache
def chunk_model() -> type[BaseModel]:
    """Return the type of a chunk of Chat Completions."""
    from openai.types.chat import ChatCompletionChunk

    return ChatCompletionChunk


@cache
def reply_model(api: Api) -> type[BaseModel]:
    """Return the type of a whole reply of an API."""
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response

    return ChatCompletion if api == "chat" else Response


class _Placed(BaseModel):
    item_id: str
    output_index: int
    content_index: int
    sequence_number: int


class _ReasoningDelta(_Placed):
    """`response.reasoning.delta` of Open Responses."""

    delta: str


class _ReasoningDone(_Placed):
    """`response.reasoning.done` of Open Responses."""

    text: str


class _Part(BaseModel):
    type: Literal["reasoning_text"]
    text: str


class _ReasoningPart(_Placed):
    """`response.reasoning_part.added` and `.done` of vLLM."""

    part: _Part


OTHER_REASONING_EVENTS: Mapping[str, type[BaseModel]] = {
    "response.reasoning.delta": _ReasoningDelta,
    "response.reasoning.done": _ReasoningDone,
    "response.reasoning_part.added": _ReasoningPart,
    "response.reasoning_part.done": _ReasoningPart,
}


def _readable(
    model: type[BaseModel], errors: Sequence[ErrorDetails], data: Mapping[str, Any]
) -> Iterator[Mismatch]:
    seen = set()
    for error in _of_meant_members(errors):
        path = _path(error, data)
        if path not in seen:
            seen.add(path)
            got = json.dumps(error["input"], ensure_ascii=False, default=str)
            missing = error["type"] == "missing"
            if missing:
                got = "no such field"
            if len(got) > _LONGEST_VALUE:
                got = f"{got[:_LONGEST_VALUE]}…"
            said = "a required field" if missing else error["msg"]
            yield Mismatch(path, said, got, _is_minor(model, error, path), missing)


def _of_meant_members(errors: Sequence[ErrorDetails]) -> Sequence[ErrorDetails]:
    """Drop the errors of union members that `type` rules out, but keep one error about `type`.

    Without a `type`, the member with the fewest errors is considered.
    """
    errors = _without_worse_members(errors)
    wrong_type = {
        error["loc"][:-1]: error
        for error in errors
        if error["loc"] and error["loc"][-1] == "type" and error["type"] == "literal_error"
    }
    kept = [error for error in errors if not _below(error["loc"], wrong_type)]
    for member, error in wrong_type.items():
        union = member[:-1]
        if _below(union, wrong_type) or any(_below(other["loc"], [union]) for other in kept):
            continue
        kept.append(error | {"msg": "Input should be a known type"})
    return kept


def _without_worse_members(errors: Sequence[ErrorDetails]) -> Sequence[ErrorDetails]:
    """The errors without those of union members that lack `type` and fit worse than another."""
    missing = [error["loc"] for error in errors if error["type"] == "missing"]
    # The location of a member of a union ends with the name of a class.
    untyped = [
        loc[:-1] for loc in missing if loc[1:] and loc[-1] == "type" and str(loc[-2])[:1].isupper()
    ]
    counts = {member: sum(_below(error["loc"], [member]) for error in errors) for member in untyped}
    best: dict[_Location, _Location] = {}
    for member in sorted(counts, key=counts.__getitem__):
        best.setdefault(member[:-1], member)
    worse = counts.keys() - best.values()
    return [error for error in errors if not _below(error["loc"], worse)]


def _below(loc: _Location, prefixes: Container[_Location]) -> bool:
    return any(loc[:end] in prefixes for end in range(len(loc) + 1))


def _path(error: ErrorDetails, data: object) -> str:
    """JSON path of an error: its location without the names of union members."""
    path, here = "$", data
    for step in error["loc"]:
        if isinstance(step, int) and isinstance(here, list) and step < len(here):
            path, here = f"{path}[{step}]", here[step]
        elif isinstance(step, str) and isinstance(here, dict) and step in here:
            path, here = f"{path}.{step}", here[step]
    last = error["loc"][-1] if error["loc"] else ""
    return f"{path}.{last}" if error["type"] == "missing" else path


def _is_minor(model: type[BaseModel], error: ErrorDetails, path: str) -> bool:
    if _UNREAD.match(path):
        return True
    name = re.split(r"[.\[]", path.rstrip("]"))[-1]
    if error["type"] == "missing" and name in _MAY_BE_OMITTED:
        return True
    if error["type"] == "missing" or error["input"] is None:
        return name in _MAY_BE_MISSING
    if name in _MAY_BE_FRACTIONAL and isinstance(error["input"], float):
        return True
    if error["type"] != "literal_error":
        return False
    empty = model is chunk_model() and name in _MAY_BE_EMPTY and error["input"] == ""
    return empty or (name in _MAY_BE_OTHER and isinstance(error["input"], str))


_NEEDED_BY_SDK = re.compile(
    r"\$\.(?:response|item|part|delta|output_index|content_index)"
    r"|\$\.(?:object|choices)|\$\.choices\[\d+\]\.(?:index|delta)"
    r"|\$\.choices\[\d+\]\.delta\.tool_calls\[\d+\]\.index"
)
"""Fields of events without which the stream helpers of the `openai` package raise an error."""


def stops_sdk(event: int | None, path: str | None) -> bool:
    """Whether a wrong field, of an event with a number, makes the helpers of OpenAI's SDK fail."""
    return event is not None and path is not None and bool(_NEEDED_BY_SDK.fullmatch(path))
