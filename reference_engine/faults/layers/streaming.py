"""Faults in streams: first those of Chat or both APIs, then those of Responses alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import replace

from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import CHOICE, PAYLOAD, REPLY, SSE_EVENT, SSE_FILTER, STREAM
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    Reply,
    SseEvent,
    SseStream,
    chat_messages,
)

group = FaultGroup("streaming")

_ARGUMENTS = "response.function_call_arguments"
_STREAMED_TEXTS = {"response.output_text.delta", f"{_ARGUMENTS}.delta"}
_TERMINAL = {"response.completed", "response.incomplete"}


@group.fault(SSE_FILTER, "chat.stream.done")
def done_missing(event: SseEvent) -> bool:
    """A Chat stream ends without data: [DONE]."""
    return not event.done


@group.fault(
    STREAM, "chat.stream.finish", "responses.stream.terminal", "stream.cut", source="vllm#27641"
)
async def stream_ends_silently(events: SseStream, _: ClientRequest) -> SseStream:
    """A stream ends before its finish reason or its terminal event."""
    async for event in events:
        if event.choice.get("finish_reason") or event.type in _TERMINAL:
            return
        yield event


@group.fault(
    SSE_EVENT,
    "parity.content",
    "parity.text",
    "responses.stream.done_text",
    source="lmdeploy PR#4023",
)
def fragment_repeated(event: SseEvent) -> list[SseEvent]:
    """A fragment of the text or of the arguments is sent twice."""
    arguments = any(not call.get("id") for call in event.delta.get("tool_calls") or ())
    repeated = event.delta.get("content") or arguments or event.type in _STREAMED_TEXTS
    return [event, event] if repeated else [event]


@group.fault(SSE_FILTER, "chat.finish.no_calls", "parity.calls", source="Rapid-MLX#480")
def calls_never_streamed(event: SseEvent) -> bool:
    """Streams lack the calls."""
    return not event.delta.get("tool_calls")


@group.fault(SSE_EVENT, "chat.finish.no_calls", "parity.calls", source="vllm#24076")
def call_streamed_as_reasoning(event: SseEvent) -> list[SseEvent]:
    """Streams return the arguments of a call as chain of thought."""
    calls = event.delta.get("tool_calls")
    if not calls:
        return [event]
    return [event.with_choice(delta={"reasoning": call["function"]["arguments"]}) for call in calls]


@group.fault(
    SSE_FILTER, "chat.reasoning.missing", "parity.reasoning", source="BerriAI/litellm#20246"
)
def reasoning_not_streamed(event: SseEvent) -> bool:
    """Streams lack the chain of thought."""
    return not event.delta.get("reasoning")


@group.fault(
    STREAM, "parity.content", "parity.text", "responses.stream.done_text", source="ollama 97013a190"
)
async def first_text_lost(events: SseStream, _: ClientRequest) -> SseStream:
    """Streams lose the first text after the change from reasoning to answer."""
    lost = False
    async for event in events:
        if event.answer_text and not lost:
            lost = True
        else:
            yield event


@group.fault(
    CHOICE, "limits.finish", "finish.limit", "calls.arguments.json", source="ollama PR#17485"
)
def finish_length_overwritten(choice: Json, request: ClientRequest) -> None:
    """A message truncated inside a call has the finish reason tool_calls."""
    if request.body.get("tools") and choice.get("finish_reason") == "length":
        choice["finish_reason"] = "tool_calls"


@group.fault(PAYLOAD, "chat.stream.id")
def chunk_ids_differ(data: Json, request: ClientRequest) -> Json:
    """Each chunk of a Chat stream has a different id."""
    chunk = request.api == "chat" and request.streaming
    return data | {"id": f"chatcmpl-{secrets.token_hex(12)}"} if chunk else data


@group.fault(PAYLOAD, "chat.stream.tool_calls", "chat.schema")
def call_index_missing(data: Json, request: ClientRequest) -> Json:
    """Call deltas of a Chat stream have no index."""
    for message in chat_messages(data) if request.streaming else ():
        for call in message.get("tool_calls") or ():
            call.pop("index")
    return data


@group.fault(SSE_EVENT, "chat.stream.finish")
def text_after_finish(event: SseEvent) -> list[SseEvent]:
    """A Chat stream continues with content after its finish reason."""
    if not event.choice.get("finish_reason"):
        return [event]
    return [event, event.with_choice(delta={"content": " "}, finish_reason=None)]


@group.fault(STREAM, "text.doubled", "responses.stream.done_text")
async def deltas_cumulative(events: SseStream, _: ClientRequest) -> SseStream:
    """Each delta repeats all earlier text."""
    text = ""
    async for event in events:
        if found := event.delta.get("content"):
            text += found
            yield event.with_choice(delta=event.delta | {"content": text})
        elif event.type == "response.output_text.delta" and event.data:
            text += event.data["delta"]
            yield event.updated(delta=text)
        else:
            yield event


@group.fault(STREAM, "stream.burst")
async def stream_in_one_burst(events: SseStream, _: ClientRequest) -> SseStream:
    """A stream is held back until it is complete."""
    for event in [event async for event in events]:
        yield event


@group.fault(STREAM, "responses.stream.simulated", source="LiteLLM 1.106, measured")
async def stream_simulated(events: SseStream, request: ClientRequest) -> SseStream:
    """A Responses stream is made from a complete reply: one delta a text, no sequence numbers."""
    if request.api == "chat":
        async for event in events:
            yield event
        return
    waiting: SseEvent | None = None
    for event in [each async for each in events]:
        data = {k: v for k, v in (event.data or {}).items() if k != "sequence_number"}
        bare = replace(event, data=data)
        if waiting is not None and waiting.type == bare.type:
            waiting = waiting.updated(delta=(waiting.data or {})["delta"] + data["delta"])
            continue
        if waiting is not None:
            yield waiting
        waiting = bare if bare.type.endswith(".delta") else None
        if waiting is None:
            yield bare


@group.fault(REPLY, "stream.content_type")
def stream_as_plain_text(reply: Reply, request: ClientRequest) -> Reply:
    """A stream has the content type text/plain."""
    plain = {"content-type": "text/plain; charset=utf-8"}
    return replace(reply, headers=reply.headers | plain) if request.streaming else reply


@group.fault(SSE_EVENT, "stream.json")
def event_json_broken(event: SseEvent) -> list[SseEvent]:
    """A line break inside the JSON of an event splits it in two."""
    broken = event.encode().replace(b",", b",\n\n", 1)
    return [replace(event, raw=broken) if event.answer_text else event]


@group.fault(STREAM, "stream.error_event", source="lmstudio-bug-tracker#2180")
async def error_inside_stream(events: SseStream, _: ClientRequest) -> SseStream:
    """A stream with status 200 ends with an error event."""
    async for event in events:
        yield event
        break
    error = {"error": {"message": "Error rendering prompt with jinja template."}}
    yield SseEvent(raw=b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")


@group.fault(PAYLOAD, "responses.schema", "responses.schema.required", source="vllm PR#24788")
def item_ids_missing(data: Json, _: ClientRequest) -> Json:
    """Events of a Responses stream do not identify their item."""
    return {key: value for key, value in data.items() if key != "item_id"}


@group.fault(STREAM, "responses.stream.parts", "responses.stream.item_text", source="vllm PR#35184")
async def content_index_counts_deltas(events: SseStream, _: ClientRequest) -> SseStream:
    """content_index increases with each delta instead of with each part."""
    count = 0
    async for event in events:
        if event.type.endswith("_text.delta"):
            yield event.updated(content_index=count)
            count += 1
        else:
            yield event


@group.fault(SSE_FILTER, "responses.stream.parts", source="vllm PR#24938")
def part_events_missing(event: SseEvent) -> bool:
    """A Responses stream lacks the events that start and end content parts."""
    return "content_part" not in event.type


@group.fault(SSE_FILTER, "responses.stream.items", source="vllm-project/agentic-api PR#66")
def message_never_added(event: SseEvent) -> bool:
    """A Responses stream never announces the message that follows the reasoning."""
    added = event.type == "response.output_item.added"
    return not (added and event.item.get("type") == "message")


@group.fault(SSE_FILTER, "responses.stream.terminal", source="vllm PR#25719")
def completed_missing(event: SseEvent) -> bool:
    """A Responses stream ends without response.completed."""
    return event.type != "response.completed"


@group.fault(SSE_FILTER, "responses.stream.created")
def created_missing(event: SseEvent) -> bool:
    """A Responses stream does not start with response.created."""
    return event.type != "response.created"


@group.fault(
    SSE_EVENT, "responses.stream.items", "responses.stream.call", source="openai/gpt-oss PR#199"
)
def call_events_as_reasoning(event: SseEvent) -> Iterable[SseEvent]:
    """The arguments of a call are streamed as reasoning_text deltas."""
    if event.type == f"{_ARGUMENTS}.delta":
        return [event.renamed("response.reasoning_text.delta").updated(content_index=0)]
    return [] if event.type == f"{_ARGUMENTS}.done" else [event]


@group.fault(
    SSE_EVENT, "responses.stream.id", "responses.stream.final", source="openai/gpt-oss PR#199"
)
def item_id_changes(event: SseEvent) -> list[SseEvent]:
    """The id of an item changes between its first and its last event."""
    if event.type != "response.output_item.done":
        return [event]
    return [event.updated(item=event.item | {"id": f"{event.item['id']}0"})]


@group.fault(SSE_EVENT, "responses.stream.sequence")
def sequence_numbers_repeat(event: SseEvent) -> list[SseEvent]:
    """Events of a Responses stream share sequence numbers."""
    number = (event.data or {}).get("sequence_number")
    return [event if number is None else event.updated(sequence_number=number // 2)]


@group.fault(SSE_EVENT, "responses.stream.event_name")
def event_name_differs(event: SseEvent) -> list[SseEvent]:
    """The event line of a Responses stream differs from the type in the data."""
    return [replace(event, name="message") if event.name else event]


@group.fault(SSE_EVENT, "responses.stream.done_text")
def done_text_empty(event: SseEvent) -> list[SseEvent]:
    """The event that ends a text has an empty text."""
    return [event.updated(text="") if event.type.endswith("_text.done") else event]


@group.fault(SSE_EVENT, "responses.stream.final", "reply.empty", source="vllm#24184")
def final_response_empty(event: SseEvent) -> list[SseEvent]:
    """The response in response.completed has no output."""
    if event.type != "response.completed" or not event.data:
        return [event]
    return [event.updated(response=event.data["response"] | {"output": []})]
