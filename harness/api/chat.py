"""Chat Completions: the CoT is `reasoning` on the assistant message, or `reasoning_content`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.base import Finish, Replies, Reply, Settings, Tool, UnreadableReplyError
from harness.api.conversation import ConversationItem, Message, Thought, ToolCall, ToolResult
from harness.api.fields import (
    good_response,
    is_done,
    json_body,
    json_events,
    member,
    objects,
    optional_member,
    read_usage,
)
from harness.records.rollouts import Api, Exchange, Response
from harness.steps import ITEMS_IN_A_STEP, Steps, completed

FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}
Placed = tuple[str, dict[str, Any]]
REASONING_FIELDS = ("reasoning", "reasoning_content")
TEXT_FIELDS = ("content", *REASONING_FIELDS)


class ChatDialect:
    """POST /chat/completions."""

    api: Api = "chat"
    path = "/chat/completions"

    def __init__(self) -> None:
        self._replies = Replies()

    def first_request(
        self,
        turns: Sequence[ConversationItem],
        *,
        instructions: str | None,
        tools: Sequence[Tool],
        streaming: bool,
        settings: Settings,
    ) -> dict[str, Any]:
        """The body of the first request of a rollout; `instructions` become a system message."""
        messages = _messages(turns)
        if instructions is not None:
            messages.insert(0, {"role": "system", "content": instructions})
        body: dict[str, Any] = {"model": settings.model, "messages": messages}
        if tools:
            body["tools"] = [{"type": "function", "function": _function(tool)} for tool in tools]
        if streaming:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        options = {
            "reasoning_effort": settings.reasoning_effort,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "seed": settings.seed,
        }
        body |= {name: value for name, value in options.items() if value is not None}
        return body | dict(settings.extra_body or {})

    def next_request(
        self,
        body: Mapping[str, Any],
        reply: Reply,
        turns: Sequence[ConversationItem],
        *,
        stored: bool = False,
    ) -> dict[str, Any]:
        """The body after `reply`: its CoT and calls sent back, then `turns`.

        The CoT goes back as `reasoning`, and in the provider's own field as well if it used
        another one.
        """
        _, choice = _first(objects(reply.raw, "choices", ""))
        message = choice["message"]
        assistant: dict[str, Any] = {"role": "assistant", "content": message.get("content")}
        if reply.reasoning:
            assistant["reasoning"] = reply.reasoning
        for own_field in ("reasoning_content", "reasoning_details"):
            if message.get(own_field):
                assistant[own_field] = message[own_field]
        if reply.calls:
            assistant["tool_calls"] = [_tool_call(call) for call in reply.calls]
        return {**body, "messages": [*body["messages"], assistant, *_messages(turns)]}

    def read(self, exchange: Exchange) -> Reply:
        """Read a finished exchange. Raises UnreadableReplyError."""
        return completed(self.reading(exchange))

    def reading(self, exchange: Exchange) -> Steps[Reply]:
        """`read` in small steps."""
        known = self._replies.recall(exchange)
        if known is not None:
            return known
        response = good_response(exchange)
        if (exchange.request.body or {}).get("stream"):
            raw = yield from _reassembled(response)
        else:
            raw = json_body(response)
        return self._replies.keep(exchange, _reply(raw))


def _messages(turns: Sequence[ConversationItem]) -> list[dict[str, Any]]:
    """Turns as messages: a thought and what follows it until the next are one assistant's."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        match turn:
            case Message(role="assistant"):
                _open_message(messages)["content"] = _content(turn.text)
            case Thought():
                messages.append({"role": "assistant", "content": None, "reasoning": turn.text})
            case ToolCall():
                _own_message(messages).setdefault("tool_calls", []).append(_tool_call(turn))
            case ToolResult():
                result = {
                    "role": "tool",
                    "tool_call_id": turn.call_id,
                    "content": _content(turn.text),
                }
                messages.append(result)
            case Message():
                messages.append({"role": turn.role, "content": _content(turn.text)})
    return messages


def _open_message(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The last message if it is an assistant's that has no text yet, else a new one."""
    if messages and messages[-1]["role"] == "assistant" and messages[-1]["content"] is not None:
        messages.append({"role": "assistant", "content": None})
    return _own_message(messages)


def _own_message(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The last message if it is an assistant's, else a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _content(text: str | tuple[str, ...]) -> str | list[dict[str, Any]]:
    if isinstance(text, str):
        return text
    return [{"type": "text", "text": part} for part in text]


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def _reply(raw: dict[str, Any]) -> Reply:
    """Read a whole chat.completion object."""
    choices = objects(raw, "choices", "")
    if not choices:
        raise UnreadableReplyError("choices is empty or missing")
    path, choice = _first(choices)
    message = member(choice, "message", dict, path)
    finish = optional_member(choice, "finish_reason", str, path)
    path = f"{path}.message"
    return Reply(
        reasoning=_reasoning(message, path),
        text=optional_member(message, "content", str, path) or "",
        calls=tuple(_call(call, place) for place, call in objects(message, "tool_calls", path)),
        finish=FINISHES.get(finish or "", "unknown"),
        usage=read_usage(raw, given="prompt", made="completion"),
        raw=raw,
    )


def _first(choices: Sequence[Placed]) -> Placed:
    return next(filter(_is_first, choices), choices[0])


def _is_first(placed: Placed) -> bool:
    """Whether this is the choice that is read, were there several."""
    return not placed[1].get("index")


def _reasoning(message: Mapping[str, Any], path: str) -> str:
    for name in REASONING_FIELDS:
        text = optional_member(message, name, str, path)
        if text:
            return text
    details = objects(message, "reasoning_details", path)
    return "".join(optional_member(item, "text", str, place) or "" for place, item in details)


def _call(call: Mapping[str, Any], path: str) -> ToolCall:
    function = member(call, "function", dict, path)
    return ToolCall(
        id=member(call, "id", str, path),
        name=member(function, "name", str, f"{path}.function"),
        arguments=member(function, "arguments", str, f"{path}.function"),
    )


def _reassembled(response: Response) -> Steps[dict[str, Any]]:
    """The chat.completion object that the chunks of a stream add up to."""
    whole: dict[str, Any] = {}
    message = _Message()
    finish: str | None = None
    for count, (event, chunk) in enumerate(json_events(response), start=1):
        if count % ITEMS_IN_A_STEP == 0:
            yield
        whole.update({key: value for key, value in chunk.items() if value is not None})
        choices = objects(chunk, "choices", f"stream part {event.part}: ")
        for path, choice in filter(_is_first, choices):
            finish = optional_member(choice, "finish_reason", str, path) or finish
            delta = optional_member(choice, "delta", dict, path)
            if delta:
                message.add(delta, f"{path}.delta")
    if finish is None and not is_done(response):
        raise UnreadableReplyError("the stream ended without a finish_reason and without [DONE]")
    choice = {"index": 0, "message": message.whole(), "finish_reason": finish}
    return {**whole, "object": "chat.completion", "choices": [choice]}


class _Message:
    """An assistant message in the making; texts stay in pieces until the end."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._details: list[dict[str, Any]] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, delta: Mapping[str, Any], path: str) -> None:
        """Take one delta. Raises UnreadableReplyError."""
        for name in delta:
            if name in TEXT_FIELDS:
                text = optional_member(delta, name, str, path)
                if text is not None:
                    self._texts.setdefault(name, []).append(text)
            elif name == "reasoning_details":
                for _, detail in objects(delta, name, path):
                    self._add_detail(detail)
            elif name == "tool_calls":
                for call_path, call in objects(delta, name, path):
                    self._add_call(call, call_path)

    def _add_detail(self, delta: Mapping[str, Any]) -> None:
        """Join the pieces of one text; gateways want details back as whole as they were made."""
        last = self._details[-1] if self._details else {}
        text, before = delta.get("text"), last.get("text")
        same = all(last.get(key) == delta.get(key) for key in ("type", "index", "id"))
        if same and isinstance(text, str) and isinstance(before, str):
            last |= {key: value for key, value in delta.items() if value is not None}
            last["text"] = before + text
        else:
            self._details.append(dict(delta))

    def _add_call(self, delta: Mapping[str, Any], path: str) -> None:
        index = member(delta, "index", int, path)
        call = self._calls.setdefault(index, {"type": "function", "function": {}})
        identity = optional_member(delta, "id", str, path)
        if identity:
            call.setdefault("id", identity)
        function = optional_member(delta, "function", dict, path) or {}
        path = f"{path}.function"
        name = optional_member(function, "name", str, path)
        if name:
            call["function"].setdefault("name", name)
        arguments = optional_member(function, "arguments", str, path) or ""
        self._arguments.setdefault(index, []).append(arguments)

    def whole(self) -> dict[str, Any]:
        """The message as it would have come without streaming."""
        message: dict[str, Any] = {"role": "assistant", "content": None}
        message |= {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = [self._whole_call(index) for index in sorted(self._calls)]
        return message

    def _whole_call(self, index: int) -> dict[str, Any]:
        call = self._calls[index]
        arguments = "".join(self._arguments[index])
        return {**call, "function": {**call["function"], "arguments": arguments}}
