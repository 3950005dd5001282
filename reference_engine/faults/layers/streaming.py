"""Faults in streams: first those of Chat or both APIs, then those of Responses alone."""

import asyncio
import gzip
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import replace

import orjson

from reference_engine.faults import hooks
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    Reply,
    SseEvent,
    SseStream,
)

_ARGUMENTS = "response.function_call_arguments"
_STREAMED_TEXTS = {"response.output_text.delta", f"{_ARGUMENTS}.delta"}
_TERMINAL = {"response.completed", "response.incomplete"}
SILENT_SECONDS = 2.5
_LOST: Json = {"message": "The upstream connection was lost.", "type": "server_error", "code": None}

hooks.SSE_FILTER.faults(
    {
        "done-missing": lambda event: not event.done,
        "calls-never-streamed": lambda event: not event.delta.get("tool_calls"),
        "reasoning-not-streamed": lambda event: not event.delta.get("reasoning"),
        "part-events-missing": lambda event: "content_part" not in event.type,
        "message-never-added": lambda event: (
            not (event.type == "response.output_item.added" and event.item.get("type") == "message")
        ),
        "completed-missing": lambda event: event.type != "response.completed",
        "created-missing": lambda event: event.type != "response.created",
    },
)
hooks.SSE_EVENT.faults(
    {
        "event-name-differs": lambda event: [
            replace(event, name="message") if event.name else event
        ],
        "done-repeated": lambda event: [event] * (2 if event.done else 1),
        "finish-in-every-chunk": lambda event: [
            event.with_choice(finish_reason="stop") if event.delta.get("content") else event
        ],
        "finish-repeated": lambda event: (
            [event, event.with_choice(delta={})] if event.choice.get("finish_reason") else [event]
        ),
        "late-reasoning": lambda event: (
            [event.with_choice(delta={"reasoning": "Done."}, finish_reason=None), event]
            if event.choice.get("finish_reason") == "stop"
            else [event]
        ),
        "unknown-event": lambda event: (
            [event, event.renamed("response.keepalive")]
            if event.type == "response.created"
            else [event]
        ),
        "item-id-changes": lambda event: [
            event.updated(item=event.item | {"id": f"{event.item['id']}0"})
            if event.type == "response.output_item.done"
            else event
        ],
    },
)
hooks.PAYLOAD.faults(
    {
        "item-ids-missing": lambda data, _: data.pop("item_id", None),
        "obfuscation-missing": lambda data, _: data.pop("obfuscation", None),
        "output-index-zero": lambda data, _: data.update(
            {"output_index": 0} if "output_index" in data else {}
        ),
        "final-response-empty": lambda data, _: (
            data["response"].update(output=[]) if data.get("type") == "response.completed" else None
        ),
    },
)


@hooks.PAYLOAD.when(hooks.of_chat)("usage-chunk-has-one-id")
def usage_chunk_has_one_id(data: Json, request: ClientRequest) -> None:
    if request.streaming and data.get("usage") and not data.get("choices"):
        data["id"] = "chatcmpl-usage"


@hooks.STREAM.when(hooks.of_chat)("ids-in-every-fragment")
async def ids_in_every_fragment(events: SseStream, _: ClientRequest) -> SseStream:
    ids: dict[int, str] = {}
    async for event in events:
        for call in event.delta.get("tool_calls") or ():
            call["id"] = ids.setdefault(call["index"], call.get("id") or "")
        yield event


@hooks.STREAM("stream-ends-silently")
async def stream_ends_silently(events: SseStream, _: ClientRequest) -> SseStream:
    async for event in events:
        if event.choice.get("finish_reason") or event.type in _TERMINAL:
            return
        yield event


@hooks.STREAM.when(hooks.of_chat)("stream-fails-in-a-choice")
async def stream_fails_in_a_choice(events: SseStream, _: ClientRequest) -> SseStream:
    async for event in events:
        yield event
        if any(map(event.delta.get, ("reasoning", "content", "tool_calls"))):
            yield event.with_choice(delta={}, finish_reason="error", error=_LOST)
            yield SseEvent()
            return


@hooks.STREAM.when(hooks.of_responses)("stream-fails-as-another-response")
async def stream_fails_as_another_response(events: SseStream, request: ClientRequest) -> SseStream:
    """End with a failed response that a gateway makes without looking at its stream."""
    failed: Json = {"object": "response", "status": "failed", "model": request.served, "output": []}
    async for event in events:
        yield event
        if event.type.endswith(".delta"):
            failed |= {"id": f"resp_{secrets.token_hex(16)}", "error": _LOST}
            data = {"type": "response.failed", "sequence_number": 0, "response": failed}
            yield SseEvent(data, "response.failed")
            return


@hooks.SSE_FILTER("lines-split-at-separators")
def lines_split_at_separators(event: SseEvent) -> bool:
    """Drop what a reader of lines by `str.splitlines` cannot parse."""
    return len(event.encode().decode().splitlines()) == event.encode().count(b"\n")


@hooks.STREAM("silent-before-finish")
async def silent_before_finish(events: SseStream, _: ClientRequest) -> SseStream:
    async for event in events:
        if event.choice.get("finish_reason") or event.type in _TERMINAL:
            await asyncio.sleep(SILENT_SECONDS)
        yield event


@hooks.STREAM("open-after-finish")
async def open_after_finish(events: SseStream, _: ClientRequest) -> SseStream:
    async for event in events:
        yield event
    await asyncio.sleep(SILENT_SECONDS)


@hooks.REQUEST("streams-by-default")
def streams_by_default(body: Json, request: ClientRequest) -> None:
    if request.api == "responses":
        body.setdefault("stream", True)


@hooks.REQUEST("accept-decides-streaming")
def accept_decides_streaming(body: Json, request: ClientRequest) -> None:
    body["stream"] = body.get("stream") or request.accept != "application/json"


@hooks.SSE_EVENT("fragment-repeated")
def fragment_repeated(event: SseEvent) -> list[SseEvent]:
    arguments = any(not call.get("id") for call in event.delta.get("tool_calls") or ())
    repeated = event.delta.get("content") or arguments or event.type in _STREAMED_TEXTS
    return [event, event] if repeated else [event]


@hooks.STREAM("first-text-lost")
async def first_text_lost(events: SseStream, _: ClientRequest) -> SseStream:
    lost = False
    async for event in events:
        if event.answer_text and not lost:
            lost = True
        else:
            yield event


@hooks.STREAM.when(hooks.of_chat)("arguments-in-content-after-result")
async def arguments_in_content_after_result(events: SseStream, request: ClientRequest) -> SseStream:
    arguments = ""
    after_result = request.body["messages"][-1].get("role") == "tool"
    async for event in events:
        for call in event.delta.get("tool_calls") or ():
            arguments += (call.get("function") or {}).get("arguments") or ""
        if arguments and after_result and event.choice.get("finish_reason"):
            values = "\n\n".join(map(str, orjson.loads(arguments).values()))
            yield event.with_choice(delta={"content": values}, finish_reason=None)
        yield event


@hooks.CHOICE("finish-length-overwritten")
def finish_length_overwritten(choice: Json, request: ClientRequest) -> None:
    if request.body.get("tools") and choice.get("finish_reason") == "length":
        choice["finish_reason"] = "tool_calls"


@hooks.CHOICE("choices-share-parser")
def choices_share_parser(choice: Json, request: ClientRequest) -> None:
    delta = choice.get("delta") or {}
    if request.streaming and choice["index"] and "reasoning" in delta:
        delta["content"] = delta.pop("reasoning")


@hooks.PAYLOAD.when(hooks.of_chat)("chunk-ids-differ")
def chunk_ids_differ(data: Json, request: ClientRequest) -> None:
    if request.streaming:
        data["id"] = f"chatcmpl-{secrets.token_hex(12)}"


hooks.CALL.when(lambda _, request: request.streaming and request.api == "chat").faults(
    {
        "call-index-missing": lambda call, _: call.pop("index"),
        "call-index-from-one": lambda call, _: call.update(index=call["index"] + 1),
        "call-type-null": lambda call, _: call.setdefault("type", None),
        "call-type-missing": lambda call, _: call.pop("type", None),
    },
)
hooks.CHOICE.when(hooks.of_streams).faults(
    {"finish-reason-missing": lambda choice, _: choice.update(finish_reason=None)}
)


GZIP = {"content-encoding": "gzip"}


def _compressed_stream(flush: int) -> hooks.StreamChange:
    """Compress the events of a stream; `flush` is what zlib does after each of them."""

    async def change(events: SseStream, _: ClientRequest) -> SseStream:
        packer = zlib.compressobj(wbits=31)  # in the gzip format
        async for event in events:
            yield SseEvent(raw=packer.compress(event.encode()) + packer.flush(flush))
        yield SseEvent(raw=packer.flush())

    return change


def _compressed(reply: Reply, _: ClientRequest) -> Reply:
    """Compress a body; the body of a stream, empty here, is compressed by its events."""
    body = gzip.compress(reply.body) if reply.body else b""
    return replace(reply, headers=reply.headers | GZIP, body=body)


ACCEPTS_GZIP = hooks.REPLY.when(lambda _, request: request.gzip)
"""Each reply to a client that accepts gzip."""
ACCEPTS_GZIP.faults(
    {
        "compressed": _compressed,
        "stream-compressed-without-flush": _compressed,
        "content-encoding-of-plain-body": lambda reply, _: replace(
            reply, headers=reply.headers | GZIP
        ),
    },
)
hooks.STREAM.when(lambda _, request: request.gzip).faults(
    {
        "compressed": _compressed_stream(zlib.Z_SYNC_FLUSH),
        "stream-compressed-without-flush": _compressed_stream(zlib.Z_NO_FLUSH),
    },
)


@hooks.STREAM.when(hooks.of_responses)("stream-simulated")
async def stream_simulated(events: SseStream, _: ClientRequest) -> SseStream:
    waiting: SseEvent | None = None
    for event in [event async for event in events]:
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


@hooks.REPLY.when(hooks.of_streams)("stream-as-plain-text")
def stream_as_plain_text(reply: Reply, _: ClientRequest) -> Reply:
    return replace(reply, headers=reply.headers | {"content-type": "text/plain; charset=utf-8"})


@hooks.SSE_EVENT("event-json-broken")
def event_json_broken(event: SseEvent) -> list[SseEvent]:
    broken = event.encode().replace(b",", b",\n\n", 1)
    return [replace(event, raw=broken) if event.answer_text else event]


@hooks.STREAM("content-index-counts-deltas")
async def content_index_counts_deltas(events: SseStream, _: ClientRequest) -> SseStream:
    count = 0
    async for event in events:
        if event.type.endswith("_text.delta"):
            yield event.updated(content_index=count)
            count += 1
        else:
            yield event


@hooks.SSE_EVENT("call-events-as-reasoning")
def call_events_as_reasoning(event: SseEvent) -> Iterable[SseEvent]:
    if event.type == f"{_ARGUMENTS}.delta":
        return [event.renamed("response.reasoning_text.delta").updated(content_index=0)]
    return [] if event.type == f"{_ARGUMENTS}.done" else [event]


@hooks.STREAM("empty-arguments-never-done")
async def empty_arguments_never_done(events: SseStream, _: ClientRequest) -> SseStream:
    held: list[SseEvent] = []
    async for event in events:
        if event.type == f"{_ARGUMENTS}.delta":
            held.append(event)
            continue
        done = event.type == f"{_ARGUMENTS}.done" and event.data
        if not done or done["arguments"].strip() != "{}":
            for sent in (*held, event):
                yield sent
        held.clear()


@hooks.SSE_EVENT("sequence-numbers-repeat")
def sequence_numbers_repeat(event: SseEvent) -> list[SseEvent]:
    number = (event.data or {}).get("sequence_number")
    return [event if number is None else event.updated(sequence_number=number // 2)]
