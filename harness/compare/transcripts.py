"""The conversation of a rollout as messages in the format of Chat Completions, for any API."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.api import DIALECTS
from harness.api.items import Reply, UnreadableReplyError
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Rollout

Message = dict[str, Any]
"""`role`, `content`, and where present `reasoning`, `tool_calls`, `tool_call_id`, `error`."""


@dataclass(frozen=True)
class Transcript:
    """A rollout and its conversation; the last message has `error` if it cannot be read."""

    rollout: Rollout
    messages: tuple[Message, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(_shown, self.messages))


def transcript(rollout: Rollout) -> Transcript:
    """Return the transcript of a rollout.

    Malformed requests and replies are read as far as possible.
    """
    messages: list[Message] = []
    for exchange in rollout.exchanges:
        body = exchange.request.body or {}
        if body.get("previous_response_id") is None:
            messages = []
        messages += sent(rollout.api, body)
        messages.append(received(read_reply(rollout.api, exchange)))
    return Transcript(rollout, tuple(messages))


def read_reply(api: Api, exchange: Exchange) -> Reply | str:
    """Return the reply of an exchange, or why there is no reply."""
    response = exchange.response
    if response is None or exchange.failure is not None:
        return exchange.failure.message if exchange.failure else "no response"
    if not response.good_status:
        return f"status {response.status}: {response.text or '(no body)'}"
    try:
        return DIALECTS[api].read(exchange)
    except UnreadableReplyError as error:
        return str(error)


def text_of(content: object) -> str:
    """Return text, the joined texts of content parts, or anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "\n".join(map(str, texts))
    return "" if content is None else json.dumps(content, ensure_ascii=False)


def received(reply: Reply | str) -> Message:
    """Return a reply as a message, or why there is no reply."""
    if isinstance(reply, str):
        return {"role": "assistant", "content": "", "error": reply}
    message: Message = {"role": "assistant", "content": reply.text}
    if reply.reasoning:
        message["reasoning"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [_call(call.id, call.name, call.arguments) for call in reply.calls]
    return message


def sent(api: Api, body: Mapping[str, Any]) -> Iterator[Message]:
    """Return the messages of a request, as far as they can be read."""
    return (_message(item) for item in DIALECTS[api].turns(body) if isinstance(item, dict))


def _message(item: Mapping[str, Any]) -> Message:
    """Return a message of Chat Completions, or an item of Responses as a message."""
    match item.get("type"):
        case "reasoning":
            return {"role": "assistant", "content": "", "reasoning": text_of(item.get("content"))}
        case "function_call":
            call = _call(item.get("call_id"), item.get("name"), item.get("arguments"))
            return {"role": "assistant", "content": "", "tool_calls": [call]}
        case "function_call_output":
            output = text_of(item.get("output"))
            return {"role": "tool", "content": output, "tool_call_id": item.get("call_id")}
    kept = ("reasoning", "tool_calls", "tool_call_id")
    message = {"role": str(item.get("role", "user")), "content": text_of(item.get("content"))}
    return message | {name: item[name] for name in kept if item.get(name)}


def _call(call_id: object, name: object, arguments: object) -> Message:
    function = {"name": str(name), "arguments": str(arguments)}
    return {"id": str(call_id), "type": "function", "function": function}


def _shown(message: Message) -> str:
    calls = message.get("tool_calls")
    parts = [
        f"[{message['role']}]",
        message.get("reasoning") and f"(chain of thought) {message['reasoning']}",
        message["content"],
        calls and f"(tool calls) {json.dumps(calls, ensure_ascii=False)}",
        message.get("error") and f"(no reply) {message['error']}",
    ]
    return "\n".join(part for part in parts if part)
