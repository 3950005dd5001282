"""Faults in refusals and errors."""

from dataclasses import replace

import orjson

from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, Reply, messages_key
from reference_engine.server.api_error import invalid

_NUMBERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens")

_RECENT = {"user", "prompt_cache_key"}


def _with_error_body(reply: Reply, body: Json) -> Reply:
    return replace(reply, body=orjson.dumps(body)) if reply.status >= 400 else reply


def _message(reply: Reply) -> str:
    return str((reply.json.get("error") or {}).get("message", ""))


hooks.REPLY.faults(
    refusals_as_500=lambda reply, _: (
        replace(reply, status=500) if 400 <= reply.status < 500 else reply
    ),
    errors_with_status_200=lambda reply, _: replace(reply, status=200),
    error_as_string=lambda reply, _: _with_error_body(reply, {"error": _message(reply)}),
    error_as_detail=lambda reply, _: _with_error_body(
        reply, {"detail": [{"loc": ["body"], "msg": _message(reply), "type": "value_error"}]}
    ),
)
hooks.REQUEST.faults(unknown_model_accepted=lambda body, request: body | {"model": request.served})
hooks.PAYLOAD.faults(unknown_model_accepted=hooks.echo("model"))


@hooks.REPLY
def errors_as_html(reply: Reply, _: ClientRequest) -> Reply:
    if reply.status < 400:
        return reply
    page = f"<html><body><h1>{reply.status} Error</h1></body></html>".encode()
    return Reply(reply.status, reply.headers | {"content-type": "text/html"}, page)


@hooks.REQUEST
def wrong_types_ignored(body: Json, _: ClientRequest) -> Json:
    wrong = {key for key in _NUMBERS if not isinstance(body.get(key), int | float | None)}
    return {key: value for key, value in body.items() if key not in wrong}


@hooks.REQUEST
def common_options_refused(body: Json, _: ClientRequest) -> Json:
    if unknown := _RECENT & body.keys():
        raise invalid(min(unknown), "Extra inputs are not permitted.")
    return body


@hooks.REQUEST_MESSAGE
def images_ignored(message: Json, _: ClientRequest) -> Json:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return message | {"content": [part for part in content if "image_url" not in part]}


@hooks.REQUEST
def unmatched_result_accepted(body: Json, _: ClientRequest) -> Json:
    items = body[messages_key(body)]
    called = {call["id"] for item in items for call in item.get("tool_calls") or ()}
    called |= {item["call_id"] for item in items if item.get("type") == "function_call"}
    ids = [item.get("tool_call_id") or item.get("call_id") for item in items]
    kept = [item for item, id_ in zip(items, ids, strict=True) if id_ is None or id_ in called]
    return body | {messages_key(body): kept}


@hooks.REQUEST
def empty_input_accepted(body: Json, _: ClientRequest) -> Json:
    key = messages_key(body)
    return body | {key: [{"role": "user", "content": ""}]} if body.get(key) == [] else body
