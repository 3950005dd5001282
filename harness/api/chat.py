"""Chat Completions: the CoT is `reasoning` on the assistant message, or `reasoning_content`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from harness.api.dialect import Dialect, choices_of, json_events, require_end
from harness.api.fields import member, nested, objects, objects_at, optional_member, read_usage
from harness.api.items import (
    Body,
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
    text_parts,
)
from harness.api.sse import StreamEvent
from harness.api.statuses import meaning
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response

FINISHES: Mapping[str, Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}
REASONING_FIELDS = ("reasoning", "reasoning_content")
TEXT_FIELDS = ("content", "refusal", *REASONING_FIELDS)
_CUSTOM = "custom"  # the type of the call of a tool whose input is a text of any form


class ChatDialect(Dialect):
    """POST /chat/completions."""

    api: Api = "chat"
    path = "/chat/completions"
    sdk = "chat.completions"
    streaming: ClassVar = {"stream": True, "stream_options": {"include_usage": True}}

    def next_request(
        self, body: Mapping[str, Any], reply: Reply, items: Items, *, history: History = "sent"
    ) -> Body:
        """The body after `reply`, with its calls, its CoT in the fields it used, and `items`.

        The CoT is in no other field: servers for which two fields are one reject both together.
        """
        _, choice = _first(choices_of(reply.raw))
        message = choice["message"]
        assistant: dict[str, Any] = {"role": "assistant", "content": message.get("content")}
        for field in (*REASONING_FIELDS, "reasoning_details"):
            if message.get(field):
                assistant[field] = message[field]
        if reply.calls:
            assistant["tool_calls"] = [_tool_call(call) for call in reply.calls]
        return {**body, "messages": [*body["messages"], assistant, *_messages(items)]}

    def turns(self, body: Mapping[str, Any]) -> list[Any]:
        """Return the messages."""
        messages = body.get("messages")
        return messages if isinstance(messages, list) else []

    def logprob_options(self, alternatives: int) -> dict[str, Any]:
        """Return the body members that request logprobs."""
        return {"logprobs": True, "top_logprobs": alternatives}

    def logprobs(self, raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the entries of the answer's tokens; some servers list those of all tokens."""
        choices = objects(raw.get("choices"))
        return objects(nested(choices[0], "logprobs", "content")) if choices else []

    def _conversation(
        self,
        items: Items,
        instructions: str | None,
        tools: Sequence[Tool],
        settings: RequestSettings,
    ) -> Body:
        messages = _messages(items, settings.cot_field)
        if instructions is not None:
            messages.insert(0, {"role": "system", "content": instructions})
        return {"messages": messages, **self.offered(tools)}

    def _tool(self, tool: Tool) -> Body:
        parameters = dict(tool.parameters)
        function = {"name": tool.name, "description": tool.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def _options(self, settings: RequestSettings) -> Body:
        return {
            "reasoning_effort": settings.reasoning_effort,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_tokens,
            "seed": settings.seed,
        }

    def _reassembled(self, response: Response, events: Iterable[StreamEvent]) -> Body:
        """Return the chat.completion object that the chunks of a stream add up to.

        Its id is that of the first chunk, as the stream helper of OpenAI's SDK has it.
        """
        completion: dict[str, Any] = {}
        built = {0: _ChoiceBuilder()}
        for event, chunk in json_events(response, events):
            own = {"id": completion["id"]} if "id" in completion else {}
            said = {key: value for key, value in chunk.items() if value not in (None, "")}
            completion |= said | own
            for path, choice in objects_at(chunk, "choices", f"stream part {event.number}: "):
                index = choice.get("index") or 0
                if type(index) is int:
                    if index not in built:
                        built[index] = _ChoiceBuilder()
                    built[index].add(choice, path)
        require_end(response, built[0].finish)
        choices = [builder.build(index) for index, builder in sorted(built.items())]
        return {**completion, "object": "chat.completion", "choices": choices}

    def _reply(self, raw: Body) -> Reply:
        choices = choices_of(raw)
        first = _first(choices)
        others = (
            _choice_reply({**raw, "choices": [choice]}, path, choice)
            for path, choice in choices
            if choice is not first[1]
        )
        return _choice_reply(raw, *first, tuple(others))


def _choice_reply(
    raw: dict[str, Any], path: str, choice: Mapping[str, Any], others: tuple[Reply, ...] = ()
) -> Reply:
    message = member(choice, "message", dict, path)
    finish = optional_member(choice, "finish_reason", str, path)
    path = f"{path}.message"
    refusal = optional_member(message, "refusal", str, path)
    calls = objects_at(message, "tool_calls", path)
    return Reply(
        reasoning=_reasoning(message, path),
        text=optional_member(message, "content", str, path) or refusal or "",
        calls=tuple(_call(call, place) for place, call in calls if not _is_custom(call)),
        finish="content_filter" if refusal else FINISHES.get(finish or "", "unknown"),
        usage=read_usage(raw, prompt="prompt", completion="completion"),
        raw=raw,
        others=others,
        custom_calls=tuple(_call(call, place) for place, call in calls if _is_custom(call)),
    )


def _messages(items: Items, cot_field: str = "reasoning") -> list[Body]:
    """Items as messages: reasoning starts an assistant message, which the next items complete."""
    messages: list[Body] = []
    for item in items:
        match item:
            case Message(role="assistant"):
                if messages and messages[-1].get("content") is not None:
                    messages.append({"role": "assistant", "content": None})
                _assistant_message(messages)["content"] = text_parts(item.text, "text")
            case Reasoning():
                messages.append({"role": "assistant", "content": None, cot_field: item.text})
            case ToolCall():
                _assistant_message(messages).setdefault("tool_calls", []).append(_tool_call(item))
            case ToolResult():
                result = {"role": "tool", "tool_call_id": item.call_id}
                messages.append(result | {"content": text_parts(item.text, "text")})
            case Message():
                messages.append({"role": item.role, "content": text_parts(item.text, "text")})
    return messages


def _assistant_message(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last message if it is from the assistant, otherwise a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _first(choices: Sequence[tuple[str, Body]]) -> tuple[str, Body]:
    """Return the choice with index 0 or without an index; others are read only for `n` above 1."""
    return next((pair for pair in choices if not pair[1].get("index")), choices[0])


def _reasoning(message: Mapping[str, Any], path: str) -> str:
    for name in REASONING_FIELDS:
        text = optional_member(message, name, str, path)
        if text:
            return text
    details = objects_at(message, "reasoning_details", path)
    return "".join(optional_member(item, "text", str, place) or "" for place, item in details)


def _is_custom(call: Mapping[str, Any]) -> bool:
    return call.get("type") == _CUSTOM


def _names_in(call: Mapping[str, Any]) -> tuple[str, str]:
    """Return the member of a call that has its name, and the member in it that has its text."""
    return (_CUSTOM, "input") if _is_custom(call) else ("function", "arguments")


def _call(call: Mapping[str, Any], path: str) -> ToolCall:
    kind, text = _names_in(call)
    made = member(call, kind, dict, path)
    return ToolCall(
        id=member(call, "id", str, path),
        name=member(made, "name", str, f"{path}.{kind}"),
        arguments=member(made, text, str, f"{path}.{kind}"),
    )


class _ChoiceBuilder:
    """Reassembles one choice from its chunks; joins the pieces of each text at the end."""

    def __init__(self) -> None:
        self.finish: str | None = None
        self._logprobs: list[Any] = []
        self._texts: dict[str, list[str]] = {}
        self._details: list[Body] = []
        self._calls: dict[int, Body] = {}
        self._names: dict[int, list[str]] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, choice: Mapping[str, Any], path: str) -> None:
        """Add the choice of one chunk. Raises UnreadableReplyError."""
        self.finish = optional_member(choice, "finish_reason", str, path) or self.finish
        self._add_delta(optional_member(choice, "delta", dict, path) or {}, f"{path}.delta")
        self._logprobs += objects(nested(choice, "logprobs", "content"))

    def build(self, index: int) -> dict[str, Any]:
        """Return the choice that a non-streaming response would have."""
        message: Body = {"role": "assistant", "content": None}
        message |= {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._details:
            message["reasoning_details"] = self._details
        for at, call in sorted(self._calls.items()):
            kind, text = _names_in(call)
            made = call.setdefault(kind, {})
            if at in self._names:
                made["name"] = "".join(self._names[at])
            made[text] = "".join(self._arguments[at])
            message.setdefault("tool_calls", []).append(call)
        choice = {"index": index, "message": message, "finish_reason": self.finish}
        return choice | ({"logprobs": {"content": self._logprobs}} if self._logprobs else {})

    def _add_delta(self, delta: Mapping[str, Any], path: str) -> None:
        """Add one delta. Raises UnreadableReplyError."""
        for name in delta:
            if name in TEXT_FIELDS:
                text = optional_member(delta, name, str, path)
                if text is not None:
                    self._texts.setdefault(name, []).append(text)
            elif name == "reasoning_details":
                for _, detail in objects_at(delta, name, path):
                    self._add_detail(detail)
            elif name == "tool_calls":
                for call_path, call in objects_at(delta, name, path):
                    self._add_call(call, call_path)

    def _add_detail(self, delta: Mapping[str, Any]) -> None:
        """Join the pieces of one detail: gateways require the original details back."""
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
        call = self._calls.setdefault(index, {"type": "function"})
        identity = optional_member(delta, "id", str, path)
        if identity:
            call.setdefault("id", identity)
        if _CUSTOM in delta:
            call["type"] = _CUSTOM
        kind, text = _names_in(call)
        made = optional_member(delta, kind, dict, path) or {}
        path = f"{path}.{kind}"
        name = optional_member(made, "name", str, path)
        names = self._names.setdefault(index, []) if name is not None else []
        if name and name not in names[:1]:  # some servers repeat the name in every chunk
            names.append(name)
        self._arguments.setdefault(index, []).append(optional_member(made, text, str, path) or "")


_LIMIT, _OTHER_LIMIT = "max_tokens", "max_completion_tokens"


def with_newer_limit(body: object) -> dict[str, Any] | None:
    """Return a body with the newer name of its token limit; None if it has no limit, or both."""
    if not isinstance(body, Mapping) or _LIMIT not in body or _OTHER_LIMIT in body:
        return None
    return {_OTHER_LIMIT if name == _LIMIT else name: value for name, value in body.items()}


def names_newer_limit(exchange: Exchange) -> bool:
    """Return whether a response refuses the older name of the token limit, and names the newer."""
    response, body = exchange.response, exchange.request.body or {}
    refused = response is not None and meaning(response) == "refusal"
    named = response is not None and _OTHER_LIMIT in response.text
    return refused and named and with_newer_limit(body) is not None
