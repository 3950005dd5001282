"""Probes of Responses over WebSocket, on simulated providers."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from healthy import exchange, json_response, stream_response
from probing import Served, judged, prove
from replies import Reply, responses_blocks, responses_events

from harness.api.items import Message
from harness.records.rollouts import Exchange, Response, TransportFailure
from harness.rules.probe import ProbeRequest
from harness.rules.state.websocket_probes import GROUP
from harness.run.attempts import Attempt

HELLO = Reply(text="Hello there.", reasoning="Greet.")
NOTHING = Reply(text=None, reasoning="")
CALL = Reply(call=("get_weather", '{"city": "Lisbon"}'), text=None)
Provider = Callable[[ProbeRequest, Attempt], Any]


def counted(reply: Reply, tokens: int) -> Response:
    """A stream that reports these prompt tokens."""
    events = responses_events(reply)
    events[-1]["response"]["usage"] |= {"input_tokens": tokens, "total_tokens": tokens + 20}
    return stream_response(responses_blocks(events))


def cut() -> Response:
    """A reply whose limit is reached in its CoT."""
    events = responses_events(NOTHING)
    reason = {"reason": "max_output_tokens"}
    events[-1]["type"] = "response.incomplete"
    events[-1]["response"] |= {"status": "incomplete", "incomplete_details": reason}
    return stream_response(responses_blocks(events))


def error(status: int | None = 400) -> Response:
    """An error event; without a status, it is a part of a stream."""
    event = {"type": "error", "error": {"message": "not found", "code": "x"}, "status": status}
    if status is None:
        return stream_response([f"data: {json.dumps(event)}"])
    return json_response(event, status)


def closed() -> Exchange:
    failure = TransportFailure(kind="cut", message="the server closed the connection")
    return exchange("responses", True, None, failure=failure)


def serving(**given: Any) -> Provider:
    """A healthy provider, except for the answers to these requests."""

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        name = request.id.replace(" ", "_")
        if name in given:
            return given[name]
        return {
            "told": [counted(HELLO, 60), counted(HELLO, 90)],
            "prepared": [counted(NOTHING, 60), counted(HELLO, 90)],
            "called": [counted(CALL, 100), counted(HELLO, 140)],
            "wrong": [HELLO, error(), HELLO],
            "two": [replace(HELLO, text="Orchid"), replace(HELLO, text="Walnut")],
        }.get(name, HELLO)

    return provider


RULES = [each.id for each in GROUP.probes]
UNKNOWN = dict.fromkeys(RULES, "not_verifiable")


def upgraded(*answer: Any) -> Provider:
    """A server with these answers over WebSocket."""
    return lambda _, attempt: list(answer) if attempt.sender.socket else HELLO


def reordered() -> Response:
    events = responses_events(HELLO)
    at = next(i for i, event in enumerate(events) if event["type"].endswith("_text.done"))
    events[at], events[at + 1] = events[at + 1], events[at]
    return stream_response(responses_blocks(events))


def mixed() -> list[Response]:
    first, second = responses_events(HELLO), responses_events(replace(HELLO, text="Walnut"))
    for event in second:
        if "response" in event:
            event["response"]["id"] = "resp_of_another_request"
    events = [event for pair in zip(first, second, strict=False) for event in pair]
    return [
        stream_response(responses_blocks(events[:-1])),
        stream_response(responses_blocks(events[-1:])),
    ]


def announced(word: str) -> Response:
    """A response that is announced with another id than it ends with."""
    events = responses_events(replace(HELLO, text=word))
    for event in events:
        if "response" in event:
            first = event["type"] == "response.created"
            event["response"]["id"] = f"resp_{word}_{'announced' if first else 'made'}"
    return stream_response(responses_blocks(events))


DEFECTS: list[tuple[dict[str, Any], set[str]]] = [
    ({"greeting": reordered()}, {"events"}),
    ({"told": [counted(HELLO, 60), counted(HELLO, 20)]}, {"continued"}),
    ({"told": [counted(HELLO, 60), error()]}, {"continued"}),
    ({"called": [counted(CALL, 100), closed()]}, {"continued"}),
    ({"wrong": [HELLO, closed(), HELLO]}, {"errors"}),
    ({"wrong": [HELLO, error(), closed()]}, {"errors"}),
    ({"prepared": [HELLO, HELLO]}, {"prepared"}),
    ({"prepared": [closed()]}, {"prepared"}),
    ({"prepared": [NOTHING, error()]}, {"prepared"}),
    ({"prepared": [NOTHING, counted(HELLO, 20)]}, {"prepared"}),
    ({"two": mixed()}, {"order"}),
    ({"two": [announced("orchid"), announced("walnut")]}, set()),
    ({"two": [HELLO, closed()]}, {"order"}),
    ({"two": [replace(HELLO, text="Walnut"), replace(HELLO, text="Orchid")]}, {"order"}),
]
HEALTHY: list[dict[str, Any]] = [
    {"wrong": [HELLO, error(None), HELLO]},  # an error event without a status
    {"wrong": [HELLO, HELLO, HELLO]},  # answered, which state.previous_response.unknown judges
    {"prepared": [error()]},  # refused
    {"prepared": [error(None)]},
    {"prepared": [NOTHING, counted(Reply(text="It is heron284."), 20)]},
    {"called": [counted(HELLO, 60)]},  # the model calls no tool
    {"told": [counted(HELLO, 60), counted(Reply(text="It is heron284."), 20)]},
    {"greeting": Reply(text="Hi!"), "greeting_in_a_stream": HELLO},  # without CoT
    *(  # A limit cuts the CoT of the first reply on the connection.
        {name: [cut(), *[replace(HELLO, text="Walnut")] * more]}
        for name, more in (("two", 1), ("told", 1), ("called", 1), ("wrong", 2))
    ),
]
"""What a model or a server may do."""
SERVERS: Served = {
    "healthy": (serving(), dict.fromkeys(RULES, "passed")),
    **{
        # 426 as the guide wants; 403 as FastAPI answers without such a route
        f"the upgrade gets {status}": (
            upgraded(Response(status=status, headers={}, body="")),
            UNKNOWN,
        )
        for status in (426, 404, 403, 405, 400, 500)
    },
    "the upgrade is closed": (upgraded(closed()), UNKNOWN),
    **{
        f"{at}: {', '.join(given)}": (
            serving(**given),
            {f"state.websocket.{name}": "failed" for name in names},
        )
        for at, (given, names) in enumerate([*DEFECTS, *((given, set()) for given in HEALTHY)])
    },
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server(server: str) -> None:
    prove(GROUP, *SERVERS[server], apis=["responses"])


def test_the_conversation_is_sent_in_messages_without_stream() -> None:
    (told,) = (each for each in GROUP.requests("responses") if each.id == "told")
    assert told.turns == (Message("user", told.turns[0].text),)
    seen: list[Any] = []

    def provider(request: ProbeRequest, attempt: Attempt) -> Any:
        if attempt.sender.socket:
            seen.append(attempt.first_request())
        return serving()(request, attempt)

    judged(GROUP, provider, ["responses"])
    assert {body["type"] for body in seen} == {"response.create"}
    assert not any("stream" in body for body in seen)
    assert {body["store"] for body in seen} == {False}
