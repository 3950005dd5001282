"""Responses: the CoT is a `reasoning` item in `output`, sent back in `input` as it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api.base import Finish, Replies, Reply, Settings, Tool, UnreadableReplyError
from harness.api.conversation import ConversationItem, Message, Thought, ToolCall, ToolResult
from harness.api.fields import (
    error_message,
    excerpt,
    good_response,
    json_body,
    json_events,
    member,
    objects,
    optional_member,
    read_usage,
)
from harness.records.rollouts import Api, Exchange, Response
from harness.steps import ITEMS_IN_A_STEP, Steps, completed

FINAL_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})
INCOMPLETE: Mapping[str, Finish] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


class ResponsesDialect:
    """POST /responses.

    Unless told otherwise, every request carries the whole conversation and asks the provider to
    store nothing.
    """

    api: Api = "responses"
    path = "/responses"

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
        """The body of the first request of a rollout."""
        body: dict[str, Any] = {
            "model": settings.model,
            "input": _items(turns),
            "store": settings.stored,
        }
        if instructions is not None:
            body["instructions"] = instructions
        if tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                    "strict": False,
                }
                for tool in tools
            ]
        if streaming:
            body["stream"] = True
        if settings.reasoning_effort is not None:
            body["reasoning"] = {"effort": settings.reasoning_effort}
        options = {
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_output_tokens": settings.max_tokens,
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

        A stored reply is only named by its id.
        """
        items = _items(turns)
        if stored:
            return {**body, "previous_response_id": reply.raw.get("id"), "input": items}
        return {**body, "input": [*body["input"], *reply.raw["output"], *items]}

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
            raw = yield from _final_object(response)
        else:
            raw = json_body(response)
        return self._replies.keep(exchange, _reply(raw))


def _items(turns: Sequence[ConversationItem]) -> list[dict[str, Any]]:
    return [_item(turn, f"rs_{at}") for at, turn in enumerate(turns)]


def _item(turn: ConversationItem, reasoning_id: str) -> dict[str, Any]:
    match turn:
        case Message():
            return {"type": "message", "role": turn.role, "content": _content(turn)}
        case Thought():
            content = [{"type": "reasoning_text", "text": turn.text}]
            return {"type": "reasoning", "id": reasoning_id, "summary": [], "content": content}
        case ToolCall():
            call = {"type": "function_call", "call_id": turn.id, "name": turn.name}
            return call | {"arguments": turn.arguments}
        case ToolResult():
            output = {"type": "function_call_output", "call_id": turn.call_id}
            return output | {"output": _parts(turn.text, "input_text")}


def _content(message: Message) -> str | list[dict[str, Any]]:
    return _parts(message.text, "output_text" if message.role == "assistant" else "input_text")


def _parts(text: str | tuple[str, ...], kind: str) -> str | list[dict[str, Any]]:
    if isinstance(text, str):
        return text
    return [{"type": kind, "text": part} for part in text]


def _reply(raw: dict[str, Any]) -> Reply:
    """Read a whole response object."""
    member(raw, "output", list, "")
    reasoning: list[str] = []
    text: list[str] = []
    calls: list[ToolCall] = []
    for path, item in objects(raw, "output", ""):
        kind = member(item, "type", str, path)
        if kind == "reasoning":
            reasoning.extend(_texts(item, "reasoning_text", path))
        elif kind == "message":
            text.extend(_texts(item, "output_text", path))
        elif kind == "function_call":
            calls.append(
                ToolCall(
                    id=member(item, "call_id", str, path),
                    name=member(item, "name", str, path),
                    arguments=member(item, "arguments", str, path),
                )
            )
    return Reply(
        reasoning="".join(reasoning),
        text="".join(text),
        calls=tuple(calls),
        finish=_finish(raw, called=bool(calls)),
        usage=read_usage(raw, given="input", made="output"),
        raw=raw,
    )


def _texts(item: Mapping[str, Any], kind: str, path: str) -> list[str]:
    """The texts of the content parts of one kind."""
    return [
        member(part, "text", str, place)
        for place, part in objects(item, "content", path)
        if part.get("type") == kind
    ]


def _finish(raw: Mapping[str, Any], *, called: bool) -> Finish:
    status = optional_member(raw, "status", str, "")
    if status == "completed":
        return "tool_calls" if called else "stop"
    if status == "incomplete":
        details = optional_member(raw, "incomplete_details", dict, "") or {}
        return INCOMPLETE.get(str(details.get("reason")), "unknown")
    if status == "failed":
        raise UnreadableReplyError(f"the response failed: {error_message(raw.get('error'))}")
    return "unknown"


def _final_object(response: Response) -> Steps[dict[str, Any]]:
    """The response object that the last event of a stream carries."""
    last = ""
    final: dict[str, Any] | None = None
    for count, (event, data) in enumerate(json_events(response), start=1):
        if count % ITEMS_IN_A_STEP == 0:
            yield
        if final is not None:
            continue
        place = f"stream part {event.part}: "
        last = optional_member(data, "type", str, place) or event.name
        if last in FINAL_EVENTS:
            final = member(data, "response", dict, place)
        elif last == "error":
            raise UnreadableReplyError(f"stream part {event.part} is an error: {_error(data)}")
    if final is None:
        raise UnreadableReplyError(
            f"the stream ended without response.completed; its last event was {last or 'unnamed'}"
        )
    return final


def _error(data: Mapping[str, Any]) -> str:
    message = data.get("message")
    return message if isinstance(message, str) else excerpt(str(dict(data)))
