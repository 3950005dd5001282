"""Faults in the history of a conversation: reasoning, calls, results and stored responses."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby

from harmony.conversation import (
    Call,
    Conversation,
    ConversationItem,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.render import render_all
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import (
    CONVERSATION,
    ITEM,
    MESSAGE,
    PAYLOAD,
    PROMPT,
    REQUEST,
    REQUEST_MESSAGE,
    echo,
)
from reference_engine.faults.http import ClientRequest, Json, messages_of
from reference_engine.faults.prompts import Message
from reference_engine.server.errors import ApiError, invalid

group = FaultGroup("history")

_MOST_OF_A_RESULT = 16_000
_FINAL = "assistant<|channel|>final"
_ANALYSIS = "assistant<|channel|>analysis"


@group.fault(ITEM, "prompt.cot.kept", source="vllm PR#35907")
def tool_loop_reasoning_dropped(item: ConversationItem) -> ConversationItem | None:
    """The prompt with a tool result lacks the chain of thought that led to the call."""
    return None if isinstance(item, Reasoning) else item


@group.fault(PROMPT, "prompt.cot.dropped", "prompt.cot.dropped.no_tools", source="vllm PR#45048")
def stale_reasoning_kept(_: list[int], conversation: Conversation) -> list[int]:
    """The chain of thought stays in the prompt after its final answer."""
    return render_all(conversation)


@group.fault(ITEM, "prompt.preamble", source="ollama 203c13781")
def preamble_not_replayed(item: ConversationItem) -> ConversationItem | None:
    """The history loses the text that accompanied a tool call."""
    return None if isinstance(item, Preamble) else item


@group.fault(CONVERSATION, "prompt.cot.kept.beside_text", source="vLLM 0.32, measured")
def reasoning_dropped_beside_preamble(conversation: Conversation) -> Conversation:
    """The prompt lacks the chain of thought before a call that has a preamble."""
    items = conversation.items
    before = {at - 1 for at, item in enumerate(items) if isinstance(item, Preamble)}
    kept = (i for at, i in enumerate(items) if at not in before or not isinstance(i, Reasoning))
    return replace(conversation, items=tuple(kept))


@group.fault(ITEM, "prompt.result.long")
def long_result_cut(item: ConversationItem) -> ConversationItem:
    """The prompt contains only the first 16,000 characters of a tool result."""
    if not isinstance(item, Result):
        return item
    return replace(item, output=item.output[:_MOST_OF_A_RESULT])


@group.fault(REQUEST_MESSAGE, "prompt.result.parts.accepted", source="vLLM 0.32, measured")
def result_parts_refused(message: Json, _: ClientRequest) -> Json:
    """The server refuses a tool result that is an array of parts."""
    key = "output" if message.get("type") == "function_call_output" else "content"
    result = key == "output" or message.get("role") == "tool"
    if result and isinstance(message.get(key), list):
        raise invalid(key, "Input should be a valid string.")
    return message


@group.fault(CONVERSATION, "prompt.results.names", source="ollama PR#12988")
def result_names_mixed_up(conversation: Conversation) -> Conversation:
    """All tool results are attributed to the function of the last call."""
    items = conversation.items
    names = [item.name for item in items if isinstance(item, Call)]
    renamed = (replace(i, name=names[-1]) if isinstance(i, Result) else i for i in items)
    return replace(conversation, items=tuple(renamed))


@group.fault(
    CONVERSATION,
    "tools.results.order",
    "numerics",
    source="vllm PR#28729",
)
def result_order_reversed(conversation: Conversation) -> Conversation:
    """Consecutive tool results reach the prompt in the wrong order."""
    items: list[ConversationItem] = []
    for results, group_of in groupby(conversation.items, lambda item: isinstance(item, Result)):
        run = list(group_of)
        items += reversed(run) if results else run
    return replace(conversation, items=tuple(items))


# The prompt is as long as a healthy prompt that omits the call's content type.
@group.fault(MESSAGE, "prompt.call", source="vllm PR#28729", visible=False)
def result_without_recipient(message: Message) -> list[Message]:
    """Tool results lack the recipient 'assistant'."""
    return [replace(message, header=message.header.replace(" to=assistant", ""))]


@group.fault(ITEM, "prompt.call.quotes", "prompt.call", source="llama.cpp PR#19553")
def arguments_escaped_twice_in_history(item: ConversationItem) -> ConversationItem:
    """The arguments of earlier calls are rendered as a JSON string that contains the JSON."""
    return replace(item, arguments=json.dumps(item.arguments)) if isinstance(item, Call) else item


@group.fault(MESSAGE, "prompt.history", source="vllm PR#28729")
def answer_without_channel(message: Message) -> list[Message]:
    """Earlier answers are rendered without the channel final."""
    return [replace(message, header="assistant") if message.header == _FINAL else message]


@group.fault(MESSAGE, "prompt.cot.kept", source="vllm#28262")
def reasoning_without_channel(message: Message) -> list[Message]:
    """Earlier chain of thought is rendered without the channel analysis."""
    return [replace(message, header="assistant") if message.header == _ANALYSIS else message]


def _ended(message: Message, header: str, end: str) -> list[Message]:
    """The message with another end token if it has content and its header starts like this."""
    matches = message.content is not None and message.header.startswith(header)
    return [replace(message, end=end) if matches else message]


@group.fault(MESSAGE, "numerics", source="openai/harmony PR#59")
def history_ends_with_return(message: Message) -> list[Message]:
    """Earlier answers end with the stop token <|return|> instead of <|end|>."""
    return _ended(message, _FINAL, "<|return|>")


@group.fault(MESSAGE, "numerics")
def calls_end_with_end(message: Message) -> list[Message]:
    """Earlier calls end with <|end|> instead of <|call|>."""
    return _ended(message, "assistant to=functions.", "<|end|>")


@group.fault(CONVERSATION, "prompt.history")
def only_last_user_message(conversation: Conversation) -> Conversation:
    """The prompt contains only the instructions and the last user message."""
    items = conversation.items
    users = [at for at, item in enumerate(items) if isinstance(item, User)]
    return replace(conversation, items=items[users[-1] :]) if users else conversation


@group.fault(REQUEST_MESSAGE, "prompt.cot.kept", source="vllm#27653")
def chat_reasoning_not_replayed(message: Json, request: ClientRequest) -> Json:
    """The server ignores the field reasoning of earlier Chat messages."""
    hidden = ("reasoning", "reasoning_content") if request.api == "chat" else ()
    return {key: value for key, value in message.items() if key not in hidden}


@group.fault(REQUEST_MESSAGE, "prompt.cot.kept", source="vllm#33089")
def reasoning_items_not_replayed(item: Json, _: ClientRequest) -> Json | None:
    """The server ignores reasoning items in the input of a Responses request."""
    return None if item.get("type") == "reasoning" else item


@group.fault(REQUEST, "prompt.cot.kept", "request.refused", source="vllm PR#28248")
def reasoning_items_refused(body: Json, _: ClientRequest) -> Json:
    """The server refuses a request with a reasoning item in its input."""
    for at, item in enumerate(messages_of(body)):
        if item.get("type") == "reasoning":
            raise invalid(f"input[{at}]", "Unexpected item type in input: reasoning.")
    return body


@group.fault(
    REQUEST, "prompt.cot.kept", "request.refused", source="aws-samples/bedrock-engineer PR#240"
)
def chat_reasoning_refused(body: Json, request: ClientRequest) -> Json:
    """The server refuses a Chat request whose history contains reasoning."""
    for at, message in enumerate(messages_of(body)):
        if request.api == "chat" and "reasoning" in message:
            text = "ValidationException: the model does not support reasoningContent."
            raise invalid(f"messages[{at}].reasoning", text)
    return body


@group.fault(
    REQUEST_MESSAGE, "cot.accepted.beside_text", "request.failed", source="llama.cpp#19701"
)
def thinking_with_calls_crashes(message: Json, _: ClientRequest) -> Json:
    """An earlier message with content, reasoning and tool calls crashes the template."""
    if all(message.get(key) for key in ("content", "reasoning", "tool_calls")):
        raise ApiError(500, "Cannot pass both content and thinking in an assistant message.")
    return message


@group.fault(REQUEST, "prompt.call", source="OpenRouter Discord (doublepost.link)")
def empty_messages_stripped(body: Json, _: ClientRequest) -> Json:
    """A gateway removes earlier messages without content, with their calls and results."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return body
    kept = [m for m in messages if m.get("content") or "tool_calls" not in m]
    called = {call["id"] for m in kept for call in m.get("tool_calls", ())}
    kept = [m for m in kept if m.get("tool_call_id") is None or m["tool_call_id"] in called]
    return body | {"messages": kept}


@group.fault(REQUEST_MESSAGE, "prompt.call", source="ddalcu/mlx-serve PR#247")
def null_content_as_text(message: Json, _: ClientRequest) -> Json:
    """The null content of an earlier message with calls reaches the prompt as 'None'."""
    empty = message.get("tool_calls") and message.get("content") is None
    return message | {"content": "None"} if empty else message


@group.fault(REQUEST_MESSAGE, "prompt.parts", source="vllm PR#25593")
def content_parts_lost(message: Json, _: ClientRequest) -> Json:
    """The server reads only the first part of a content array."""
    content = message.get("content")
    cut = isinstance(content, list) and message.get("type") != "reasoning"
    return message | {"content": content[:1]} if cut and content else message


@group.fault(REQUEST_MESSAGE, "prompt.result.parts", source="ollama f86a969f2")
def result_parts_lost(message: Json, _: ClientRequest) -> Json:
    """The server reads a tool result as empty if its content is an array of parts."""
    key = "output" if message.get("type") == "function_call_output" else "content"
    result = key == "output" or message.get("role") == "tool"
    return message | {key: ""} if result and isinstance(message.get(key), list) else message


@group.fault(REQUEST, "state.previous_response", source="vllm#43244")
def previous_response_ignored(body: Json, _: ClientRequest) -> Json:
    """The server accepts previous_response_id but does not use the previous response."""
    if "previous_response_id" not in body:
        return body
    items = body.get("input")
    if isinstance(items, list):
        items = [item for item in items if item.get("type") != "function_call_output"]
    return body | {"previous_response_id": None, "input": items or " "}


@group.fault(REQUEST, "state.previous_response", source="lmstudio-bug-tracker#1188")
def streamed_response_not_stored(body: Json, request: ClientRequest) -> Json:
    """A streamed response cannot be continued by its id."""
    stored = request.api == "chat" or not request.streaming
    return body if stored else body | {"store": False}


group.also("previous-response-ignored", PAYLOAD)(echo("previous_response_id"))
group.also("streamed-response-not-stored", PAYLOAD)(echo("store", default=True))
