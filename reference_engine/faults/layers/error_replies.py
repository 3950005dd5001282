"""Faults in refusals and errors."""

import re
import time
from dataclasses import dataclass, replace
from itertools import compress, pairwise

import orjson

from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, Reply, messages_key, messages_of
from reference_engine.server.api_error import ApiError, invalid

_NUMBERS = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens")

_RECENT = {"user", "prompt_cache_key"}
_RARE = {"service_tier", "safety_identifier"}
_PLAIN = {"type", "role", "content", "tool_calls", "tool_call_id", "call_id", "arguments"}
_PLAIN |= {"output", "summary"}
"""Members of messages and items that every client sends."""

ERROR = hooks.REPLY.when(lambda reply, _: reply.status >= 400)
"""Each error reply."""

_MESSAGE = {"role": "assistant", "content": "Hello!"}
_PART = {"type": "output_text", "text": "Hello!", "annotations": []}
_HELLO: dict[str, Json] = {
    "chat": {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    },
    "responses": {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", **_MESSAGE, "content": [_PART]}],
    },
}
_LONG_BODY = 100_000  # bytes

LOCKED_SECONDS = 2
_LONGEST_ID = 64  # characters


@dataclass
class _Lockout:
    until: float = 0.0  # in seconds of the monotonic clock
    said: str = ""  # the rejection that began it


_LOCKED = _Lockout()


ERROR.faults({"errors-with-status-200": lambda reply, _: replace(reply, status=200)})
hooks.REQUEST.faults(
    {
        "unknown-model-accepted": lambda body, request: body.update(model=request.served),
        "background-ignored": lambda body, _: body.pop("background", None),
    },
)
hooks.RESPONSE.faults({"unknown-model-accepted": hooks.echo("model")})


def _while_locked(_: Json, __: ClientRequest) -> None:
    if time.monotonic() < _LOCKED.until:
        raise ApiError(503, _LOCKED.said)


def _locking(reply: Reply, _: ClientRequest) -> Reply:
    said = str((reply.json.get("error") or {}).get("message", ""))
    _LOCKED.said = f"[{reply.status}]: {said} (reset after {LOCKED_SECONDS}s)"
    _LOCKED.until = time.monotonic() + LOCKED_SECONDS
    body = orjson.dumps(ApiError(503, _LOCKED.said).body())
    return replace(reply, status=503, body=body)


hooks.REQUEST.faults({"rejection-locks-all": _while_locked})
ERROR.faults({"rejection-locks-all": _locking})


@hooks.REQUEST("schema-converted-and-refused")
def schema_converted_and_refused(body: Json, _: ClientRequest) -> None:
    if "json_schema" in str(body.get("response_format") or body.get("text")):
        raise invalid("guided_json", "Unsupported parameter: 'guided_json'.")


@ERROR("error-as-detail")
def error_as_detail(reply: Reply, _: ClientRequest) -> Reply:
    message = str((reply.json.get("error") or {}).get("message", ""))
    detail = [{"loc": ["body"], "msg": message, "type": "value_error"}]
    return replace(reply, body=orjson.dumps({"detail": detail}))


@hooks.REQUEST("wrong-types-ignored")
def wrong_types_ignored(body: Json, _: ClientRequest) -> None:
    for key in _NUMBERS:
        if not isinstance(body.get(key), int | float | None):
            del body[key]


@hooks.REQUEST("common-options-refused")
def common_options_refused(body: Json, _: ClientRequest) -> None:
    if unknown := _RECENT & body.keys():
        raise invalid(min(unknown), "Extra inputs are not permitted.")


@hooks.REQUEST("rare-options-crash")
def rare_options_crash(body: Json, request: ClientRequest) -> None:
    functions = [tool.get("function", tool) for tool in body.get("tools") or ()]
    if (
        _RARE & body.keys()
        or any("strict" in function for function in functions)
        or (request.streaming and request.api == "chat" and "stream_options" not in body)
    ):
        raise ApiError(500, "TypeError: got an unexpected keyword argument")


@hooks.REQUEST("verbosity-and-includes-refused")
def verbosity_and_includes_refused(body: Json, _: ClientRequest) -> None:
    if "verbosity" in (body.get("text") or body):
        raise ApiError(400, "Bad request.")
    if "include" in body:
        raise invalid("include", "Encrypted CoT is not supported.")


@hooks.REQUEST("max-tokens-refused")
def max_tokens_refused(body: Json, _: ClientRequest) -> None:
    if "max_tokens" in body:
        raise invalid("max_tokens", "'max_tokens' is replaced by 'max_completion_tokens'.")


@hooks.REQUEST("prefilled-answers-crash")
def prefilled_answers_crash(body: Json, _: ClientRequest) -> None:
    if messages_of(body) and messages_of(body)[-1].get("role") == "assistant":
        raise ApiError(500, "IndexError: list index out of range")


@hooks.REQUEST_MESSAGE("empty-results-crash")
def empty_results_crash(message: Json, _: ClientRequest) -> None:
    if "" in (message.get("output"), message.get("role") == "tool" and message.get("content")):
        raise ApiError(500, "JSONDecodeError: Expecting value: line 1 column 1 (char 0)")


@hooks.REQUEST("long-prompts-crash")
def long_prompts_crash(body: Json, _: ClientRequest) -> None:
    if len(orjson.dumps(body)) > _LONG_BODY:
        raise ApiError(500, "CUDA out of memory")


@ERROR.when(lambda _, request: not isinstance(request.body.get(messages_key(request.body)), list))(
    "other-bodies-answered"
)
def other_bodies_answered(reply: Reply, request: ClientRequest) -> Reply:
    if request.body and not isinstance(request.body[messages_key(request.body)], str | int):
        return reply
    return replace(reply, status=200, body=orjson.dumps(_HELLO[request.api]))


@hooks.REQUEST_MESSAGE("message-members-refused")
def message_members_refused(message: Json, _: ClientRequest) -> None:
    own = {"function_call": {"name"}, "reasoning": {"id"}}.get(message.get("type", ""), set())
    cot = {"reasoning", "reasoning_content"}
    if unknown := message.keys() - _PLAIN - own - cot:
        raise invalid(min(unknown), "Extra inputs are not permitted.")


@hooks.REQUEST("optional-members-required")
def optional_members_required(body: Json, request: ClientRequest) -> None:
    key, needed = messages_key(body), "content" if request.api == "chat" else "type"
    if not isinstance(body[key], list) or any(needed not in item for item in body[key]):
        raise invalid(key, "Field required.")
    for tool in body.get("tools") or ():
        function = tool.get("function", tool)
        if "description" not in function or "required" not in (function.get("parameters") or {}):
            raise invalid("tools", "Field required.")


@hooks.REQUEST("other-tools-crash")
def other_tools_crash(body: Json, _: ClientRequest) -> None:
    for tool in body.get("tools") or ():
        if tool["type"] != "function":
            raise ApiError(500, f"KeyError: {tool['type']!r}")


@hooks.REQUEST("other-tools-dropped")
def other_tools_dropped(body: Json, _: ClientRequest) -> None:
    if tools := body.get("tools"):
        body["tools"] = [tool for tool in tools if tool["type"] == "function"]


@hooks.REQUEST("late-developer-dropped")
def late_developer_dropped(body: Json, _: ClientRequest) -> None:
    key = messages_key(body)
    if isinstance(body.get(key), list):
        first, *later = body[key]
        body[key] = [first, *(each for each in later if each.get("role") != "developer")]


def _ids(message: Json) -> list[str]:
    calls = message.get("tool_calls") or ()
    found = [message.get("tool_call_id"), message.get("call_id"), *(one.get("id") for one in calls)]
    return [name for name in found if isinstance(name, str)]


@hooks.REQUEST_MESSAGE("other-ids-refused")
def other_ids_refused(message: Json, _: ClientRequest) -> None:
    if not all(re.fullmatch(r"[\w-]+", name) for name in _ids(message)):
        raise invalid("tool_call_id", "String should match pattern '^[a-zA-Z0-9_-]+$'.")


@hooks.REQUEST_MESSAGE("long-ids-refused")
def long_ids_refused(message: Json, _: ClientRequest) -> None:
    if any(len(name) > _LONGEST_ID for name in _ids(message)):
        raise invalid("tool_call_id", f"String too long: at most {_LONGEST_ID} characters.")


@hooks.REQUEST_MESSAGE("images-ignored")
def images_ignored(message: Json, _: ClientRequest) -> None:
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = [part for part in content if "image_url" not in part]


@hooks.REQUEST("unmatched-result-accepted")
def unmatched_result_accepted(body: Json, _: ClientRequest) -> None:
    key = messages_key(body)
    items = body[key]
    called = {call["id"] for item in items for call in item.get("tool_calls") or ()}
    called |= {item["call_id"] for item in items if item.get("type") == "function_call"}
    ids = [item.get("tool_call_id") or item.get("call_id") for item in items]
    kept = (id_ is None or id_ in called for id_ in ids)
    body[key] = list(compress(items, kept))


@hooks.REQUEST.when(hooks.of_responses)("message-before-output-refused")
def message_before_output_refused(body: Json, _: ClientRequest) -> None:
    for at, (item, after) in enumerate(pairwise(messages_of(body)), start=1):
        if item.get("type") == "function_call" and after.get("role"):
            raise invalid(f"input[{at}]", "An output must follow its call.")


@hooks.REQUEST("two-system-messages-crash")
def two_system_messages_crash(body: Json, _: ClientRequest) -> None:
    roles = [item.get("role") for item in body[messages_key(body)] if isinstance(item, dict)]
    if sum(role in ("system", "developer") for role in roles) > 1:
        raise ApiError(502, "Bad gateway")


@hooks.REQUEST("other-efforts-crash")
def other_efforts_crash(body: Json, _: ClientRequest) -> None:
    effort = body.get("reasoning_effort") or (body.get("reasoning") or {}).get("effort")
    if effort not in (None, "low", "medium", "high"):
        raise ApiError(500, f"KeyError: {effort!r}")


@hooks.REQUEST("pattern-in-schema-refused")
def pattern_in_schema_refused(body: Json, _: ClientRequest) -> None:
    if b'"pattern":"' in orjson.dumps(body.get("tools") or []):
        raise invalid("tools", "Failed to parse the grammar.")


@hooks.REQUEST("empty-input-accepted")
def empty_input_accepted(body: Json, _: ClientRequest) -> None:
    key = messages_key(body)
    if body.get(key) == []:
        body[key] = [{"role": "user", "content": ""}]
