"""Faults of replies: what a server with faults makes of the replies of a healthy one."""

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson

from harmony.parse import Kind
from reference_engine.faults import hooks
from reference_engine.faults.catalogue import read_plan
from reference_engine.faults.fault import activated, active_changes, changed
from reference_engine.faults.http import BODY, ClientRequest, Reply, SseEvent, SseStream, decode

_Text = tuple[Kind, object, object]  # its kind, and what tells it from others
_Member = tuple[Any, Any]  # an object or list, and a key of it


async def damaged(
    faults: Sequence[str], request: ClientRequest, reply: Reply, number: int = 0
) -> Reply:
    """Return a recorded reply, with all events of a stream, as a server with these faults sends it.

    The faults are those of request `number` of options as in `read_plan`. Changes of a whole text
    act on the texts of the reply, and other changes of what the model reads or writes do not act.
    Raises FaultError.
    """
    with activated(read_plan(faults).of(number)):
        BODY.set(request.body)
        reply = _with_texts(reply)
        if not reply.streamed:
            return whole(reply, request)
        head = changed(hooks.REPLY, replace(reply, body=b""), request)
        healthy: SseStream = events_of(_once(reply.body), request)
        events = changed(hooks.STREAM, healthy, request)
        return replace(head, body=b"".join([event.encode() async for event in events]))


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body


def whole(reply: Reply, request: ClientRequest) -> Reply:
    """Return a reply that is no stream with the active changes of PAYLOAD and REPLY."""
    if reply.status == 200:
        reply = replace(reply, body=orjson.dumps(changed(hooks.PAYLOAD, reply.json, request)))
    return changed(hooks.REPLY, reply, request)


async def events_of(
    pieces: AsyncIterator[bytes], request: ClientRequest
) -> AsyncGenerator[SseEvent]:
    """Yield the events of a stream with the active changes of PAYLOAD."""
    async for piece in pieces:
        for event in _decoded(piece):
            if event.data is not None:
                data = changed(hooks.PAYLOAD, event.data, request)
                event = SseEvent(data, data.get("type") if event.name else None)
            yield event


def _decoded(piece: bytes) -> Iterator[SseEvent]:
    return map(decode, filter(None, piece.split(b"\n\n")))


def _with_texts(reply: Reply) -> Reply:
    """Return a recorded reply with the active changes of whole texts; pieces keep their ends."""
    changes = [one for one in active_changes(hooks.PARSER) if isinstance(one, hooks.WholeText)]
    if not changes:
        return reply
    events = [*_decoded(reply.body)] if reply.streamed else [SseEvent(reply.json)]
    texts: dict[_Text, list[_Member]] = defaultdict(list)
    for text, member in _pieces([event.data for event in events]):
        texts[text].append(member)
    for (kind, *_), members in texts.items():
        for change in (one.change for one in changes if one.kind == kind):
            left = change("".join(value[key] for value, key in members))
            for value, key in members:
                value[key], left = left[: len(value[key])], left[len(value[key]) :]
            value[key] += left
    body = b"".join(event.encode() for event in events)
    return replace(reply, body=body if reply.streamed else orjson.dumps(events[0].data))


def _pieces(
    value: object, inside: str = "", stream: tuple[object, ...] = ()
) -> Iterator[tuple[_Text, _Member]]:
    """Yield the pieces of texts in JSON: the text of each, which a stream splits, and its place."""
    if isinstance(value, dict):
        inside = value.get("type") or inside
        if "delta" in value or (stream and "index" in value):
            stream += tuple(value.get(f"{part}index") for part in ("output_", "content_", ""))
    members: Iterable[_Member] = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else members:
        kind = _kind(inside, key) if isinstance(inner, str) and inner else None
        if kind is None:
            yield from _pieces(inner, inside, stream)
        else:
            yield (kind, stream or id(value), key), (value, key)


def _kind(inside: str, key: object) -> Kind | None:
    """Return the kind of the text in a member; `inside` is the type of the object."""
    piece = key in ("delta", "text")
    if key in ("reasoning", "reasoning_content") or (piece and "reas" in inside):
        return "reasoning"
    if key == "content" or (piece and "output_text" in inside):
        return "answer"
    return "call" if key == "arguments" or (key == "delta" and "function" in inside) else None
