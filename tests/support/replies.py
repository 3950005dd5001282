"""Replies of a healthy provider in the complete format of both APIs, as JSON or as events."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harmony.conversation import Answer, Call, Reasoning
from harmony.render import RenderError, message_tokens, text_tokens

MODEL = "gpt-oss-mock"
PROMPT_TOKENS = 50
CREATED = 1_767_323_045


@dataclass(frozen=True)
class Reply:
    """One reply: either a text or a call (name and arguments). Its ids end with `mark`.

    `wrote` is the text or call that the model wrote, if the server changes it.
    """

    text: str | None = None
    call: tuple[str, str] | None = None
    wrote: str | tuple[str, str] | None = None
    reasoning: str = "The user wants something; let me see."
    call_id: str = "call_1"
    mark: str = "1"
    created: int = CREATED
    prompt: int = PROMPT_TOKENS  # tokens
    model: str = MODEL


# --- Chat Completions


def chat_whole(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text,
        "reasoning": reply.reasoning,
    }
    if reply.call:
        function = {"name": reply.call[0], "arguments": reply.call[1]}
        message["tool_calls"] = [{"id": reply.call_id, "type": "function", "function": function}]
    finish = "tool_calls" if reply.call else "stop"
    return {
        "id": f"chatcmpl-{reply.mark}",
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": chat_usage(reply),
    }


def counts(reply: Reply) -> tuple[int, int, int]:
    """The prompt, completion and reasoning tokens of a reply."""
    return reply.prompt, *_written(reply.reasoning, reply.wrote or reply.call or reply.text)


@lru_cache(maxsize=10_000)
def _written(reasoning: str, wrote: str | tuple[str, str] | None) -> tuple[int, int]:
    """The completion and reasoning tokens."""
    thought = Reasoning(reasoning) if reasoning else None
    said = [Answer(wrote) if isinstance(wrote, str) else Call(*wrote)] if wrote else []
    try:
        made = sum(len(message_tokens(each)) for each in (thought, *said) if each)
        thinking = len(text_tokens(reasoning))
    except RenderError:  # A text that the tokenizer does not support.
        made = thinking = len(reasoning) // 4
    return max(1, made - 2), thinking


def chat_usage(reply: Reply) -> dict[str, Any]:
    given, made, thought = counts(reply)
    details = {"reasoning_tokens": thought}
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "completion_tokens_details": details,
    }


def chat_chunks(reply: Reply) -> list[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{reply.mark}",
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.model,
    }
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    deltas += [{"reasoning": piece} for piece in pieces(reply.reasoning)]
    deltas += [{"content": piece} for piece in pieces(reply.text or "")]
    if reply.call:
        function = {"name": reply.call[0], "arguments": ""}
        start = {"index": 0, "id": reply.call_id, "type": "function", "function": function}
        deltas.append({"tool_calls": [start]})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            for piece in pieces(reply.call[1])
        ]
    chunks = [{**base, "choices": [choice(delta)]} for delta in deltas]
    chunks.append({**base, "choices": [choice({}, "tool_calls" if reply.call else "stop")]})
    chunks.append({**base, "choices": [], "usage": chat_usage(reply)})
    return chunks


def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def chat_blocks(chunks: Sequence[dict[str, Any]]) -> list[str]:
    return [*map(data, chunks), "data: [DONE]"]


# --- Responses

# The fields of a response that repeat its request or state defaults.
RESPONSE_SETTINGS: dict[str, Any] = {
    "previous_response_id": None,
    "instructions": None,
    "truncation": "disabled",
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": {"effort": "medium", "summary": None},
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def responses_whole(reply: Reply, output: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    given, made, thought = counts(reply)
    return {
        **copy.deepcopy(RESPONSE_SETTINGS),
        "id": f"resp_{reply.mark}",
        "object": "response",
        "created_at": reply.created,
        "completed_at": reply.created + 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": reply.model,
        "output": list(output if output is not None else responses_items(reply)),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": given + made,
        },
    }


def responses_items(reply: Reply) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if reply.reasoning:
        content = [{"type": "reasoning_text", "text": reply.reasoning}]
        items.append(
            {"type": "reasoning", "id": f"rs_{reply.mark}", "summary": [], "content": content}
        )
    if reply.call:
        name, arguments = reply.call
        call = {
            "type": "function_call",
            "id": f"fc_{reply.mark}",
            "call_id": reply.call_id,
            "name": name,
        }
        items.append({**call, "arguments": arguments, "status": "completed"})
    if reply.text is not None:
        text = {"type": "output_text", "text": reply.text, "annotations": []}
        message = {
            "type": "message",
            "id": f"msg_{reply.mark}",
            "role": "assistant",
            "status": "completed",
        }
        items.append({**message, "content": [text]})
    return items


def responses_events(reply: Reply) -> list[dict[str, Any]]:
    started = {**responses_whole(reply, []), "status": "in_progress", "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for index, item in enumerate(responses_items(reply)):
        events += item_events(index, item)
    events.append({"type": "response.completed", "response": responses_whole(reply)})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        empty = {**item, "arguments": "", "status": "in_progress"}
        kind, text, whole = "function_call_arguments", item["arguments"], "arguments"
        part_events: tuple[dict[str, Any], ...] = ()
        extra: dict[str, Any] = {"name": item["name"]}
    else:
        empty = {**item, "content": []}
        if item["type"] == "message":
            empty["status"] = "in_progress"
        part = item["content"][0]
        kind, text, whole = part["type"], part["text"], "text"
        place["content_index"] = 0
        part_events = ({**part, "text": ""}, part)
        extra = {"logprobs": []} if kind == "output_text" else {}
    delta_extra = {k: v for k, v in extra.items() if k == "logprobs"}
    stem = f"response.{kind}"
    events = [{"type": "response.output_item.added", "output_index": index, "item": empty}]
    if part_events:
        events.append({"type": "response.content_part.added", **place, "part": part_events[0]})
    events += [
        {"type": f"{stem}.delta", **place, **delta_extra, "delta": piece} for piece in pieces(text)
    ]
    events.append({"type": f"{stem}.done", **place, **extra, whole: text})
    if part_events:
        events.append({"type": "response.content_part.done", **place, "part": part_events[1]})
    events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return events


def responses_blocks(events: Sequence[dict[str, Any]]) -> list[str]:
    return [f"event: {event['type']}\n{data(event)}" for event in events]


def pieces(text: str) -> list[str]:
    third = len(text) // 3 + 1
    return [text[start : start + third] for start in range(0, len(text), third)]


# --- Either API


def whole(reply: Reply, *, chat: bool) -> dict[str, Any]:
    return chat_whole(reply) if chat else responses_whole(reply)


def blocks(reply: Reply, *, chat: bool) -> list[str]:
    """The blocks of a stream."""
    if chat:
        return chat_blocks(chat_chunks(reply))
    return responses_blocks(responses_events(reply))


def data(value: object) -> str:
    return "data: " + json.dumps(value, ensure_ascii=False)
