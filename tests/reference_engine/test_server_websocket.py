"""Responses over WebSockets, with the clients `websockets` and `openai`."""

import contextlib
import json
import time

import httpx
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from scripted import ANSWER, CALL, FLAT_TOOL, ScriptedEngine, running, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
EVENT = TypeAdapter(ResponseStreamEvent)
LOST = "previous_response_not_found"


@pytest.fixture
def engine():
    return ScriptedEngine()


@pytest.fixture
def url(engine):
    with running(engine) as base_url:
        yield base_url


@contextlib.contextmanager
def connected(url, **options):
    address = url.replace("http:", "ws:") + "/responses"
    with connect(address, proxy=None, **options) as socket:
        yield socket


def send(socket: ClientConnection, given="Hi", **fields) -> None:
    message = {"type": "response.create", "model": MODEL, "input": given, "store": False}
    socket.send(json.dumps(message | fields))


def turn(socket: ClientConnection) -> list[dict]:
    """The events up to the end of a turn."""
    events = []
    while not events or not ("error" in events[-1] or ends(events[-1])):
        events.append(json.loads(socket.recv(timeout=10)))
    return events


def ends(event: dict) -> bool:
    return event["type"] in {"response.completed", "response.incomplete", "response.failed"}


def ask(socket: ClientConnection, given="Hi", **fields) -> dict:
    """The response to a message."""
    send(socket, given, **fields)
    return turn(socket)[-1]["response"]


def cancelled(engine) -> bool:
    """Whether a turn is cancelled within ten seconds and no other one is started."""
    deadline = time.monotonic() + 10
    while not engine.cancelled and time.monotonic() < deadline:
        time.sleep(0.01)
    return engine.cancelled == len(engine.prompts) == 1


def refused(socket: ClientConnection, given="Hi", **fields) -> str:
    """The code of the error to a message."""
    send(socket, given, **fields)
    (event,) = turn(socket)
    assert event["type"] == "error"
    return event["error"]["code"]


def test_the_events_are_those_of_a_stream(url):
    with connected(url) as socket:
        send(socket)
        events = turn(socket)
    body = {"model": MODEL, "input": "Hi", "store": False, "stream": True}
    lines = httpx.post(f"{url}/responses", json=body).text.splitlines()
    streamed = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in events] == [event["type"] for event in streamed]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event.keys() for event in events] == [event.keys() for event in streamed]
    for event in events:
        EVENT.validate_python(event)


def test_a_connection_remembers_unstored_responses(url, engine):
    engine.script = lambda prompt, _: ANSWER if "sunny" in prompt else CALL
    with connected(url) as socket:
        first = ask(socket, "The code is 4711.", tools=[FLAT_TOOL])
        call = first["output"][-1]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        second = ask(socket, [result], previous_response_id=first["id"], tools=[FLAT_TOOL])
        assert second["status"] == "completed"
        assert all(part in engine.prompts[1] for part in ("4711", "I think.", "sunny"))
        assert refused(socket, previous_response_id=first["id"]) == LOST
    with connected(url) as socket:
        assert refused(socket, previous_response_id=second["id"]) == LOST
        assert ask(socket)["status"] == "completed"
    assert httpx.get(f"{url}/responses/{second['id']}").status_code == 404


def test_stored_responses_outlive_the_connection(url, engine):
    with connected(url) as socket:
        first = ask(socket, "The code is 4711.", store=True)
    with connected(url) as socket:
        ask(socket, "And?", previous_response_id=first["id"])
    assert "4711" in engine.prompts[1]


def test_a_failed_turn_forgets_the_response_it_continued(url):
    result = {"type": "function_call_output", "call_id": "call_none", "output": "sunny"}
    with connected(url) as socket:
        first = ask(socket)
        assert refused(socket, [result], previous_response_id=first["id"]) == "invalid_value"
        assert refused(socket, previous_response_id=first["id"]) == LOST


@pytest.mark.parametrize(
    ("message", "status", "code", "says"),
    [
        ("{", 400, "invalid_request_error", "not valid JSON"),
        ("[]", 400, "invalid_request_error", "must be a JSON object"),
        ("[" * 500 + "]" * 500, 400, "invalid_request_error", "must be a JSON object"),
        ('{"type": "response.create", "input": ' + "[" * 500 + "]" * 500 + "}",
         400, "invalid_request_error", "nested too deeply"),
        ('{"type": "response.steer"}', 400, "invalid_value", "only 'response.create'"),
        ('{"type": "response.create", "stream": false}', 400, "invalid_value", "always streams"),
        ('{"type": "response.create", "input": "Hi", "model": "x"}',
         404, "model_not_found", "does not exist"),
        (b'{"type": "response.create", "model": "gpt-oss-small"}',
         400, "missing_required_parameter", "'input'"),
    ],
)  # fmt: skip
def test_a_wrong_message_is_rejected_and_the_connection_stays_open(
    url, message, status, code, says
):
    with connected(url) as socket:
        socket.send(message)
        (event,) = turn(socket)
        assert (event["type"], event["status"], event["error"]["code"]) == ("error", status, code)
        assert says in event["error"]["message"]
        assert ask(socket)["status"] == "completed"


def test_messages_are_answered_one_after_the_other(url):
    with connected(url) as socket:
        for at in range(3):
            send(socket, metadata={"at": str(at)})
        turns = [turn(socket) for _ in range(3)]
    assert [events[-1]["response"]["metadata"]["at"] for events in turns] == ["0", "1", "2"]
    assert all({event["response"]["id"] for event in events if "response" in event}
               == {events[-1]["response"]["id"]} for events in turns)  # fmt: skip


def test_too_many_waiting_messages_end_the_connection(url, engine, caplog):
    engine.pause = 0.05
    with connected(url) as socket:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20):
                send(socket)
            turn(socket)
        assert socket.close_code == 1008
    assert cancelled(engine)
    assert not caplog.records


def test_a_disconnected_client_ends_its_turn(url, engine, caplog):
    engine.pause = 0.05
    with connected(url) as socket:
        send(socket)
        socket.recv(timeout=10)
    assert cancelled(engine)
    assert not caplog.records


def test_a_connection_is_closed_after_its_time_limit(engine):
    with running(engine, AppSettings(websocket_seconds=0.3)) as url, connected(url) as socket:
        assert ask(socket)["status"] == "completed"
        (event,) = turn(socket)
        assert event["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)


def test_the_key_is_required(engine):
    with running(engine, AppSettings(api_key="secret")) as url:
        with pytest.raises(InvalidStatus) as refusal, connected(url):
            pass
        assert refusal.value.response.status_code == 401
        with connected(url, additional_headers={"Authorization": "Bearer secret"}) as socket:
            assert ask(socket)["status"] == "completed"


def test_pages_of_other_origins_are_rejected(url):
    with pytest.raises(InvalidStatus) as refusal, connected(url, origin="https://example.com"):
        pass
    assert refusal.value.response.status_code == 403
    with connected(url, origin=url.removesuffix("/v1")) as socket:
        assert ask(socket)["status"] == "completed"


@pytest.mark.parametrize("allowed", ["https://example.com", "*"])
def test_pages_of_allowed_origins_are_served(engine, allowed):
    with (
        running(engine, AppSettings(allowed_origins=(allowed,))) as url,
        connected(url, origin="https://example.com") as socket,
    ):
        assert ask(socket)["status"] == "completed"


def test_faults_and_variations_apply_as_in_a_stream(engine):
    app = faulty_parts(["ok:open-responses-events"]).app(engine, AppSettings())
    with serving(app) as url, connected(url) as socket:
        send(socket)
        kinds = {event["type"] for event in turn(socket)}
    assert "response.reasoning.delta" in kinds
    assert "response.reasoning_text.delta" not in kinds


def test_a_stopping_server_closes_the_connection(engine):
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running(engine))
        with connected(url) as socket:
            stack.close()
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=10)


def test_the_openai_client(url):
    with (
        openai.OpenAI(base_url=url, api_key="none") as client,
        client.responses.connect() as connection,
    ):
        connection.response.create(model=MODEL, input="Hi", store=False)
        for event in connection:
            if event.type == "response.completed":
                break
    assert event.response.output_text == "Hello there."
