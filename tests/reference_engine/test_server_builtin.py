"""Built-in tools in the Responses API: the loop, its items and events, and rejected requests."""

import httpx
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from researching import CODE, INCLUDE, OPEN, RUN, SEARCH, WEB, research, server_tools
from scripted import ANSWER, COT, FLAT_TOOL, LONG_COT, ScriptedEngine, running, sdk_client

from harmony.vocabulary import encode
from reference_engine.builtin.python import PythonSandbox
from reference_engine.builtin.tools import ServerTools
from reference_engine.errors import SetupError
from reference_engine.server.settings import AppSettings

EVENT = TypeAdapter(ResponseStreamEvent)
MODEL = "gpt-oss-small"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    engine = ScriptedEngine()
    tools = server_tools(tmp_path_factory.mktemp("pages"))
    with sdk_client(engine, AppSettings(tools=tools)) as client:
        yield engine, client


@pytest.fixture
def engine(served):
    served[0].script = research
    served[0].prompts.clear()
    served[0].params.clear()
    return served[0]


def ask(client, given="How deep is Lake Orla?", **fields) -> Response:
    fields = {"tools": [WEB, CODE], "include": INCLUDE} | fields
    response = client.responses.create(model=MODEL, input=given, **fields)
    Response.model_validate(response.model_dump(warnings=False))
    return response


def test_the_server_runs_the_tools_until_the_answer(engine, client):
    response = ask(client)
    assert response.status == "completed"
    kinds = [item.type for item in response.output]
    calls = ["web_search_call", "web_search_call", "code_interpreter_call"]
    assert kinds == [kind for call in (*calls, "message") for kind in ("reasoning", call)]
    search, opened, ran = response.output[1:6:2]
    assert search.action.query == "depth of Orla"
    assert [source.url for source in search.action.sources] == ["https://lakes.example/orla.html"]
    assert opened.action.url == "https://lakes.example/orla.html"
    assert ran.code == "print(6 * 7)"
    assert [output.logs for output in ran.outputs] == ["ran print(6 * 7)\n"]
    assert {item.status for item in (search, opened, ran)} == {"completed"}


def test_each_step_continues_the_prompt_as_gpt_oss_wrote_it(engine, client):
    ask(client)
    first, *_, last = engine.prompts
    assert "## browser\n" in first
    assert "## python\n" in first
    said = "<|start|>assistant<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
    assert last.startswith(first + said.removeprefix("<|start|>assistant") + SEARCH)
    assert (
        said + OPEN + "<|start|>browser.open to=assistant<|channel|>analysis<|message|>[1]" in last
    )
    assert last.endswith(
        said + RUN + "<|start|>python to=assistant<|channel|>analysis<|message|>"
        "ran print(6 * 7)\n<|end|><|start|>assistant"
    )


def test_usage_counts_every_step(engine, client):
    usage = ask(client).usage
    prompts = sum(len(encode(prompt)) for prompt in engine.prompts)
    said = sum(len(encode(research(prompt, None))) for prompt in engine.prompts)
    assert (usage.input_tokens, usage.output_tokens) == (prompts, said)
    assert usage.output_tokens_details.reasoning_tokens == 4 * len(encode("I think."))


def test_citations_become_annotations(engine, client):
    part = ask(client).output[-1].content[0]
    (annotation,) = part.annotations
    assert part.text[annotation.start_index : annotation.end_index] == "【1†L5】"
    assert (annotation.title, annotation.url) == ("Lake Orla", "https://lakes.example/orla.html")


def test_streams_have_the_events_of_the_sdk_and_equal_the_whole_reply(engine, client):
    whole = ask(client)
    fields = {"tools": [WEB, CODE], "include": INCLUDE, "stream": True}
    events = list(client.responses.create(model=MODEL, input="How deep is Lake Orla?", **fields))
    for event in events:
        EVENT.validate_python(event.model_dump(warnings=False))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [_bare(item) for item in events[-1].response.output] == list(map(_bare, whole.output))
    assert events[-1].response.usage == whole.usage
    at = {n: [event.type for event in events if getattr(event, "output_index", -1) == n]
          for n in (1, 5, 7)}  # fmt: skip
    search, python = "response.web_search_call", "response.code_interpreter_call"
    added, done = "response.output_item.added", "response.output_item.done"
    stages = [f"{search}.{stage}" for stage in ("in_progress", "searching", "completed")]
    assert at[1] == [added, *stages, done]
    assert list(dict.fromkeys(at[5])) == [
        added, f"{python}.in_progress", f"{python}_code.delta", f"{python}_code.done",
        f"{python}.interpreting", f"{python}.completed", done,
    ]  # fmt: skip
    assert at[7].count("response.output_text.annotation.added") == 1
    code = [event.delta for event in events if event.type == f"{python}_code.delta"]
    assert "".join(code) == "print(6 * 7)"
    ids = {event.item_id for event in events if event.type.startswith((search, python))}
    assert ids == {item.id for item in events[-1].response.output if "call" in item.type}


def _bare(item) -> dict:
    return item.model_dump(exclude={"id", "container_id"}, warnings=False)


def test_sources_and_outputs_are_sent_only_if_included(engine, client):
    output = ask(client, include=[]).output
    assert output[1].action.sources is None
    assert output[5].outputs is None


@pytest.mark.parametrize(("limit", "calls"), [(None, 5), (2, 2), (0, 0)])
def test_the_loop_ends_with_an_answer(engine, client, limit, calls):
    engine.script = lambda prompt, _: ANSWER if prompt.endswith("final<|message|>") else COT + RUN
    fields = {} if limit is None else {"max_tool_calls": limit}
    kinds = [item.type for item in ask(client, **fields).output]
    assert kinds.count("code_interpreter_call") == calls
    assert kinds[-1] == "message"


def test_the_token_limit_is_for_all_steps(engine, client):
    engine.script = lambda *_: COT + RUN
    response = ask(client, max_output_tokens=30)
    assert (response.status, response.usage.output_tokens) == ("incomplete", 30)
    assert [p.max_tokens for p in engine.params] == [30, 30 - len(encode(COT + RUN))]
    assert response.output[-1].status == "incomplete"


@pytest.mark.parametrize("said", [RUN, SEARCH])
def test_a_call_that_is_cut_off_is_not_run(engine, client, said):
    engine.script = lambda *_: LONG_COT + said
    response = ask(client, max_output_tokens=len(encode(LONG_COT + said)) - 2)
    _, item = response.output
    assert (response.status, item.status) == ("incomplete", "incomplete")
    assert len(engine.prompts) == 1


def test_only_offered_tools_run(engine, client):
    engine.script = lambda prompt, _: ANSWER if prompt.endswith("final<|message|>") else COT + RUN
    assert [item.type for item in ask(client, tools=[WEB]).output] == ["reasoning", "message"]
    assert "## python" not in engine.prompts[0]
    ask(client, tool_choice="none")
    assert "## browser" not in engine.prompts[-2]


def test_errors_in_calls_are_reported_to_the_model(engine, client):
    bad = "<|channel|>analysis to=browser.open code<|message|>{no json<|call|>"
    engine.script = lambda prompt, _: ANSWER if "<|call|>" in prompt else COT + bad
    item = ask(client).output[1]
    assert (item.status, item.action.type) == ("failed", "open_page")
    assert "Invalid function arguments" in engine.prompts[-1]


def test_a_function_call_ends_the_response_and_the_next_request_continues(engine, client):
    call = "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{}<|call|>"
    engine.script = lambda prompt, _: (
        COT + SEARCH if "browser.search to=assistant" not in prompt else call
    )
    tools = [WEB, FLAT_TOOL]
    first = ask(client, tools=tools)
    assert [item.type for item in first.output] == ["reasoning", "web_search_call", "function_call"]
    engine.script = lambda prompt, _: (
        ANSWER if "browser.open to=assistant" in prompt else COT + OPEN
    )
    result = {
        "type": "function_call_output", "call_id": first.output[-1].call_id, "output": "sunny"
    }  # fmt: skip
    ask(client, [result], tools=tools, previous_response_id=first.id)
    assert "Search Results" in engine.prompts[-1]
    assert "<|message|>[1] Lake Orla" in engine.prompts[-1]
    sent_back = [item.model_dump(exclude_none=True, warnings=False) for item in first.output]
    ask(client, [{"role": "user", "content": "Hi"}, *sent_back, result], tools=tools)
    assert "Search Results" in engine.prompts[-1]


def test_built_in_calls_made_by_other_servers_are_accepted_as_input(engine, client):
    engine.script = lambda *_: ANSWER
    logs = [{"type": "logs", "logs": "42"}]
    ran = {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "container_id": "c",
        "status": "completed",
    }
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed",
                "action": {"type": "search", "query": "x"}}  # fmt: skip
    ask(
        client,
        [{"role": "user", "content": "Hi"}, searched, ran | {"code": "6*7", "outputs": logs}],
    )
    assert "to=python code<|message|>6*7<|call|><|start|>python" in engine.prompts[-1]
    assert "browser.search to=assistant" not in engine.prompts[-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"type": "file_search"}]}, "file_search"),
        ({"tools": [WEB], "tool_choice": "required"}, "cannot require a call"),
        ({"tools": [WEB], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [CODE, FLAT_TOOL | {"name": "python"}]}, "function named 'python'"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container"),
        ({"tools": [WEB | {"filters": {"allowed_domains": []}}]}, "tools[0].filters"),
        ({"tools": [WEB], "max_tool_calls": -1}, "max_tool_calls"),
    ],
)
def test_unsupported_features_are_rejected_by_name(engine, client, fields, message):
    body = {"model": MODEL, "input": "Hi", **fields}
    reply = httpx.post(f"{client.base_url}responses", json=body)
    assert reply.status_code == 400
    assert message in reply.json()["error"]["message"]


def test_programs_run_in_the_sandbox():
    sandbox = PythonSandbox()
    try:
        sandbox.require_isolation()
    except SetupError as error:
        pytest.skip(str(error))
    engine = ScriptedEngine(lambda prompt, _: ANSWER if "<|call|>" in prompt else COT + RUN)
    settings = AppSettings(tools=ServerTools(python=sandbox))
    with sdk_client(engine, settings) as client:
        response = ask(client, tools=[CODE])
    assert response.output[1].outputs[0].logs == "42\n"
    assert engine.prompts[-1].endswith("<|message|>42\n<|end|><|start|>assistant")


def test_a_search_without_web_access_is_left_out_without_a_browser():
    """Codex offers it by default; the response repeats the tool, and the prompt lacks it."""
    stored = WEB | {"external_web_access": False}
    engine = ScriptedEngine()
    with sdk_client(engine) as client:
        response = client.responses.create(model=MODEL, input="Hi", tools=[FLAT_TOOL, stored])
    assert [tool.type for tool in response.tools] == ["function", "web_search"]
    assert "## browser" not in engine.prompts[-1]
    assert "get_weather" in engine.prompts[-1]


@pytest.mark.parametrize("tool", [WEB, {"type": "web_search_preview"}, CODE])
def test_a_server_without_the_tools_rejects_them(tool):
    with running(ScriptedEngine()) as url:
        for path, body in (
            ("responses", {"input": "Hi"}),
            ("chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ):
            reply = httpx.post(f"{url}/{path}", json={"model": MODEL, "tools": [tool], **body})
            assert reply.status_code == 400
            assert tool["type"] in reply.json()["error"]["message"]
