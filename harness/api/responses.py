"""Responses: the CoT is a `reasoning` item in `output`, sent back unchanged in `input`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from harness.api.dialect import Dialect, json_events
from harness.api.fields import (
    failure_reason,
    member,
    objects,
    objects_at,
    optional_member,
    quoted,
    read_usage,
)
from harness.api.items import (
    Body,
    ConversationItem,
    Finish,
    History,
    Items,
    Message,
    Reasoning,
    Reply,
    RequestSettings,
    Tool,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
    text_parts,
)
from harness.api.sse import StreamEvent
from harness.records.conditions import Api
from harness.records.rollouts import Response

FINAL_EVENTS: Mapping[str, str] = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
"""The events that end a stream, and the status of their response."""
CODE_INTERPRETER: Mapping[str, Any] = {"type": "code_interpreter", "container": {"type": "auto"}}
"""The built-in tool `python` in a request."""
CODE_INTERPRETER_CALL = "code_interpreter_call"  # the type of its calls in `output`
INCOMPLETE: Mapping[str, Finish] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}


class ResponsesDialect(Dialect):
    """POST /responses."""

    api: Api = "responses"
    path = "/responses"
    sdk = "responses"
    streaming: ClassVar = {"stream": True}

    def next_request(
        self, body: Mapping[str, Any], reply: Reply, items: Items, *, history: History = "sent"
    ) -> Body:
        """Return the body after `reply` and `items`."""
        added, output = _items(items), reply.raw["output"]
        if history == "response":
            return {**body, "previous_response_id": reply.raw.get("id"), "input": added}
        if history == "conversation":
            return {**body, "input": added}
        if history == "items":
            output = map(_reference, output)
        return {**body, "input": [*body["input"], *output, *added]}

    def turns(self, body: Mapping[str, Any]) -> list[Any]:
        """Return the items of `input`, after the instructions."""
        given, instructions = body.get("input"), body.get("instructions")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        first = [] if instructions is None else [{"role": "developer", "content": instructions}]
        return first + (items if isinstance(items, list) else [])

    def logprob_options(self, alternatives: int) -> dict[str, Any]:
        """Return the body members that request logprobs."""
        return {"include": ["message.output_text.logprobs"], "top_logprobs": alternatives}

    def logprobs(self, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the entries of the answer's tokens."""
        messages = [item for item in objects(raw.get("output")) if item.get("type") == "message"]
        parts = [part for item in messages for part in objects(item.get("content"))]
        return [entry for part in parts for entry in objects(part.get("logprobs"))]

    def _conversation(
        self,
        items: Items,
        instructions: str | None,
        tools: Sequence[Tool],
        settings: RequestSettings,
    ) -> Body:
        sent = {} if instructions is None else {"instructions": instructions}
        return {
            "input": _items(items),
            "store": settings.history != "sent",
            **sent,
            **self.offered(tools),
        }

    def _tool(self, tool: Tool) -> Body:
        return {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": False,
        }

    def _options(self, settings: RequestSettings) -> Body:
        effort = settings.reasoning_effort
        return {
            "reasoning": None if effort is None else {"effort": effort},
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_output_tokens": settings.max_tokens,
        }

    def _reassembled(self, response: Response, events: Iterable[StreamEvent]) -> Body:
        """Return the response object of the final event of a stream, with the items that it lacks.

        They are those of the stream, if it has none: `responses.stream.final` reports that.
        """
        last = ""
        done: list[object] = []
        final: dict[str, Any] | None = None
        for event, data in json_events(response, events):
            if final is not None:
                continue
            place = f"stream part {event.number}: "
            last = event.type or optional_member(data, "type", str, place) or event.name
            if last in FINAL_EVENTS:
                final = member(data, "response", dict, place)
                final = final | {"output": done} if final.get("output") == [] else final
            elif last == "response.output_item.done":
                done.append(data.get("item"))
            elif last == "error":
                message = data.get("message")
                shown = message if isinstance(message, str) else quoted(str(dict(data)))
                raise UnreadableReplyError(f"stream part {event.number} is an error: {shown}")
        if final is None and not last:
            raise UnreadableReplyError("no event of the stream has the member `type` in its data")
        if final is None:
            raise UnreadableReplyError(
                f"the stream ended without response.completed; its last event was {last}"
            )
        return final

    def _reply(self, raw: Body) -> Reply:
        member(raw, "output", list, "")
        reasoning: list[str] = []
        text: list[str] = []
        calls: list[ToolCall] = []
        custom: list[ToolCall] = []
        refused = False
        for path, item in objects_at(raw, "output", ""):
            kind = member(item, "type", str, path)
            if kind == "reasoning":
                reasoning.extend(_texts(item, None, path) or summary(item))
            elif kind == "message":
                refusals = _texts(item, "refusal", path)
                refused |= any(refusals)
                text.extend(_texts(item, "output_text", path) or refusals)
            elif kind == "function_call":
                fields = (member(item, key, str, path) for key in ("call_id", "name", "arguments"))
                calls.append(ToolCall(*fields))
            elif kind == "custom_tool_call":
                given = (str(item.get(key) or "") for key in ("call_id", "name", "input"))
                custom.append(ToolCall(*given))
        return Reply(
            reasoning="".join(reasoning),
            text="".join(text),
            calls=tuple(calls),
            finish="content_filter" if refused else _finish(raw, called=bool(calls)),
            usage=read_usage(raw, prompt="input", completion="output"),
            raw=raw,
            custom_calls=tuple(custom),
        )


def _items(items: Items) -> list[Body]:
    return [_item(item, f"rs_{at}") for at, item in enumerate(items)]


def _item(item: ConversationItem, reasoning_id: str) -> Body:
    match item:
        case Message():
            kind = "output_text" if item.role == "assistant" else "input_text"
            return {"type": "message", "role": item.role, "content": text_parts(item.text, kind)}
        case Reasoning():
            content = [{"type": "reasoning_text", "text": item.text}]
            return {"type": "reasoning", "id": reasoning_id, "summary": [], "content": content}
        case ToolCall():
            call = {"type": "function_call", "call_id": item.id, "name": item.name}
            return call | {"arguments": item.arguments}
        case ToolResult():
            output = {"type": "function_call_output", "call_id": item.call_id}
            return output | {"output": text_parts(item.text, "input_text")}


def _reference(item: Mapping[str, Any]) -> Body:
    """Return an item as the Vercel AI SDK sends it back: calls are sent, other items are named."""
    if item.get("type") == "function_call":
        return {key: item.get(key) for key in ("type", "call_id", "name", "arguments")}
    return {"type": "item_reference", "id": item.get("id")}


def _texts(item: Mapping[str, Any], kind: str | None, path: str) -> list[str]:
    """Return the texts of the content parts of type `kind`; None: of all parts that have a text.

    Servers such as LiteLLM give the CoT the type of an answer. It is wrong, but not lost.
    """
    return [
        member(part, "refusal" if kind == "refusal" else "text", str, place)
        for place, part in objects_at(item, "content", path)
        if (part.get("type") == kind if kind else isinstance(part.get("text"), str))
    ]


def summary(item: Mapping[str, Any]) -> list[str]:
    """Return the texts in the summary of a reasoning item whose CoT is not encrypted.

    Some servers put the raw CoT there.
    """
    parts = [] if item.get("encrypted_content") else objects(item.get("summary"))
    return [text for part in parts if isinstance(text := part.get("text"), str)]


def _finish(raw: Mapping[str, Any], *, called: bool) -> Finish:
    status = optional_member(raw, "status", str, "")
    if status == "completed":
        return "tool_calls" if called else "stop"
    if status == "incomplete":
        details = optional_member(raw, "incomplete_details", dict, "") or {}
        return INCOMPLETE.get(str(details.get("reason")), "unknown")
    if status == "failed":
        reason = failure_reason(raw) or "it states no reason"
        raise UnreadableReplyError(f"the response failed: {reason}")
    return "unknown"
