"""Spans of tracers: which tracer wrote them, and the request and the reply that they keep. No I/O.

OpenTelemetry's conventions (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/) keep
the messages of a reply only. A few tracers keep the whole reply in attributes of their own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from harness.api.fields import objects

REFUSED = "refused"
"""The member of an entry that says which tracer wrote a span without its reply."""


class _Tracer(NamedTuple):
    """A tracer, and the members of its spans with the request, the reply and the model.

    Objects without attributes have the member `mark`.
    """

    name: str
    sent: str
    received: str
    model: str = "model"
    mark: str = ""


_TRACERS = (
    _Tracer("MLflow", "mlflow.spanInputs", "mlflow.spanOutputs"),
    _Tracer("OpenInference", "input.value", "output.value", "llm.model_name"),
    _Tracer(
        "Langfuse",
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.observation.model.name",
    ),
    _Tracer("Langfuse", "input", "output", mark="traceId"),
    _Tracer("LangSmith", "inputs", "outputs", mark="run_type"),
)
_WITHOUT_BODIES = {"traceloop.": "traceloop", "gen_ai.": "OpenTelemetry", "llm.": "traceloop"}
"""The tracers whose spans have no bodies, by the beginning of an attribute."""
_WITHOUT_REPLY = "span of {} with messages, but without the reply (no CoT, id or stream)"
_USAGE = ("langfuse.observation.usage_details", "usageDetails")
_KINDS = frozenset({"reasoning", "message", "function_call"})
_ASKED = ("messages", "input")


def span(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a span as a pair with `request` and `response`, or as `refused`; None if it is none.

    The response is None if the span failed or has none.
    """
    values = _attributes(entry.get("attributes"))
    for tracer in _TRACERS:
        if tracer.sent in values or (tracer.mark in entry and tracer.sent in entry):
            held = values or entry
            received = _json(held.get(tracer.received))
            body = _request(_json(held[tracer.sent]), received, held.get(tracer.model))
            if body is None:
                return None
            reply = _reply(received, next((held[name] for name in _USAGE if name in held), None))
            failed = "ERROR" in str(entry.get("status")).upper() or entry.get("error")
            if reply is None and received and not failed:
                return {REFUSED: _WITHOUT_REPLY.format(tracer.name)}
            time = entry.get("start_time") or entry.get("startTime")
            pair = {"request": {"body": body}, "response": None if failed else reply}
            return {**pair, "client": True, "timestamp": time}
    for start, name in _WITHOUT_BODIES.items():
        if any(key.startswith(start) for key in values):
            return {REFUSED: _WITHOUT_REPLY.format(name)}
    return None


def _attributes(value: object) -> Mapping[str, Any]:
    """Return attributes: an object, or OTLP's list (`{"key": …, "value": {"stringValue": …}}`)."""
    if isinstance(value, dict):
        return value
    listed = [each for each in objects(value) if isinstance(each.get("value"), dict)]
    return {str(each.get("key")): next(iter(each["value"].values()), None) for each in listed}


def _json(value: object) -> object:
    """Return an attribute, whose objects are JSON."""
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return value


def _request(sent: object, received: object, model: object) -> dict[str, Any] | None:
    """Return the body of a request, of which a tracer may only keep the messages."""
    if isinstance(sent, dict) and any(name in sent for name in _ASKED):
        body = dict(sent)
    elif isinstance(sent, str | list) and isinstance(model, str):
        body = {"input" if isinstance(sent, str) or _items(received) else "messages": sent}
    else:
        return None
    return {"model": model, **body} if isinstance(model, str) else body


def _items(received: object) -> bool:
    return bool(kinds := {each.get("type") for each in objects(received)}) and kinds <= _KINDS


def _reply(received: object, usage: object) -> Mapping[str, Any] | None:
    """Return the whole reply; None if the tracer only kept a message."""
    if isinstance(received, dict) and ("choices" in received or "object" in received):
        return received
    if _items(received):
        return {"object": "response", "output": received, "usage": _json(usage)}
    return None
