"""Damages to replies, as servers and gateways were seen to make them.

`damaged` changes one complete HTTP reply. One of `DAMAGES` changes the JSON object of a whole
reply, or the list of a stream's events, of one API or both; one of `BYTES` changes the bytes.
benchmarks/real_clients.py shows each to real clients, and tests show it to the rules.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

Event = dict[str, Any]
Damage = Callable[[list[Event]], Iterable[Event | str]]
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"


class Wire(NamedTuple):
    """A reply: its media type, its content encoding or '', and its body."""

    media: str
    encoding: str
    body: bytes


def damaged(name: str, wire: Wire) -> Wire:
    """Return a reply with a damage of `DAMAGES` or `BYTES`; '' is no damage.

    It is the same reply if the damage changes nothing of it.
    """
    if not name:
        return wire
    if name in BYTES:
        return BYTES[name](wire)
    damage = DAMAGES[name]
    if "event-stream" not in wire.media:
        body = json.loads(wire.body)
        made = next(iter(damage([deepcopy(body)])), body)
        return wire if made == body else wire._replace(body=json.dumps(made).encode())
    events = [json.loads(data) for data in _data(wire.body)]
    changed = list(damage(deepcopy(events)))
    if changed == events and name not in _WITHOUT_DONE:
        return wire
    blocks = (e if isinstance(e, str) else _block(e) for e in changed)
    done = ["data: [DONE]"] if b"data: [DONE]" in wire.body and name not in _WITHOUT_DONE else []
    return wire._replace(body="".join(f"{block}\n\n" for block in (*blocks, *done)).encode())


def _data(body: bytes) -> Iterator[str]:
    for line in body.decode().split("\n"):
        if line.startswith("data: {"):
            yield line.removeprefix("data: ")


def _block(event: Event) -> str:
    named = f"event: {event['type']}\n" if isinstance(event.get("type"), str) else ""
    return f"{named}data: {json.dumps(event)}"


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Yield all JSON objects within a value, the outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _calls(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Yield the calls of Chat messages and deltas, and the function calls among items."""
    for each in _objects(list(events)):
        if each.get("type") == "function_call" and "arguments" in each:
            yield each
        yield from each.get("tool_calls") or ()


def each(change: Callable[[Event], object]) -> Damage:
    """Return a damage that changes every event or whole reply, and keeps it."""

    def damage(events: list[Event]) -> list[Event]:
        for event in events:
            change(event)
        return events

    return damage


def without(*names: str, of: Callable[[Event], bool] = lambda _: True) -> Damage:
    """Return a damage that removes members from all objects that `of` accepts."""

    def change(event: Event) -> None:
        for part in _objects(event):
            if of(part):
                for name in names:
                    part.pop(name, None)

    return each(change)


def setting(name: str, value: object, of: Callable[[Event], bool] = lambda _: True) -> Damage:
    """Return a damage that sets a member wherever it is."""

    def change(event: Event) -> None:
        for part in _objects(event):
            if name in part and of(part):
                part[name] = deepcopy(value)

    return each(change)


def dropping(*types: str) -> Damage:
    """Return a damage that loses the events of these types."""
    return lambda events: [event for event in events if event.get("type") not in types]


def _chunk(event: Event) -> bool:
    return event.get("object") == "chat.completion.chunk"


def _call(part: Event) -> bool:
    return "function" in part or part.get("type") == "function_call"


def _item(part: Event) -> bool:
    return part.get("type") in ("function_call", "message", "reasoning") and "id" in part


def _arguments_as_objects(events: list[Event]) -> list[Event]:
    for call in _calls(events):
        function = call.get("function", call)
        try:
            function["arguments"] = json.loads(function["arguments"])
        except (KeyError, ValueError):
            continue
    for event in events:
        if event.get("type") == "response.function_call_arguments.done":
            event["arguments"] = json.loads(event["arguments"])
    return _one_delta(events)


def _one_delta(events: list[Event]) -> list[Event]:
    """Put the streamed arguments of Chat into one delta after the first of the call, as an object.

    The first delta says `""`, as it did; a call of one delta has the object there.
    """
    deltas: dict[int, list[dict[str, Any]]] = {}
    texts: dict[int, str] = {}
    for event in filter(_chunk, events):
        for call in _calls([event]):
            deltas.setdefault(call["index"], []).append(call["function"])
            said = call["function"].pop("arguments", "")
            text = said if isinstance(said, str) else json.dumps(said)
            texts[call["index"]] = texts.get(call["index"], "") + text
    for index, functions in deltas.items():
        functions[0]["arguments"] = ""
        functions[min(1, len(functions) - 1)]["arguments"] = json.loads(texts[index] or "{}")
    return events


def _written(
    whole: Callable[[str], str],
    first: Callable[[str], str] = str,
    last: Callable[[str], str] = str,
    middle: Callable[[str], str] = str,
) -> Damage:
    """Return a damage of arguments that stay a text: of complete ones, and of their fragments."""

    def damage(events: list[Event]) -> list[Event]:
        for part in _objects([event for event in events if not _chunk(event)]):
            if isinstance(part.get("arguments"), str) and part["arguments"]:
                part["arguments"] = whole(part["arguments"])
        for places in _fragments(events):
            several = [first, *[middle] * (len(places) - 2), last]
            changes = several if len(places) > 1 else [whole]
            for (owner, name), change in zip(places, changes, strict=True):
                owner[name] = change(owner[name])
        return events

    return damage


def _fragments(events: Iterable[Event]) -> Iterable[list[tuple[Event, str]]]:
    """Return, for each streamed call, the places of the fragments of its arguments."""
    found: dict[object, list[tuple[Event, str]]] = {}
    for event in events:
        if event.get("type") == "response.function_call_arguments.delta":
            found.setdefault(event["item_id"], []).append((event, "delta"))
        for call in _calls([event] if _chunk(event) else []):
            if call["function"].get("arguments"):
                found.setdefault(call["index"], []).append((call["function"], "arguments"))
    return found.values()


def _single(text: str) -> str:
    return text.replace('"', "'")


def _fenced(text: str) -> str:
    return f"{text}\n```"


def _repeated_done(events: list[Event]) -> Iterator[Event]:
    for event in events:
        yield event
        if str(event.get("type", "")).endswith(".done"):
            yield event


def _status_of_a_cut(events: list[Event]) -> list[Event]:
    """Say `stop`, or incomplete, on complete calls."""
    for event in events:
        whole = event.get("response", event)
        if any(item.get("type") == "function_call" for item in whole.get("output") or ()):
            whole |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        for choice in event.get("choices") or ():
            if choice.get("finish_reason") == "tool_calls":
                choice["finish_reason"] = "stop"
    return events


def _failing(events: list[Event]) -> list[Event | str]:
    if len(events) < 2:
        return list(events)
    error = {"message": "The engine died.", "type": "server_error", "code": "server_error"}
    chat = _chunk(events[0])
    failed: Event = {"error": error} if chat else {"type": "error", **error, "sequence_number": 9}
    return [*events[: len(events) // 2], failed]


def _failed_response(events: list[Event]) -> list[Event]:
    last = events[-1]
    if last.get("type") != "response.completed":
        return events
    error = {"code": "server_error", "message": "The engine died."}
    last["response"] |= {"status": "failed", "error": error, "output": []}
    return [*events[: len(events) // 2], last | {"type": "response.failed"}]


def _error_in_choice(events: list[Event]) -> list[Event]:
    for choice in events[len(events) // 2].get("choices") or ():
        choice |= {"delta": {}, "finish_reason": "error", "error": {"message": "The engine died."}}
        return events[: len(events) // 2 + 1]
    return events


def _empty_message_first(events: list[Event]) -> list[Event]:
    for part in _objects(events):
        output = part.get("output")
        if isinstance(output, list) and any(i.get("type") == "function_call" for i in output):
            message = {"type": "message", "id": "msg_0", "role": "assistant", "content": []}
            output.insert(len(output) - 1, message | {"status": "completed"})
    return events


def _index_from_one(event: Event) -> None:
    for call in _calls([event]):
        if "index" in call:
            call["index"] += 1


def _later_ids(event: Event) -> None:
    event["id"] = f"chatcmpl-{id(event)}" if _chunk(event) else event.get("id")
    if event["id"] is None:
        del event["id"]


def _item_ids_change(event: Event) -> None:
    if "item_id" in event:
        event["item_id"] = f"item_{event.get('sequence_number')}"


def _later_types_null(event: Event) -> None:
    if _chunk(event):
        for call in _calls([event]):
            call.setdefault("type", None)


def _closed_as_another(event: Event) -> None:
    if event.get("type") == "response.output_item.done":
        event["item"]["id"] += "0"


def _doubled(event: Event) -> None:
    for part in _objects(event):
        for name in ("content", "delta"):
            if isinstance(part.get(name), str) and (name == "content" or "item_id" in part):
                part[name] *= 2


def _last_fragment(events: list[Event]) -> list[Event]:
    """Close the CoT with its last fragment alone, as the stream helper of openai npm returns it."""
    kind = "response.reasoning_text.delta"
    fragments = [event["delta"] for event in events if event.get("type") == kind]
    for part in _objects(events if fragments else []):
        if part.get("type") in ("reasoning_text", "response.reasoning_text.done"):
            part["text"] = fragments[-1]
    return events


def _parts(event: Event) -> None:
    for part in _objects(event):
        if part.get("role") == "assistant" and isinstance(part.get("content"), str):
            part["content"] = [{"type": "text", "text": part["content"]}]


def _another_response_at_the_end(event: Event) -> None:
    if event.get("type") == "response.completed":
        event["response"]["id"] += "0"


def _finish_without_calls(event: Event) -> None:
    for choice in event.get("choices") or ():
        for name in ("message", "delta"):
            if name in choice:
                choice[name].pop("tool_calls", None)


def _foreign_first(events: list[Event]) -> list[Event]:
    """Send an event of the server's own before all others."""
    lost = ("choices", "type", "response")
    own = {name: value for name, value in events[0].items() if name not in lost}
    return [own | {"replica": "b"}, *events] if len(events) > 1 else events


def _usage(value: object) -> Damage:
    return setting("usage", value)


def _usage_as_text(event: Event) -> None:
    for part in _objects(event):
        for name, value in (part.get("usage") or {}).items():
            if isinstance(value, int):
                part["usage"][name] = str(value)


def _empty_output_text(event: Event) -> None:
    """Send the member that the SDKs compute."""
    whole = event.get("response", event)
    if whole.get("object") == "response":
        whole["output_text"] = ""


def _created_with_fraction(event: Event) -> None:
    for part in _objects(event):
        for name in ("created", "created_at"):
            if isinstance(part.get(name), int):
                part[name] += 0.25


def _broken_json(events: list[Event]) -> list[Event | str]:
    middle = len(events) // 2
    if not middle:
        return list(events)
    return [*events[:middle], _block(events[middle])[:-9], *events[middle + 1 :]]


def _more(value: Event, *, chat: bool) -> Damage:
    """Return a damage that adds an event like the first one, with these members."""

    def damage(events: list[Event]) -> list[Event]:
        if len(events) < 2 or _chunk(events[0]) != chat:
            return events
        return [events[0], (events[0] if chat else {}) | value, *events[1:]]

    return damage


def _comments(wire: Wire) -> Wire:
    if "event-stream" not in wire.media:
        return wire
    return wire._replace(body=b": ping\n\n" + wire.body.replace(b"\n\n", b"\n\n: ping\n\n", 3))


def _crlf(wire: Wire) -> Wire:
    return wire._replace(body=wire.body.replace(b"\n", b"\r\n"))


def _without_names(wire: Wire) -> Wire:
    lines = wire.body.split(b"\n")
    return wire._replace(body=b"\n".join(x for x in lines if not x.startswith(b"event:")))


def _html(wire: Wire) -> Wire:
    """A quarter of the replies is a page of the gateway."""
    return Wire("text/html", "", HTML.encode()) if zlib.crc32(wire.body) % 4 == 0 else wire


def _gzip(wire: Wire) -> Wire:
    return wire._replace(encoding="gzip", body=gzip.compress(wire.body))


def _zstd(wire: Wire) -> Wire:
    """One raw block in a frame of zstd (RFC 8878), without its library."""
    size = len(wire.body)
    blocks = b"".join(
        (min(131072, size - at) << 3 | (at + 131072 >= size)).to_bytes(3, "little")
        + wire.body[at : at + 131072]
        for at in range(0, size, 131072)
    )
    head = b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little")
    return wire._replace(encoding="zstd", body=head + blocks)


def _plain_text(wire: Wire) -> Wire:
    return wire._replace(media="text/plain")


BYTES: dict[str, Callable[[Wire], Wire]] = {
    "html-200": _html,
    "crlf": _crlf,
    "comments": _comments,
    "gzip": _gzip,
    "zstd-forced": _zstd,
    "event-names-missing": _without_names,
    "plain-text": _plain_text,
}
"""By name. `zstd-forced` and `html-200` ignore what the client accepts."""
_WITHOUT_DONE = frozenset({"done-missing", "error-event", "stream-ends-silently"})
DAMAGES: dict[str, Damage] = {
    "content-index-missing": without("content_index"),
    "done-events-repeated": lambda events: list(_repeated_done(events)),
    "usage-null": _usage(None),
    "status-of-a-cut": _status_of_a_cut,
    "arguments-as-objects": _arguments_as_objects,
    "arguments-cut": _written(lambda text: text[:-2], last=lambda _: ""),
    "arguments-without-brace": _written(lambda text: text[1:], first=lambda text: text[1:]),
    "arguments-in-single-quotes": _written(_single, _single, _single, _single),
    "arguments-in-a-fence": _written(_fenced, last=_fenced),
    "id-of-call-missing": without("id", of=_call),
    "empty-choices": _more({"choices": []}, chat=True),
    "unknown-event": _more({"type": "response.keepalive", "sequence_number": 0}, chat=False),
    "error-event": _failing,
    "response-failed": _failed_response,
    "error-in-choice": _error_in_choice,
    "event-json-broken": _broken_json,
    "stream-ends-silently": lambda events: events[: max(1, len(events) * 2 // 3)],
    "done-missing": lambda events: events,
    "finish-missing": setting("finish_reason", None),
    "call-type-null": setting("type", None, of=lambda part: "function" in part),
    "call-type-missing": without("type", of=lambda part: "function" in part),
    "call-type-null-later": each(_later_types_null),
    "call-index-null": setting("index", None, of=lambda part: "function" in part),
    "call-index-missing": without("index", of=lambda part: "function" in part),
    "call-index-from-one": each(_index_from_one),
    "call-id-missing": without("call_id"),
    "call-name-missing": without("name", of=lambda part: "arguments" in part),
    "choice-index-missing": without("index", of=lambda part: "finish_reason" in part),
    "role-missing": without("role"),
    "content-missing": without("content", of=lambda part: "tool_calls" in part),
    "content-in-parts": each(_parts),
    "reply-id-missing": without("id", of=lambda part: "object" in part),
    "chunk-ids-differ": each(_later_ids),
    "object-missing": without("object"),
    "created-missing": without("created", "created_at"),
    "model-missing": without("model"),
    "usage-missing": without("usage"),
    "usage-empty": _usage({}),
    "output-text-empty": each(_empty_output_text),
    "created-with-fraction": each(_created_with_fraction),
    "usage-without-details": without(
        "prompt_tokens_details",
        "completion_tokens_details",
        "input_tokens_details",
        "output_tokens_details",
    ),
    "usage-without-input": without("input_tokens", "prompt_tokens"),
    "usage-as-text": each(_usage_as_text),
    "sequence-missing": without("sequence_number"),
    "foreign-event-first": _foreign_first,
    "calls-missing": each(_finish_without_calls),
    "response-id-changes-at-end": each(_another_response_at_the_end),
    "item-id-missing": without("item_id"),
    "item-ids-change": each(_item_ids_change),
    "items-without-id": without("id", of=_item),
    "item-id-changes-at-end": each(_closed_as_another),
    "output-index-missing": without("output_index"),
    "output-index-zero": setting("output_index", 0),
    "content-index-one": setting("content_index", 1),
    "created-event-missing": dropping("response.created", "response.in_progress"),
    "completed-missing": dropping("response.completed"),
    "item-added-missing": dropping("response.output_item.added"),
    "item-done-missing": dropping("response.output_item.done"),
    "part-events-missing": dropping("response.content_part.added", "response.content_part.done"),
    "text-done-missing": dropping("response.output_text.done"),
    "arguments-done-missing": dropping("response.function_call_arguments.done"),
    "arguments-deltas-missing": dropping("response.function_call_arguments.delta"),
    "text-deltas-missing": dropping("response.output_text.delta"),
    "final-output-empty": setting("output", [], of=lambda part: part.get("object") == "response"),
    "final-output-null": setting("output", None, of=lambda part: part.get("object") == "response"),
    "annotations-missing": without("annotations"),
    "part-logprobs-missing": without("logprobs"),
    "item-status-missing": without("status", of=_item),
    "response-status-missing": without("status", of=lambda part: part.get("object") == "response"),
    "summary-missing": without("summary", of=lambda part: part.get("type") == "reasoning"),
    "tools-missing": without("tools", "tool_choice", "parallel_tool_calls"),
    "empty-message-first": _empty_message_first,
    "fragment-repeated": each(_doubled),
    "cot-cut-to-last-fragment": _last_fragment,
}
