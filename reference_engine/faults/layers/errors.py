"""Faults in refusals and errors."""

from __future__ import annotations

from dataclasses import replace

import orjson

from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import PAYLOAD, REPLY, REQUEST, echo
from reference_engine.faults.http import ClientRequest, Json, Reply, messages_key

group = FaultGroup("errors")

_NUMBERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens")


def _with_error_body(reply: Reply, body: Json) -> Reply:
    return replace(reply, body=orjson.dumps(body)) if reply.status >= 400 else reply


@group.fault(REPLY, "errors.status", "request.failed")
def refusals_as_500(reply: Reply, _: ClientRequest) -> Reply:
    """An invalid request fails with status 500."""
    return replace(reply, status=500) if 400 <= reply.status < 500 else reply


@group.fault(REPLY, "errors.status")
def errors_with_status_200(reply: Reply, _: ClientRequest) -> Reply:
    """Errors have status 200."""
    return replace(reply, status=200)


@group.fault(REPLY, "errors.body")
def errors_as_html(reply: Reply, _: ClientRequest) -> Reply:
    """The body of an error is an HTML page."""
    if reply.status < 400:
        return reply
    page = f"<html><body><h1>{reply.status} Error</h1></body></html>".encode()
    return Reply(reply.status, reply.headers | {"content-type": "text/html"}, page)


@group.fault(REPLY, "errors.body")
def error_as_string(reply: Reply, _: ClientRequest) -> Reply:
    """The field error is a string instead of an object."""
    return _with_error_body(reply, {"error": (reply.json.get("error") or {}).get("message", "")})


@group.fault(REPLY, "errors.body")
def error_as_detail(reply: Reply, _: ClientRequest) -> Reply:
    """An error has the shape of the web framework, with a field detail."""
    message = (reply.json.get("error") or {}).get("message", "")
    detail = [{"loc": ["body"], "msg": message, "type": "value_error"}]
    return _with_error_body(reply, {"detail": detail})


@group.fault(REQUEST, "errors.unknown_model")
def unknown_model_accepted(body: Json, request: ClientRequest) -> Json:
    """The server accepts any model name and uses its only model."""
    return body | {"model": request.served}


group.also("unknown-model-accepted", PAYLOAD)(echo("model"))


@group.fault(REQUEST, "errors.wrong_type")
def wrong_types_ignored(body: Json, _: ClientRequest) -> Json:
    """The server ignores a numeric field with a wrong type instead of refusing the request."""
    wrong = {key for key in _NUMBERS if not isinstance(body.get(key), int | float | None)}
    return {key: value for key, value in body.items() if key not in wrong}


@group.fault(REQUEST, "errors.unmatched_result")
def unmatched_result_accepted(body: Json, _: ClientRequest) -> Json:
    """The server drops a tool result that matches no call instead of refusing the request."""
    items = body[messages_key(body)]
    called = {call["id"] for item in items for call in item.get("tool_calls") or ()}
    called |= {item["call_id"] for item in items if item.get("type") == "function_call"}
    ids = [item.get("tool_call_id") or item.get("call_id") for item in items]
    kept = [item for item, id_ in zip(items, ids, strict=True) if id_ is None or id_ in called]
    return body | {messages_key(body): kept}


@group.fault(REQUEST, "errors.empty")
def empty_input_accepted(body: Json, _: ClientRequest) -> Json:
    """The server answers a conversation without messages instead of refusing it."""
    key = messages_key(body)
    return body | {key: [{"role": "user", "content": ""}]} if body.get(key) == [] else body
