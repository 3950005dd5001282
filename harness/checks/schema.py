"""Replies, chunks and events against the types of the `openai` package, and what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.checks.base import CHAT, GUIDE, OPEN_RESPONSES, RESPONSES, Family, Problem
from harness.checks.subjects import Answer, answers, exchanges, good_statuses, readable
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange
from harness.parsing.sdk_types import OTHER_REASONING_EVENTS, event_model

family = Family("schema")

# What the Open Responses specification (2026-04-24) requires of every response object.
_REQUIRED_OF_RESPONSES = frozenset(
    {
        *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"),
        *("previous_response_id", "instructions", "output", "error", "tools", "tool_choice"),
        *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"),
        *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
        *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata"),
        *("safety_identifier", "prompt_cache_key"),
    }
)
_REQUIRED_OF_CHOICES = ("index", "finish_reason")
_REQUIRED_OF_MESSAGES = ("role", "content")

_ERROR_WHY = "Typed clients fail on it or hand their users values of the wrong type."
_MINOR_WHY = "The field is young, often left out or outside gpt-oss; clients get by without it."


@family.check(
    "reply.unreadable",
    over=good_statuses,
    severity="error",
    summary="A response with a good status can be read as its API's reply.",
    why="No client can use it.",
    source=GUIDE,
)
def _unreadable(turn: ParsedExchange) -> Iterator[Problem]:
    if turn.unreadable is not None:
        response = turn.exchange.response
        body = "" if response is None else response.body or ""
        yield Problem(turn, turn.unreadable, "a reply of this API", body or "(a stream)")


@family.check(
    "chat.schema",
    over=readable,
    severity="error",
    summary="Completions and chunks have the fields and types of the Chat Completions API.",
    why=_ERROR_WHY,
    source=CHAT,
    apis=("chat",),
)
def _chat(turn: ParsedExchange) -> Iterator[Problem]:
    return _problems(turn, minor=False)


@family.check(
    "chat.schema.minor",
    over=readable,
    severity="warning",
    summary="Completions and chunks agree with the API in its lesser fields, too.",
    why=_MINOR_WHY,
    source=CHAT,
    apis=("chat",),
)
def _chat_minor(turn: ParsedExchange) -> Iterator[Problem]:
    return _problems(turn, minor=True)


@family.check(
    "responses.schema",
    over=readable,
    severity="error",
    summary="Response objects and events have the fields and types of the Responses API.",
    why=_ERROR_WHY,
    source=RESPONSES,
    apis=("responses",),
)
def _responses(turn: ParsedExchange) -> Iterator[Problem]:
    return _problems(turn, minor=False)


@family.check(
    "responses.schema.minor",
    over=readable,
    severity="warning",
    summary="Response objects and events agree with the API in their lesser fields, too.",
    why=_MINOR_WHY,
    source=RESPONSES,
    apis=("responses",),
)
def _responses_minor(turn: ParsedExchange) -> Iterator[Problem]:
    return _problems(turn, minor=True)


@family.check(
    "responses.stream.event_type",
    over=readable,
    severity="warning",
    summary="Every event has a type that the Responses API knows.",
    why="Clients pass over events they do not know.",
    source=RESPONSES,
    apis=("responses",),
    modes=("streaming",),
)
def _event_type(turn: ParsedExchange) -> Iterator[Problem]:
    unknown = {
        event.type: event
        for event in reversed(turn.events)
        if event.data is not None and not event.is_error and event_model(event.type) is None
    }
    for kind, event in unknown.items():
        message = f"The event type {kind!r} is not in the API."
        yield Problem(turn, message, "a known event type", kind, "$.type", event.number)


@family.check(
    "responses.stream.reasoning_dialect",
    over=exchanges,
    severity="info",
    summary="Reasoning is streamed as response.reasoning_text.*, as gpt-oss's guide has it.",
    why="Open Responses' response.reasoning.* and vLLM's reasoning_part events are known variants.",
    source=OPEN_RESPONSES,
    apis=("responses",),
    modes=("streaming",),
)
def _reasoning_dialect(turn: ParsedExchange) -> Iterator[Problem]:
    other = next((event for event in turn.events if event.type in OTHER_REASONING_EVENTS), None)
    if other is not None:
        message = "Reasoning is streamed in another dialect than the guide's."
        expected = "response.reasoning_text.delta in a response.content_part"
        yield Problem(turn, message, expected, other.type, "$.type", other.number)


@family.check(
    "chat.schema.required",
    over=answers,
    severity="info",
    summary="What the API marks as required is there, be it null.",
    why="The openai package gets by without these keys, and so do most clients.",
    source=CHAT,
    apis=("chat",),
    modes=("non-streaming",),
)
def _chat_required(answer: Answer) -> Iterator[Problem]:
    for choice in objects(answer.reply.raw.get("choices")):
        message = choice.get("message")
        said: Mapping[str, object] = message if isinstance(message, dict) else {}
        missing = [key for key in _REQUIRED_OF_CHOICES if key not in choice]
        missing += [f"message.{key}" for key in _REQUIRED_OF_MESSAGES if key not in said]
        yield from _missing(answer.turn, missing, "$.choices[0]")


@family.check(
    "responses.schema.required",
    over=answers,
    severity="info",
    summary="A response has every key that Open Responses requires, be it null.",
    why="OpenAI's own types demand fewer; strict clients of Open Responses refuse the response.",
    source=OPEN_RESPONSES,
    apis=("responses",),
)
def _responses_required(answer: Answer) -> Iterator[Problem]:
    missing = sorted(_REQUIRED_OF_RESPONSES - answer.reply.raw.keys())
    yield from _missing(answer.turn, missing, "$")


def _missing(turn: ParsedExchange, keys: list[str], path: str) -> Iterator[Problem]:
    if keys:
        message = "Required keys are missing."
        yield Problem(turn, message, "every required key", f"without {', '.join(keys)}", path)


def _problems(turn: ParsedExchange, *, minor: bool) -> Iterator[Problem]:
    """Each place once, where it was first seen."""
    first = {miss.path: (event, miss) for event, miss in reversed(turn.mismatches)}
    for event, miss in reversed(first.values()):
        if miss.minor is minor:
            message = f"{miss.path}: {miss.message}."
            yield Problem(turn, message, miss.message, miss.got, miss.path, event)
