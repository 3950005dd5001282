"""Replies, chunks and events validated against the `openai` package and Open Responses."""

from collections.abc import Iterator, Sequence
from functools import partial

from harness.api.fields import json_object, objects
from harness.api.parsed_rollout import ParsedExchange
from harness.api.sdk_types import event_model, stops_sdk
from harness.records.conditions import APIS, Api
from harness.rules.check import Family
from harness.rules.evidence.subjects import Answer, answers, good_statuses, readable
from harness.rules.rule import CHAT, GUIDE, OPEN_RESPONSES, RESPONSES, Problem

family = Family("reply", RESPONSES, component="format")

# The fields that the Open Responses specification (2026-04-24) requires of every response object.
_REQUIRED_OF_RESPONSES = frozenset(
    """
    id object created_at completed_at status incomplete_details model previous_response_id
    instructions output error tools tool_choice truncation parallel_tool_calls text top_p
    presence_penalty frequency_penalty top_logprobs temperature reasoning usage max_output_tokens
    max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key
    """.split()
)
_CHUNK = "chat.completion.chunk"
"""The `object` of the events of a Chat stream."""
_ERROR_WHY = (
    "OpenAI's SDK passes on missing and wrong values unchecked. Its stream helpers raise an error "
    "if an event lacks an index, a delta, or the object that it announces."
)
_MINOR_WHY = (
    "The affected fields are recent, often omitted, or irrelevant to gpt-oss; clients cope "
    "without them."
)


@family.check(
    "reply.unreadable", good_statuses, source=GUIDE, apis=APIS, component="unreadable", witness=True
)
def _unreadable(exchange: ParsedExchange) -> Iterator[Problem]:
    """A response with a 2xx status can be parsed as a reply of its API.

    Clients cannot use an unreadable reply, such as a body that does not have the format that its
    Content-Encoding names, one that does not end, or an error that is sent as a reply. The check
    stream.error_event reports error events. A body that is no JSON object, or an error, is no
    consequence of another defect.
    """
    failure, reason = exchange.recorded.failure, exchange.unreadable
    if failure is not None and failure.kind in ("protocol", "encoding", "too_large"):
        reason = failure.message
    if reason is not None and not exchange.error_events and not _is_unasked_stream(exchange):
        response = exchange.recorded.response
        streamed = response is not None and response.body is None
        body = "" if response is None else response.body or ""
        read = json_object(body)
        alone = not streamed and (read is None or bool(read.get("error")))
        got = "a stream" if streamed else body or "an empty body"
        yield Problem(exchange, reason, "a reply of this API", got, proven=alone)


@family.check(
    "reply.streamed",
    good_statuses,
    lambda exchange: not exchange.request.body.get("stream"),
    component="streamed",
)
def _streamed(exchange: ParsedExchange) -> Iterator[Problem]:
    """A request that does not set `stream` to true gets one JSON object.

    Clients that do not ask for a stream cannot read one.
    """
    if _is_unasked_stream(exchange):
        message = "The reply is a stream, and the request did not ask for one."
        yield Problem(exchange, message, "one JSON object", "a stream", proven=True)


def _is_unasked_stream(exchange: ParsedExchange) -> bool:
    response, request = exchange.recorded.response, exchange.recorded.request.body or {}
    streamed = response is not None and response.body is None and not request.get("stream")
    return streamed and exchange.unreadable is not None


def _mismatches(minor: bool, exchange: ParsedExchange) -> Iterator[Problem]:
    """Report each path once, at its first occurrence; those that stop the SDK come first."""
    first = {miss.path: (event, miss) for event, miss in reversed(exchange.mismatches)}
    misses = [(event, miss) for event, miss in reversed(first.values()) if miss.minor is minor]
    stops = {
        path: stops_sdk(event, path) and not _is_skipped(exchange, event)
        for path, (event, _) in first.items()
    }
    for event, miss in sorted(misses, key=lambda pair: not stops[pair[1].path]):
        message = f"{miss.path}: {miss.message}."
        message = f"The required field {miss.path} is missing." if miss.missing else message
        if stops[miss.path]:
            message = f"{message} The stream helper of OpenAI's SDK raises an error."
        yield Problem(exchange, message, miss.message, miss.got, miss.path, event)


def _is_skipped(exchange: ParsedExchange, event: int | None) -> bool:
    """Whether the helper for Chat streams skips an event, as it is no chunk among chunks."""
    if exchange.api != "chat" or event is None:
        return False
    kinds = [(each.data or {}).get("object") for each in exchange.events]
    return kinds[event] != _CHUNK and _CHUNK in kinds


_SCHEMAS: Sequence[tuple[Api, str, str, str]] = (
    ("chat", "Completions and chunks", "Chat Completions", CHAT),
    ("responses", "Response objects and events", "Responses", RESPONSES),
)
for _api, _objects, _name, _source in _SCHEMAS:
    family.check(
        f"{_api}.schema",
        readable,
        apis=(_api,),
        source=_source,
        reads=("fields",),
        text=f"{_objects} have the fields and types of the {_name} API. {_ERROR_WHY}",
    )(partial(_mismatches, False))
    family.check(
        f"{_api}.schema.minor",
        readable,
        apis=(_api,),
        severity="warning",
        source=_source,
        reads=("fields",),
        text=f"{_objects} also conform to the {_name} API in minor fields. {_MINOR_WHY}",
    )(partial(_mismatches, True))


@family.check(
    "responses.stream.event_type",
    readable,
    apis=("responses",),
    modes=("streaming",),
    severity="warning",
    component="events",
    fix="Repeat the name of every event as `type` in its data.",
)
def _event_type(exchange: ParsedExchange) -> Iterator[Problem]:
    """Every event has a type that the Responses API defines.

    Most clients ignore unknown events; `stream()` of openai 7.59 (npm) ends at one (`make
    clients`), also at `keepalive`, which OpenAI's own server sends. Comments keep a connection
    open, too. It is an error if no event of a stream has the member `type`: OpenAI's SDK reads it,
    and not the name of the event.
    """
    sent = [event for event in exchange.events if event.data is not None and not event.is_error]
    if sent and not any(event.type for event in sent):
        message = "No event of the stream has the member `type` in its data."
        first = sent[0]
        got = f"event name {first.name!r}, data {first.text}"
        expected = '"type" with the name of the event'
        yield Problem(exchange, message, expected, got, "$.type", first.number, severity="error")
        return
    unknown = {
        event.type: event
        for event in reversed(exchange.events)
        if event.data is not None and not event.is_error
        if event_model(event.type) is None
    }
    for kind, event in unknown.items():
        message = f"The Responses API does not define the event type {kind!r}."
        yield Problem(exchange, message, "a defined event type", kind, "$.type", event.number)


@family.check(
    "responses.schema.required",
    answers,
    apis=("responses",),
    severity="info",
    source=OPEN_RESPONSES,
    reads=("fields",),
)
def _responses_required(answer: Answer) -> Iterator[Problem]:
    """A response contains every key that Open Responses requires, even if null.

    OpenAI's own types require fewer keys. Strict Open Responses clients reject the response, and
    some clients one whose function calls have no id of their own.
    """
    missing = sorted(_REQUIRED_OF_RESPONSES - answer.reply.raw.keys())
    yield from _missing(answer.exchange, missing, "$")
    for index, item in enumerate(objects(answer.reply.raw.get("output"))):
        if item.get("type") == "function_call" and item.get("id") is None:
            yield from _missing(answer.exchange, ["id"], f"$.output[{index}].id")


def _missing(exchange: ParsedExchange, keys: list[str], path: str) -> Iterator[Problem]:
    if keys:
        got = f"without {', '.join(keys)}"
        yield Problem(exchange, "Required keys are missing.", "every required key", got, path)
