"""Responses over WebSocket on a real socket, with OpenAI's client."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from scripted import ANSWER, CALL, FLAT_TOOL, ScriptedEngine, running
from test_server_responses import check_grammar
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from reference_engine.server.responses import socket as served_socket
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


class Connection:
    """A connection of OpenAI's client, which collects the events of each response."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, given: Any = "Hi", **fields: Any) -> None:
        self._connection.send({"type": "response.create", "model": MODEL, "input": given, **fields})

    def receive(self) -> list[dict[str, Any]]:
        events = []
        for event in self._connection:
            events.append(event.to_dict())
            if event.type in ENDS:
                return events
        raise EOFError("the connection was closed")

    def ask(self, given: Any = "Hi", **fields: Any) -> list[dict[str, Any]]:
        self.send(given, **fields)
        return self.receive()


@contextlib.contextmanager
def connected(engine: Any, settings: AppSettings | None = None) -> Iterator[Connection]:
    with (
        running(engine, settings) as url,
        openai.OpenAI(base_url=url, api_key="right", max_retries=0) as client,
        client.responses.connect() as connection,
    ):
        yield Connection(connection)


def test_a_message_gets_the_events_of_a_stream():
    with connected(ScriptedEngine()) as connection:
        for _ in range(2):
            response = check_grammar(connection.ask(stream=True))
            assert response["status"] == "completed"
            assert response["output"][-1]["content"][0]["text"] == "Hello there."


def test_the_connection_knows_responses_that_are_not_stored():
    engine = ScriptedEngine()
    with connected(engine) as connection:
        first = check_grammar(connection.ask("One", store=False))
        second = check_grammar(connection.ask("Two", store=False, previous_response_id=first["id"]))
        assert second["previous_response_id"] == first["id"]
        assert engine.prompts[-1].index("One") < engine.prompts[-1].index("Hello there.")
        third = check_grammar(connection.ask("Three", previous_response_id=second["id"]))
        assert [word in engine.prompts[-1] for word in ("One", "Two", "Three")] == [True] * 3
        assert third["id"] != second["id"]


def test_another_connection_knows_only_what_is_stored():
    with (
        running(ScriptedEngine()) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        with client.responses.connect() as opened:
            connection = Connection(opened)
            kept = connection.ask(store=True)[-1]["response"]["id"]
            unkept = connection.ask(store=False)[-1]["response"]["id"]
        with client.responses.connect() as opened:
            connection = Connection(opened)
            assert connection.ask(previous_response_id=kept)[-1]["type"] == "response.completed"
            (error,) = connection.ask(previous_response_id=unkept)
        assert (error["type"], error["status"]) == ("error", 400)
        assert error["error"]["code"] == "previous_response_not_found"
        assert client.responses.retrieve(kept).id == kept


def test_a_call_and_its_result():
    engine = ScriptedEngine(lambda prompt, _: ANSWER if "sunny" in prompt else CALL)
    with connected(engine) as connection:
        response = check_grammar(connection.ask(tools=[FLAT_TOOL], store=False))
        call = response["output"][-1]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        final = check_grammar(
            connection.ask(
                [result], tools=[FLAT_TOOL], store=False, previous_response_id=response["id"]
            )
        )
    assert final["output"][-1]["content"][0]["text"] == "Hello there."
    assert "I think" in engine.prompts[-1] or "<|channel|>analysis" in engine.prompts[-1]


def test_a_response_without_generation_can_be_continued():
    engine = ScriptedEngine()
    with connected(engine) as connection:
        events = connection.ask("One", generate=False, store=False, instructions="Be brief.")
        prepared = check_grammar(events)
        assert (prepared["output"], engine.prompts) == ([], [])
        connection.ask("Two", store=False, previous_response_id=prepared["id"])
        assert "One" in engine.prompts[-1]
        assert "Be brief." not in engine.prompts[-1]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"type": "response.steer"}, "type", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"colour": 1}, "colour", "unsupported_parameter"),
        ({"background": True}, "background", "invalid_value"),
        ({"model": "other"}, "model", "model_not_found"),
        ({"stream_id": ""}, "stream_id", "invalid_value"),
        ({"previous_response_id": "resp_0"}, "previous_response_id", "previous_response_not_found"),
    ],
)
def test_an_error_is_an_event_and_the_connection_stays_open(fields, param, code):
    with connected(ScriptedEngine()) as connection:
        (error,) = connection.ask(**fields)
        assert (error["type"], error["error"]["param"], error["error"]["code"]) == (
            "error",
            param,
            code,
        )
        assert error["status"] in (400, 404)
        assert connection.ask()[-1]["type"] == "response.completed"


def test_a_failed_continuation_forgets_the_response_of_the_connection():
    with connected(ScriptedEngine()) as connection:
        known = connection.ask(store=False)[-1]["response"]["id"]
        assert connection.ask(previous_response_id=known, top_p=7)[0]["type"] == "error"
        # The request was invalid before its conversation was known.
        assert connection.ask(previous_response_id=known)[-1]["type"] == "response.completed"
        wrong = [{"type": "function_call_output", "call_id": "call_0", "output": "x"}]
        assert connection.ask(wrong, previous_response_id=known)[0]["type"] == "error"
        (error,) = connection.ask(previous_response_id=known)
        assert error["error"]["code"] == "previous_response_not_found"


def test_requests_on_one_connection_are_answered_one_after_another():
    engine = ScriptedEngine(lambda prompt, _: ANSWER.replace("Hello", prompt[-22:-19]))
    engine.pause = 0.005
    with connected(engine) as connection:
        for number in ("one", "two", "six"):
            connection.send(f"Say {number}", stream_id=f"lane.{number}")
        for number in ("one", "two", "six"):
            events = connection.receive()
            assert {event["stream_id"] for event in events} == {f"lane.{number}"}
            check_grammar(events)
            assert events[0]["response"]["id"] == events[-1]["response"]["id"]


def test_messages_that_are_no_json_objects():
    with running(ScriptedEngine()) as url, connect(url.replace("http", "ws") + "/responses") as raw:
        for message in ("{", "[]", b"\xff", "7"):
            raw.send(message)
            assert '"status":400' in str(raw.recv())


def test_a_client_that_leaves_ends_its_request():
    engine = ScriptedEngine()
    engine.pause = 0.05
    with running(engine) as url:
        with connect(url.replace("http", "ws") + "/responses") as raw:
            raw.send('{"type": "response.create", "model": "gpt-oss-small", "input": "Hi"}')
            raw.recv()
        deadline = time.monotonic() + 10
        while not engine.cancelled and time.monotonic() < deadline:
            time.sleep(0.01)
    assert engine.cancelled == 1


def test_a_wrong_key_is_refused_before_the_upgrade():
    settings = AppSettings(api_key="right")
    with connected(ScriptedEngine(), settings) as connection:
        assert connection.ask()[-1]["type"] == "response.completed"
    with running(ScriptedEngine(), settings) as url, pytest.raises(InvalidStatus) as refused:
        connect(url.replace("http", "ws") + "/responses")
    assert refused.value.response.status_code == 401
    assert b"API key" in (refused.value.response.body or b"")


def test_an_old_connection_takes_no_more_requests(monkeypatch):
    monkeypatch.setattr(served_socket, "_LONGEST", -1)
    with connected(ScriptedEngine()) as connection:
        (error,) = connection.ask()
        assert error["error"]["code"] == "websocket_connection_limit_reached"


def test_a_server_that_stops_closes_its_connections():
    engine = ScriptedEngine()
    engine.pause = 5
    said: list[Any] = []

    def ask(url: str) -> None:
        with connect(url) as raw:
            raw.send('{"type": "response.create", "model": "gpt-oss-small", "input": "Hi"}')
            try:
                while True:
                    raw.recv()
            except ConnectionClosed as closed:
                said.append(closed.rcvd and closed.rcvd.code)

    with running(engine) as url:
        client = threading.Thread(target=ask, args=[url.replace("http", "ws") + "/responses"])
        client.start()
        while not engine.prompts:
            time.sleep(0.01)
    client.join()
    assert said == [1012]  # "service restart"
    assert engine.cancelled == 1
