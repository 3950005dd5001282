"""Faults of what a request brings along of earlier turns, and of stored responses."""

from __future__ import annotations

from collections.abc import Iterable

from reference_engine.faults.base import Family
from reference_engine.faults.seams import DATA, REQUEST, Asked, Json
from reference_engine.server.errors import ApiError, invalid

family = Family("history")


def _messages(body: Json) -> list[Json]:
    """The messages of a Chat request or the items of a Responses request."""
    found = body.get("messages", body.get("input"))
    return found if isinstance(found, list) else []


def _with_messages(body: Json, messages: Iterable[Json]) -> Json:
    key = "messages" if "messages" in body else "input"
    return body | {key: list(messages)} if _messages(body) else body


@family.fault(
    REQUEST,
    "chat-reasoning-not-replayed",
    "The field reasoning of earlier Chat messages is ignored.",
    source="vllm#27653",
    detectors=("prompt.cot.kept",),
)
def _chat_reasoning_not_replayed(body: Json, _: Asked) -> Json:
    hidden = {"reasoning", "reasoning_content"}
    if "messages" not in body:
        return body
    return _with_messages(
        body, ({k: v for k, v in each.items() if k not in hidden} for each in _messages(body))
    )


@family.fault(
    REQUEST,
    "reasoning-items-not-replayed",
    "Reasoning items in the input of a Responses request are ignored.",
    source="vllm#33089",
    detectors=("prompt.cot.kept",),
)
def _reasoning_items_not_replayed(body: Json, _: Asked) -> Json:
    items = (each for each in _messages(body) if each.get("type") != "reasoning")
    return _with_messages(body, items)


@family.fault(
    REQUEST,
    "reasoning-items-refused",
    "A request with a reasoning item in its input is refused.",
    source="vllm PR#28248",
    detectors=("prompt.cot.kept", "request.refused"),
)
def _reasoning_items_refused(body: Json, _: Asked) -> Json:
    for at, item in enumerate(_messages(body)):
        if item.get("type") == "reasoning":
            raise invalid(f"input[{at}]", "Unexpected item type in input: reasoning.")
    return body


@family.fault(
    REQUEST,
    "chat-reasoning-refused",
    "A Chat request whose history holds reasoning is refused.",
    source="aws-samples/bedrock-engineer PR#240",
    detectors=("prompt.cot.kept", "request.refused"),
)
def _chat_reasoning_refused(body: Json, asked: Asked) -> Json:
    for at, message in enumerate(_messages(body)):
        if asked.dialect == "chat" and "reasoning" in message:
            text = "ValidationException: the model does not support reasoningContent."
            raise invalid(f"messages[{at}].reasoning", text)
    return body


@family.fault(
    REQUEST,
    "thinking-with-calls-crashes",
    "An earlier message with content, reasoning and tool calls together crashes the template.",
    source="llama.cpp#19701",
    detectors=("cot.accepted.beside_text", "request.failed"),
)
def _thinking_with_calls_crashes(body: Json, _: Asked) -> Json:
    for message in _messages(body):
        if all(message.get(key) for key in ("content", "reasoning", "tool_calls")):
            raise ApiError(500, "Cannot pass both content and thinking in an assistant message.")
    return body


@family.fault(
    REQUEST,
    "empty-messages-stripped",
    "A gateway removes earlier messages without content, and with them calls and their results.",
    source="OpenRouter Discord (doublepost.link)",
    detectors=("prompt.call",),
)
def _empty_messages_stripped(body: Json, _: Asked) -> Json:
    kept = [m for m in _messages(body) if m.get("content") or "tool_calls" not in m]
    called = {call["id"] for m in kept for call in m.get("tool_calls", ())}
    kept = [m for m in kept if m.get("tool_call_id") is None or m["tool_call_id"] in called]
    return _with_messages(body, kept)


@family.fault(
    REQUEST,
    "null-content-as-text",
    "The null content of an earlier message that only calls reaches the prompt as 'None'.",
    source="ddalcu/mlx-serve PR#247",
    detectors=("prompt.call",),
)
def _null_content_as_text(body: Json, _: Asked) -> Json:
    def spelt(message: Json) -> Json:
        calls = message.get("tool_calls") and message.get("content") is None
        return message | {"content": "None"} if calls else message

    return _with_messages(body, map(spelt, _messages(body)))


@family.fault(
    REQUEST,
    "content-parts-lost",
    "Of a content that comes in parts only the first one is read.",
    source="vllm PR#25593",
    detectors=("prompt.parts",),
)
def _content_parts_lost(body: Json, _: Asked) -> Json:
    def first_part(message: Json) -> Json:
        content = message.get("content")
        cut = isinstance(content, list) and message.get("type") != "reasoning"
        return message | {"content": content[:1]} if cut and content else message

    return _with_messages(body, map(first_part, _messages(body)))


@family.fault(
    REQUEST,
    "result-parts-lost",
    "A tool result whose content comes in parts is read as empty.",
    source="ollama f86a969f2",
    detectors=("prompt.result.parts",),
)
def _result_parts_lost(body: Json, _: Asked) -> Json:
    def emptied(message: Json) -> Json:
        key = "output" if message.get("type") == "function_call_output" else "content"
        result = key == "output" or message.get("role") == "tool"
        return message | {key: ""} if result and isinstance(message.get(key), list) else message

    return _with_messages(body, map(emptied, _messages(body)))


@family.fault(
    REQUEST,
    "previous-response-ignored",
    "previous_response_id is accepted, but nothing of the previous response is used.",
    source="vllm#43244",
    detectors=("state.previous_response",),
)
def _previous_response_ignored(body: Json, _: Asked) -> Json:
    if "previous_response_id" not in body:
        return body
    items = (each for each in _messages(body) if each.get("type") != "function_call_output")
    body = _with_messages(body, items) | {"previous_response_id": None}
    return body if body.get("input") else body | {"input": " "}


@family.also(DATA, "previous-response-ignored")
def _echo_previous(data: Json, asked: Asked) -> Json:
    response = data.get("response", data)
    if "previous_response_id" in response:
        response["previous_response_id"] = asked.body.get("previous_response_id")
    return data


@family.fault(
    REQUEST,
    "streamed-response-not-stored",
    "A response that was streamed cannot be continued by its id.",
    source="lmstudio-bug-tracker#1188",
    detectors=("state.previous_response",),
)
def _streamed_response_not_stored(body: Json, asked: Asked) -> Json:
    stored = asked.dialect == "chat" or not asked.streaming
    return body if stored else body | {"store": False}


@family.also(DATA, "streamed-response-not-stored")
def _echo_store(data: Json, asked: Asked) -> Json:
    response = data.get("response", data)
    if "store" in response:
        response["store"] = asked.body.get("store", True)
    return data
