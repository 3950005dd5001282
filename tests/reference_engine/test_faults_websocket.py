"""Faults of Responses over WebSocket, with OpenAI's client."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from faulty import names_of
from scripted import ScriptedEngine, serving
from test_server_socket import Connection
from websockets.exceptions import ConnectionClosed

from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

Use = Callable[[Connection, ScriptedEngine], Any]


def kinds_of_a_response(connection: Connection, _: ScriptedEngine) -> bool:
    kinds = [event["type"] for event in connection.ask()]
    kinds = kinds[kinds.index("response.output_text.delta") :]
    return kinds.index("response.output_text.done") > kinds.index("response.content_part.done")


def forgets(connection: Connection, engine: ScriptedEngine) -> bool:
    first = connection.ask("One", store=False)[-1]["response"]["id"]
    again = connection.ask("Two", store=False, previous_response_id=first)[-1]["response"]
    assert again["previous_response_id"] == first
    return "One" not in engine.prompts[-1]


def mixes(connection: Connection, engine: ScriptedEngine) -> bool:
    engine.pause = 0.01
    connection.send("One")
    connection.send("Two")
    events = connection.receive()
    ids = {event["response"]["id"] for event in events if "response" in event}
    events += connection.receive()
    assert len({event["response"]["id"] for event in events if "response" in event}) == 2
    return len(ids) > 1


def closes(connection: Connection, _: ScriptedEngine) -> bool:
    try:
        connection.ask(previous_response_id="resp_0")
    except (ConnectionClosed, EOFError, openai.OpenAIError):
        return True
    return False


def answers(connection: Connection, _: ScriptedEngine) -> bool:
    return bool(connection.ask("One", generate=False)[-1]["response"]["output"])


ROWS: dict[str, Use] = {
    "socket-events-reordered": kinds_of_a_response,
    "socket-state-lost": forgets,
    "socket-generates-always": answers,
    "socket-responses-mixed": mixes,
    "socket-errors-close": closes,
}


def test_every_fault_has_a_row():
    assert ROWS.keys() == names_of("websocket")


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_shows_on_its_connections_only(name):
    shown = []
    for faults in ([], [name]):
        engine = ScriptedEngine()
        app = faulty_parts(faults).app(engine, AppSettings())
        with (
            serving(app) as url,
            openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
        ):
            with client.responses.connect() as connection:
                shown.append(ROWS[name](Connection(connection), engine))
            assert client.responses.create(model="gpt-oss-small", input="Hi").output_text
    assert shown == [False, True]


def test_faults_of_replies_and_requests_act_over_websocket_too():
    app = faulty_parts(["reasoning-in-summary"]).app(ScriptedEngine(), AppSettings())
    with (
        serving(app) as url,
        openai.OpenAI(base_url=url, api_key="none") as client,
        client.responses.connect() as connection,
    ):
        final = Connection(connection).ask()[-1]["response"]
    assert final["output"][0]["summary"]


def test_a_request_can_name_its_fault():
    app = faulty_parts([], by_request=True).app(ScriptedEngine(), AppSettings())
    with (
        serving(app) as url,
        openai.OpenAI(base_url=url, api_key="none") as client,
        client.responses.connect(extra_headers={"X-Fault": "socket-errors-close"}) as connection,
    ):
        assert closes(Connection(connection), ScriptedEngine())
