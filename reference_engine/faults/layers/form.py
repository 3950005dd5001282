"""Faults in the form of replies that real clients were shown: members, events, fragments, bytes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import orjson

from reference_engine.faults import hooks
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    SseEvent,
    choices,
    objects,
    response_of,
)
from reference_engine.faults.layers.tools import calls_dropped_reason_kept, parsed

_ERROR = {"message": "The engine died.", "code": "server_error"}
_OF_ANSWERS = ("choices", "type", "response")
_DETAILS = [f"{of}_tokens_details" for of in ("prompt", "completion", "input", "output")]
_LARGEST = 131_072  # bytes of a block of zstd


def _lacking(*names: str, of: Callable[[Json], object] = bool) -> hooks.JsonEdit:
    """Return a change that removes members from all objects that `of` accepts."""
    return lambda part, _: [part.pop(name, None) for name in names if of(part)]


def _setting(name: str, value: object, of: Callable[[Json], object] = bool) -> hooks.JsonEdit:
    """Return a change that sets a member wherever it is."""
    return lambda part, _: part.update({name: deepcopy(value)} if name in part and of(part) else {})


def _setting_all(names: Sequence[str], value: object) -> hooks.JsonEdit:
    """Return a change that sets members wherever they are."""
    return lambda part, _: part.update({n: deepcopy(value) for n in names if n in part})


def _without(*types: str) -> Callable[[SseEvent], bool]:
    """Return a change that loses the events of these types."""
    return lambda event: event.type.removeprefix("response.") not in types


def _of_function(part: Json) -> bool:
    return "function" in part


def _is_call(part: Json) -> bool:
    return "function" in part or part.get("type") == "function_call"


def _is_item(part: Json) -> bool:
    return part.get("type") in ("function_call", "message", "reasoning") and "id" in part


def _is_response(part: Json) -> bool:
    return part.get("object") == "response"


hooks.OBJECT.faults(
    {
        "content-index-missing": _lacking("content_index"),
        "usage-null": _setting("usage", None),
        "id-of-call-missing": _lacking("id", of=_is_call),
        "id-of-call-null": _setting("id", None, of=_is_call),
        "id-of-call-empty": _setting("id", "", of=_is_call),
        "call-id-null": _setting("call_id", None),
        "call-id-empty": _setting("call_id", ""),
        "call-name-null": _setting("name", None, of=lambda part: "arguments" in part),
        "annotations-null": _setting("annotations", None),
        "summary-null": _setting("summary", None, of=lambda part: part.get("type") == "reasoning"),
        "role-always-null": _setting("role", None),
        "content-index-null": _setting("content_index", None),
        "call-type-always-null": _setting("type", None, of=_of_function),
        "call-type-always-missing": _lacking("type", of=_of_function),
        "call-index-null": _setting("index", None, of=_of_function),
        "call-id-missing": _lacking("call_id"),
        "call-name-missing": _lacking("name", of=lambda part: "arguments" in part),
        "choice-index-missing": _lacking("index", of=lambda part: "finish_reason" in part),
        "finish-missing": _setting("finish_reason", None),
        "role-always-missing": _lacking("role"),
        "content-missing": _lacking("content", of=lambda part: "tool_calls" in part),
        "reply-id-missing": _lacking("id", of=lambda part: "object" in part),
        "object-missing": _lacking("object"),
        "created-time-missing": _lacking("created", "created_at"),
        "model-missing": _lacking("model"),
        "usage-member-missing": _lacking("usage"),
        "usage-empty": _setting("usage", {}),
        "usage-without-details": _lacking(*_DETAILS),
        "usage-details-null": _setting_all(_DETAILS, None),
        "usage-details-empty": _setting_all(_DETAILS, {}),
        "usage-without-input": _lacking("input_tokens", "prompt_tokens"),
        "sequence-missing": _lacking("sequence_number"),
        "items-without-id": _lacking("id", of=_is_item),
        "output-index-missing": _lacking("output_index"),
        "final-output-empty": _setting("output", [], of=_is_response),
        "final-output-null": _setting("output", None, of=_is_response),
        "annotations-missing": _lacking("annotations"),
        "part-logprobs-missing": _lacking("logprobs"),
        "item-status-missing": _lacking("status", of=_is_item),
        "response-status-missing": _lacking("status", of=_is_response),
        "summary-missing": _lacking("summary", of=lambda part: part.get("type") == "reasoning"),
        "tools-missing": _lacking("tools", "tool_choice", "parallel_tool_calls"),
        "created-time-with-fraction": lambda part, _: part.update(
            {
                key: part[key] + 0.25
                for key in ("created", "created_at")
                if type(part.get(key)) is int
            }
        ),
        "content-in-parts": lambda part, _: part.update(
            {"content": [{"type": "text", "text": part["content"]}]}
            if part.get("role") == "assistant" and isinstance(part.get("content"), str)
            else {}
        ),
        "fragments-doubled": lambda part, _: part.update(
            {
                key: part[key] * 2
                for key in ("content", *(("delta",) if "item_id" in part else ()))
                if isinstance(part.get(key), str)
            }
        ),
    },
)
hooks.USAGE.faults(
    {
        "usage-as-text": lambda usage, _: usage.update(
            {name: str(value) for name, value in usage.items() if isinstance(value, int)}
        )
    }
)
hooks.SSE_FILTER.faults(
    {
        "created-event-missing": _without("created", "in_progress"),
        "item-added-missing": _without("output_item.added"),
        "item-done-missing": _without("output_item.done"),
        "text-done-missing": _without("output_text.done"),
        "arguments-done-missing": _without("function_call_arguments.done"),
        "text-deltas-missing": _without("output_text.delta"),
    },
)
hooks.SSE_EVENT.faults(
    {
        "event-names-missing": lambda event: [replace(event, name=None)],
        "done-events-repeated": lambda event: [event] * (1 + event.type.endswith(".done")),
    },
)
hooks.whole_text("call").faults(
    {
        "arguments-without-brace": lambda text: text[1:],
        "arguments-in-single-quotes": lambda text: text.replace('"', "'"),
        "arguments-in-a-fence": lambda text: f"{text}\n```",
    },
)
hooks.PAYLOAD.when(hooks.of_chat).faults({"calls-missing": calls_dropped_reason_kept})
hooks.RESPONSE.faults(
    {
        "output-text-empty": lambda response, _: (
            response.update(output_text="") if _is_response(response) else None
        )
    }
)
hooks.PAYLOAD.faults(
    {
        "item-ids-change": lambda data, _: data.update(
            {"item_id": f"item_{data.get('sequence_number')}"} if "item_id" in data else {}
        ),
        "response-id-changes-at-end": lambda data, _: (
            data["response"].update(id=f"{data['response']['id']}0")
            if data.get("type") == "response.completed"
            else None
        ),
    },
)


@hooks.PAYLOAD("status-of-a-cut")
def status_of_a_cut(data: Json, _: ClientRequest) -> None:
    response = response_of(data)
    if any(item.get("type") == "function_call" for item in response.get("output") or ()):
        response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    for choice in choices(data):
        if choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "stop"


@hooks.RESPONSE("empty-message-first")
def empty_message_first(response: Json, _: ClientRequest) -> None:
    output = response.get("output") or []
    if any(item.get("type") == "function_call" for item in output):
        message = {"type": "message", "id": "msg_0", "role": "assistant", "content": []}
        output.insert(len(output) - 1, message | {"status": "completed"})


hooks.OBJECT.when(lambda _, request: not (request.streaming and request.api == "chat")).faults(
    {
        "arguments-always-objects": lambda part, _: (
            part.update(arguments=parsed(part["arguments"])) if part.get("arguments") else None
        )
    }
)


@hooks.ALL_EVENTS("arguments-always-objects")
def arguments_always_objects(events: list[SseEvent]) -> list[SseEvent]:
    """Put those of Chat into the delta after the first one of each call, or into this one."""
    deltas: dict[int, list[Json]] = defaultdict(list)
    for call in (call for event in events for call in event.delta.get("tool_calls") or ()):
        deltas[call["index"]].append(call["function"])
    for functions in deltas.values():
        text = "".join(function.pop("arguments", "") for function in functions)
        functions[0]["arguments"] = ""
        functions[min(1, len(functions) - 1)]["arguments"] = parsed(text or "{}")
    return events


@hooks.ALL_EVENTS("call-name-late")
def call_name_late(events: list[SseEvent]) -> list[SseEvent]:
    """Name each call of a Chat stream in its second delta."""
    names: dict[int, object] = {}
    for call in (call for event in events for call in event.delta.get("tool_calls") or ()):
        if call["index"] not in names:
            names[call["index"]] = call["function"].get("name")
            call["function"]["name"] = None
        elif name := names.get(call["index"]):
            call["function"]["name"] = name
            names[call["index"]] = None
    return events


@hooks.ALL_EVENTS("cot-cut-to-last-fragment")
def cot_cut_to_last_fragment(events: list[SseEvent]) -> list[SseEvent]:
    """Close the CoT as the stream helper of openai npm returns it."""
    kind = "response.reasoning_text"
    bodies = [event.data for event in events if event.data]
    deltas = [body["delta"] for body in bodies if body.get("type") == f"{kind}.delta"]
    for part in objects(bodies if deltas else []):
        if part.get("type") in ("reasoning_text", f"{kind}.done"):
            part["text"] = deltas[-1]
    return events


def _middle(events: list[SseEvent]) -> int:
    return sum(not event.done for event in events) // 2


hooks.ALL_EVENTS.faults(
    {
        "stream-ends-in-the-middle": lambda events: events[
            : sum(not one.done for one in events) * 2 // 3
        ],
        "event-cut-off": lambda events: [
            replace(event, raw=event.encode()[:-11] + b"\n\n") if at == _middle(events) else event
            for at, event in enumerate(events)
        ],
    },
)


@hooks.ALL_EVENTS("error-event")
def error_event(events: list[SseEvent]) -> list[SseEvent]:
    error = _ERROR | {"type": "server_error"}
    failed = SseEvent(error | {"sequence_number": 9}, "server_error")
    ended = failed if events[0].type else SseEvent({"error": error})
    return [*events[: _middle(events)], ended]


@hooks.ALL_EVENTS("response-failed")
def response_failed(events: list[SseEvent]) -> list[SseEvent]:
    last = events[-1]
    if last.type != "response.completed":
        return events
    ended = response_of(last.data or {}) | {"status": "failed", "error": _ERROR, "output": []}
    return [*events[: _middle(events)], last.updated(response=ended).renamed("response.failed")]


_FAILED_CHOICE: Json = {
    "delta": {},
    "finish_reason": "error",
    "error": {"message": _ERROR["message"]},
}
hooks.CHOICE.when(lambda _, request: not request.streaming).faults(
    {"error-in-choice": lambda choice, _: choice.update(_FAILED_CHOICE)}
)


@hooks.ALL_EVENTS("error-in-choice")
def error_in_choice(events: list[SseEvent]) -> list[SseEvent]:
    middle = _middle(events)
    if not events[middle].choice:
        return events
    failed = events[middle].with_choice(**_FAILED_CHOICE)
    return [*events[:middle], failed, *(event for event in events if event.done)]


def _more(
    change: Callable[[SseEvent], Json | None], where: int
) -> Callable[[list[SseEvent]], list[SseEvent]]:
    """Return a change that adds an event, if there is any, before the event at a place."""
    return lambda events: [
        *events[:where],
        *(SseEvent(data, data.get("type")) for data in [change(events[0])] if data),
        *events[where:],
    ]


hooks.ALL_EVENTS.faults(
    {
        "empty-choices": _more(lambda event: event.choice and event.updated(choices=[]).data, 1),
        "keepalive-event": _more(
            lambda event: (
                {"type": "response.keepalive", "sequence_number": 0} if event.type else {}
            ),
            1,
        ),
        "foreign-event-first": _more(
            lambda event: {
                **{k: v for k, v in (event.data or {}).items() if k not in _OF_ANSWERS},
                "replica": "b",
            },
            0,
        ),
    },
)


def _zstd(body: bytes) -> bytes:
    """Return raw blocks in a frame of zstd (RFC 8878), without its library."""
    size = len(body)
    blocks = (
        (min(_LARGEST, size - at) << 3 | (at + _LARGEST >= size)).to_bytes(3, "little")
        + body[at : at + _LARGEST]
        for at in range(0, size, _LARGEST)
    )
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + b"".join(blocks)


hooks.REPLY.when(lambda _, request: not request.streaming).faults(
    {"error-with-status-200": lambda reply, _: replace(reply, body=orjson.dumps({"error": _ERROR}))}
)
hooks.REPLY.faults(
    {
        "plain-text": lambda reply, _: replace(
            reply, headers=reply.headers | {"content-type": "text/plain"}
        ),
        "zstd-forced": lambda reply, _: replace(
            reply,
            headers=reply.headers | {"content-encoding": "zstd"},
            body=_zstd(reply.body) if reply.body else b"",
        ),
    },
)
hooks.ALL_EVENTS.faults(
    {"zstd-forced": lambda events: [SseEvent(raw=_zstd(b"".join(e.encode() for e in events)))]}
)
