"""Faults of the shape in which calls are returned."""

from __future__ import annotations

import json
from collections.abc import Iterator

from reference_engine.faults.base import HYPOTHETICAL, Family
from reference_engine.faults.seams import DATA, Asked, Json

family = Family("tool mapping")


def calls_in(data: Json) -> Iterator[Json]:
    """The calls in a Chat reply or chunk, and the function call items in a response or event."""
    for choice in data.get("choices") or ():
        yield from (choice.get("message") or choice.get("delta") or {}).get("tool_calls") or ()
    items = (data.get("item"), *(data.get("response", data).get("output") or ()))
    yield from (each for each in items if each and each.get("type") == "function_call")


@family.fault(
    DATA,
    "call-ids-repeated",
    "All calls have the same id.",
    source=HYPOTHETICAL,
    detectors=("calls.id.repeated",),
)
def _call_ids_repeated(data: Json, _: Asked) -> Json:
    for call in calls_in(data):
        key = "call_id" if "call_id" in call else "id"
        call |= {key: "call_0"} if call.get(key) else {}
    return data


@family.fault(
    DATA,
    "call-ids-missing",
    "Calls have no id.",
    source=HYPOTHETICAL,
    detectors=("calls.id.missing", "chat.stream.tool_calls", "responses.stream.call"),
)
def _call_ids_missing(data: Json, _: Asked) -> Json:
    for call in calls_in(data):
        call.pop("call_id" if "call_id" in call else "id", None)
    return data


@family.fault(
    DATA,
    "arguments-as-object",
    "The arguments of a call are a JSON object where a string belongs.",
    source=HYPOTHETICAL,
    detectors=("chat.schema", "responses.schema"),
)
def _arguments_as_object(data: Json, asked: Asked) -> Json:
    for call in calls_in(data):
        function = call.get("function", call)
        if not asked.streaming:
            function["arguments"] = json.loads(function["arguments"])
    return data


@family.fault(
    DATA,
    "arguments-escaped-twice",
    "The arguments of a call are a JSON string that holds the JSON.",
    source=HYPOTHETICAL,
    detectors=("calls.arguments.escaped",),
)
def _arguments_escaped_twice(data: Json, asked: Asked) -> Json:
    for call in calls_in(data):
        function = call.get("function", call)
        if not asked.streaming:
            function["arguments"] = json.dumps(function["arguments"])
    return data


@family.fault(
    DATA,
    "calls-dropped-reason-kept",
    "finish_reason says tool_calls, but the message holds none.",
    source="NVIDIA/TensorRT-LLM#16377",
    detectors=("chat.finish.no_calls", "reply.empty"),
)
def _calls_dropped_reason_kept(data: Json, _: Asked) -> Json:
    for choice in data.get("choices") or ():
        (choice.get("message") or choice.get("delta") or {}).pop("tool_calls", None)
    response = data.get("response", data)
    if "output" in response:
        items = response["output"]
        response["output"] = [item for item in items if item["type"] != "function_call"]
    return data
