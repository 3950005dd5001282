"""Tools of MCP servers in the Responses API: a real server, over its streams and over HTTP."""

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from scripted import ANSWER, COT, FLAT_TOOL, ScriptedEngine, sdk_client

from reference_engine.builtin.mcp import read_servers
from reference_engine.builtin.tools import ServerTools
from reference_engine.errors import SetupError
from reference_engine.server.settings import AppSettings

pytest.importorskip("mcp", reason="mcp is not installed")

EVENT = TypeAdapter(ResponseStreamEvent)
MODEL = "gpt-oss-small"
SERVER = Path(__file__).parents[1] / "support" / "mcp_server.py"
LAKES = {"type": "mcp", "server_label": "lakes", "require_approval": "never"}
CALL = "<|channel|>commentary to=functions.{} <|constrain|>json<|message|>{}<|call|>"
DEPTH = CALL.format("depth", '{"lake": "Orla"}')


@contextlib.contextmanager
def mcp_over_http():
    """The test server at a URL."""
    from mcp_server import server

    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    web = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            web.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with mcp_over_http() as url:
        targets = [f"lakes={url}", f"process={sys.executable} {SERVER}", "broken=/nowhere/x"]
        tools = ServerTools(mcp=read_servers(targets), most_calls=3)
        with sdk_client(engine, AppSettings(tools=tools)) as client:
            yield engine, client, url


@pytest.fixture
def engine(served):
    served[0].prompts.clear()
    served[0].script = lambda prompt, _: ANSWER if "<|call|>" in prompt else COT + DEPTH
    return served[0]


def ask(client, given="How deep is Lake Orla?", **fields) -> Response:
    response = client.responses.create(model=MODEL, input=given, **({"tools": [LAKES]} | fields))
    Response.model_validate(response.model_dump(warnings=False))
    return response


def test_the_model_sees_the_tools_and_their_results(engine, client):
    response = ask(client)
    kinds = [item.type for item in response.output]
    assert kinds == ["mcp_list_tools", "reasoning", "mcp_call", "reasoning", "message"]
    listed, call = response.output[0], response.output[2]
    assert [tool.name for tool in listed.tools] == ["depth", "remember", "drain", "water"]
    assert listed.tools[0].annotations["readOnlyHint"] is True
    assert (call.name, call.server_label, call.status) == ("depth", "lakes", "completed")
    assert (call.arguments, call.output) == ('{"lake": "Orla"}', "Orla is 412 m deep.")
    assert "// The depth of a lake.\ntype depth = (_: {\n" in engine.prompts[0]
    assert engine.prompts[1].endswith(
        "<|start|>functions.depth to=assistant<|channel|>commentary<|message|>Orla is 412 m deep."
        "<|end|><|start|>assistant"
    )
    assert response.usage.input_tokens > 0
    assert response.tools[0].server_label == "lakes"


def test_streams_have_the_events_of_the_sdk_and_equal_the_whole_reply(engine, client):
    whole = ask(client)
    events = list(client.responses.create(model=MODEL, input="How deep is Lake Orla?",
                                          tools=[LAKES], stream=True))  # fmt: skip
    for event in events:
        EVENT.validate_python(event.model_dump(warnings=False))
    bare = [
        [item.model_dump(exclude={"id"}, warnings=False) for item in each.output]
        for each in (whole, events[-1].response)
    ]
    assert bare[0] == bare[1]
    at = {n: list(dict.fromkeys(each.type for each in events
          if getattr(each, "output_index", -1) == n)) for n in (0, 2)}  # fmt: skip
    added, done = "response.output_item.added", "response.output_item.done"
    call, listed = "response.mcp_call", "response.mcp_list_tools"
    assert at[0] == [added, f"{listed}.in_progress", f"{listed}.completed", done]
    assert at[2] == [
        added, f"{call}.in_progress", f"{call}_arguments.delta", f"{call}_arguments.done",
        f"{call}.completed", done,
    ]  # fmt: skip


def test_a_process_keeps_its_state_for_one_response(engine, client):
    remember = COT + CALL.format("remember", '{"metres": 412}')
    engine.script = lambda prompt, _: remember if prompt.count("<|call|>") < 2 else ANSWER
    tool = LAKES | {"server_label": "process", "allowed_tools": ["remember"]}
    output = ask(client, tools=[tool]).output
    assert [tool.name for tool in output[0].tools] == ["remember"]
    assert [item.output for item in output if item.type == "mcp_call"] == ["1", "2"]
    again = ask(client, tools=[tool]).output
    assert [item.output for item in again if item.type == "mcp_call"] == ["1", "2"]


def test_the_loop_ends_with_an_answer(engine, client):
    engine.script = lambda prompt, _: ANSWER if prompt.endswith("final<|message|>") else COT + DEPTH
    kinds = [item.type for item in ask(client).output]
    assert kinds.count("mcp_call") == 3
    assert kinds[-1] == "message"


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (CALL.format("drain", '{"lake": "Orla"}'), "mcp_tool_execution_error", "cannot be drained"),
        (CALL.format("depth", "{no json"), "mcp_protocol_error", "not a JSON object"),
    ],
)
def test_errors_in_calls_are_reported_to_the_model(engine, client, call, kind, text):
    engine.script = lambda prompt, _: ANSWER if "<|call|>" in prompt else COT + call
    item = ask(client).output[2]
    assert (item.status, item.error.type, item.output) == ("failed", kind, None)
    assert text in engine.prompts[-1]


def test_long_outputs_are_truncated(engine, client):
    water = CALL.format("water", "{}")
    engine.script = lambda prompt, _: ANSWER if "<|call|>" in prompt else COT + water
    output = ask(client).output[2].output
    assert len(output) < 17_000
    assert output.endswith("the rest is cut off.]")


def test_calls_sent_back_keep_their_results(engine, client):
    first = ask(client)
    engine.script = lambda *_: ANSWER
    sent_back = [item.model_dump(exclude_none=True, warnings=False) for item in first.output]
    for item in sent_back:
        item.pop("id")
    more = [{"role": "user", "content": "Hi"}, *sent_back, {"role": "user", "content": "And now?"}]
    ask(client, more)
    assert "<|message|>Orla is 412 m deep.<|end|>" in engine.prompts[-1]
    ask(client, "And now?", previous_response_id=first.id)
    assert "<|message|>Orla is 412 m deep.<|end|>" in engine.prompts[-1]


def test_a_server_url_configured_by_the_operator_can_be_used(engine, client, served):
    tool = LAKES | {"server_label": "mine", "server_url": served[2], "authorization": "secret"}
    response = ask(client, tools=[tool | {"allowed_tools": {"read_only": True}}])
    assert [each.name for each in response.output[0].tools] == ["depth"]
    assert response.output[2].server_label == "mine"
    assert "secret" not in response.model_dump_json()


@pytest.mark.parametrize(
    ("tools", "fields", "status", "message"),
    [
        ([LAKES | {"server_url": "http://169.254.169.254/mcp"}], {}, 400, "is not one of the MCP"),
        ([LAKES | {"server_label": "other"}], {}, 400, "has no MCP server 'other'"),
        ([LAKES, LAKES], {}, 400, "Two MCP servers have the label 'lakes'"),
        ([LAKES | {"require_approval": "always"}], {}, 400, "tools[0].require_approval"),
        ([LAKES | {"allowed_tools": 3}], {}, 400, "tools[0].allowed_tools"),
        ([LAKES | {"connector_id": "connector_gmail"}], {}, 400, "tools[0].connector_id"),
        ([LAKES], {"tool_choice": "required"}, 400, "cannot require a call"),
        ([LAKES, FLAT_TOOL | {"name": "depth"}], {}, 400, "two tools named 'depth'"),
        ([LAKES | {"server_label": "broken"}], {}, 424, "'broken' cannot be used: [Errno 2]"),
        ([LAKES | {"server_label": "process", "headers": {"a": "b"}}], {}, 400, "no headers"),
    ],
)
def test_unsupported_features_are_rejected_by_name(engine, client, tools, fields, status, message):
    body = {"model": MODEL, "input": "Hi", "tools": tools, **fields}
    for stream in (False, True):
        reply = httpx.post(f"{client.base_url}responses", json=body | {"stream": stream})
        assert (reply.status_code, engine.prompts) == (status, [])
        assert message in reply.json()["error"]["message"]


def test_too_many_tools_are_rejected_unless_some_are_selected(engine, client, monkeypatch):
    monkeypatch.setattr("reference_engine.builtin.mcp._MOST_TOOLS", 2)
    body = {"model": MODEL, "input": "Hi", "tools": [LAKES]}
    reply = httpx.post(f"{client.base_url}responses", json=body, timeout=30)
    assert (reply.status_code, engine.prompts) == (424, [])
    assert "has 4 tools" in reply.json()["error"]["message"]
    engine.script = lambda *_: ANSWER
    assert ask(client, tools=[LAKES | {"allowed_tools": ["water"]}]).output_text == "Hello there."


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
def test_a_disconnected_client_leaves_no_process(engine, client):
    engine.pause = 0.05
    tool = LAKES | {"server_label": "process"}
    try:
        events = client.responses.create(model=MODEL, input="Hi", tools=[tool], stream=True)
        next(iter(events))
        assert _children()
        events.close()
        deadline = time.monotonic() + 20
        while _children() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _children()
    finally:
        engine.pause = 0.0


def _children() -> list[bytes]:
    """The command lines of running test servers."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # The process has just ended.
            lines.append(path.read_bytes())
    return [line for line in lines if str(SERVER).encode() in line]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["http://127.0.0.1/mcp"], "does not have the form"),
        (["a=x", "a=y"], "two servers 'a'"),
        (["a=x 'y"], "is not a valid shell command: No closing quotation."),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(SetupError, match=message):
        read_servers(options)
