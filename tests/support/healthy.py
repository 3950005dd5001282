"""Replies of a healthy provider in the complete format of both APIs: as JSON, as event blocks,
as recorded rollouts, and as a handler for `MockProvider` that knows the cases.
"""

import asyncio
import copy
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mock_provider import Handler, Received, data, write_chunk, write_head, write_json

from harmony.conversation import Answer, Call, Reasoning
from harmony.render import RenderError, message_tokens, text_tokens
from harness.api import DIALECTS
from harness.api.base import Message, Settings
from harness.cases import Case, load_suite
from harness.records.conditions import Api, Condition, Mode
from harness.records.rollouts import Exchange, LoopEnd, Request, Response, Rollout, StreamPart

MODEL = "gpt-oss-mock"
SUITE = load_suite()
PROMPT_TOKENS = 50
STARTED = "2026-01-02T03:04:05+00:00"
CREATED = 1_767_323_045
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Say:
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


def right(case: Case) -> list[Say]:
    """The replies of a model that does what the case asks."""
    arguments = json.dumps(case.expected_arguments, ensure_ascii=False)
    return [Say(call=(case.tool_name, arguments)), Say(text="All done.")]


def polluted(case: Case) -> list[Say]:
    """The replies of a server that leaves a piece of the header in the names of tools."""
    return [
        replace(say, call=(f"{say.call[0]}<|channel|>commentary", say.call[1])) if say.call else say
        for say in right(case)
    ]


# --- Chat Completions


def chat_whole(say: Say) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text, "reasoning": say.reasoning}
    if say.call:
        function = {"name": say.call[0], "arguments": say.call[1]}
        message["tool_calls"] = [{"id": say.call_id, "type": "function", "function": function}]
    finish = "tool_calls" if say.call else "stop"
    return {
        "id": f"chatcmpl-{say.mark}",
        "object": "chat.completion",
        "created": say.created,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": chat_usage(say),
    }


def counts(say: Say) -> tuple[int, int, int]:
    """The prompt, completion and reasoning tokens of a reply."""
    thought = Reasoning(say.reasoning) if say.reasoning else None
    wrote = say.wrote or say.call or say.text
    said = [Answer(wrote) if isinstance(wrote, str) else Call(*wrote)] if wrote else []
    try:
        made = sum(len(message_tokens(each)) for each in (thought, *said) if each)
        thinking = len(text_tokens(say.reasoning))
    except RenderError:  # A text that the tokenizer does not support.
        made = thinking = len(say.reasoning) // 4
    return say.prompt, max(1, made - 2), thinking


def chat_usage(say: Say) -> dict[str, Any]:
    given, made, thought = counts(say)
    details = {"reasoning_tokens": thought}
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "completion_tokens_details": details,
    }


def chat_chunks(say: Say) -> list[dict[str, Any]]:
    base = {
        "id": f"chatcmpl-{say.mark}",
        "object": "chat.completion.chunk",
        "created": say.created,
        "model": MODEL,
    }
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    deltas += [{"reasoning": piece} for piece in pieces(say.reasoning)]
    deltas += [{"content": piece} for piece in pieces(say.text or "")]
    if say.call:
        function = {"name": say.call[0], "arguments": ""}
        start = {"index": 0, "id": say.call_id, "type": "function", "function": function}
        deltas.append({"tool_calls": [start]})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            for piece in pieces(say.call[1])
        ]
    chunks = [{**base, "choices": [choice(delta)]} for delta in deltas]
    chunks.append({**base, "choices": [choice({}, "tool_calls" if say.call else "stop")]})
    chunks.append({**base, "choices": [], "usage": chat_usage(say)})
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


def responses_whole(say: Say, output: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    given, made, thought = counts(say)
    return {
        **copy.deepcopy(RESPONSE_SETTINGS),
        "id": f"resp_{say.mark}",
        "object": "response",
        "created_at": say.created,
        "completed_at": say.created + 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": MODEL,
        "output": list(output if output is not None else responses_items(say)),
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


def responses_items(say: Say) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if say.reasoning:
        content = [{"type": "reasoning_text", "text": say.reasoning}]
        items.append(
            {"type": "reasoning", "id": f"rs_{say.mark}", "summary": [], "content": content}
        )
    if say.call:
        name, arguments = say.call
        call = {
            "type": "function_call",
            "id": f"fc_{say.mark}",
            "call_id": say.call_id,
            "name": name,
        }
        items.append({**call, "arguments": arguments, "status": "completed"})
    if say.text is not None:
        text = {"type": "output_text", "text": say.text, "annotations": []}
        message = {
            "type": "message",
            "id": f"msg_{say.mark}",
            "role": "assistant",
            "status": "completed",
        }
        items.append({**message, "content": [text]})
    return items


def responses_events(say: Say) -> list[dict[str, Any]]:
    started = {**responses_whole(say, []), "status": "in_progress", "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for index, item in enumerate(responses_items(say)):
        events += item_events(index, item)
    events.append({"type": "response.completed", "response": responses_whole(say)})
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


# --- As records


def json_response(body: object, status: int = 200) -> Response:
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return Response(status=status, headers={"content-type": "application/json"}, body=text)


def stream_response(blocks: Sequence[str]) -> Response:
    parts = tuple(StreamPart(at=0.1 * (i + 1), raw=raw) for i, raw in enumerate(blocks))
    return Response(status=200, headers={"content-type": "text/event-stream"}, parts=parts)


def response(api: Api, streaming: bool, say: Say) -> Response:
    if api == "chat":
        whole, blocks = chat_whole(say), chat_blocks(chat_chunks(say))
    else:
        whole, blocks = responses_whole(say), responses_blocks(responses_events(say))
    return stream_response(blocks) if streaming else json_response(whole)


def exchange(api: Api, streaming: bool, answer: Response | None, **more: Any) -> Exchange:
    dialect = DIALECTS[api]
    body = dialect.first_request(
        [Message("user", "What is the weather in Lisbon?")],
        instructions=None,
        tools=SUITE.tools,
        streaming=streaming,
        settings=Settings(MODEL),
    )
    request = Request(method="POST", url=f"http://test/v1{dialect.path}", headers={}, body=body)
    fields: dict[str, Any] = {"started_at": STARTED, "elapsed": 2.0, **more}
    return Exchange(request=request, response=answer, **fields)


def rollout(
    answers: Sequence[Say | Response | Exchange],
    *,
    api: Api = "chat",
    streaming: bool = False,
    sample: str = "weather-lisbon",
    attempt: int = 1,
    end: LoopEnd = "answered",
    task: str = "tool_calling",
    effort: str | None = None,
) -> Rollout:
    """A recorded rollout with these responses; a `Say` becomes a healthy one."""

    mode: Mode = "streaming" if streaming else "non-streaming"

    def recorded(number: int, answer: Say | Response | Exchange) -> Exchange:
        if isinstance(answer, Exchange):
            return answer
        if isinstance(answer, Say):
            mark = f"{sample}-{mode}-{attempt}-{number}"
            answer = response(api, streaming, replace(answer, mark=mark))
        return exchange(api, streaming, answer)

    return Rollout(
        id=f"{sample}/{api}/{mode}/{attempt}",
        task=task,
        sample=sample,
        condition=Condition(model=MODEL, effort=effort, api=api, mode=mode),
        attempt=attempt,
        end=end,
        exchanges=tuple(recorded(number, each) for number, each in enumerate(answers, start=1)),
    )


# --- Over a socket


Script = Callable[[Case], list[Say]]


def silent(_case: Case) -> list[Say]:
    """An answer without the expected call."""
    return [Say(text="I cannot do that.")]


def provider_of(script: Script = right) -> Handler:
    """A handler that answers each shipped case as `script` says."""
    by_prompt = {case.prompt: case for case in SUITE.cases}

    async def handle(request: Received, writer: asyncio.StreamWriter) -> None:
        body = request.body or {}
        chat = request.path.endswith("/chat/completions")
        turns = body["messages"] if chat else body["input"]
        prompt = next(str(turn["content"]) for turn in turns if turn.get("role") == "user")
        results = [
            turn
            for turn in turns
            if turn.get("role") == "tool" or turn.get("type") == "function_call_output"
        ]
        case = by_prompt.get(prompt)
        says = script(case) if case else [Say(text="Hello.")]
        say = says[min(len(results), len(says) - 1)]
        number = next(_numbers)
        say = replace(say, call_id=f"call_{number}", mark=str(number), created=int(time.time()))
        if not body.get("stream"):
            write_json(writer, chat_whole(say) if chat else responses_whole(say))
            return
        blocks = chat_blocks(chat_chunks(say)) if chat else responses_blocks(responses_events(say))
        write_head(writer, {"Content-Type": "text/event-stream"})
        for block in blocks:
            write_chunk(writer, f"{block}\n\n".encode())
        write_chunk(writer, b"")

    return handle
