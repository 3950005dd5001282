"""A request that cannot be served gets the right status and an error that names the field."""

import json

import httpx
import pytest
from scripted import ANSWER, CALL, CHAT_TOOL, FLAT_TOOL, ScriptedEngine, running

from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
LIMITED = AppSettings(api_key="secret", max_body_bytes=200_000)
KEY = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with running(engine, LIMITED) as url, httpx.Client(base_url=url, headers=KEY) as client:
        yield engine, client


def error_of(reply: httpx.Response, status: int) -> dict:
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error


def call(**fields) -> dict:
    function = {"name": "get_weather", "arguments": "{}"}
    return {"id": "c1", "type": "function", "function": function, **fields}


def assistant(*calls: dict) -> dict:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(call_id: str = "c1") -> dict:
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


ASKED = {"/chat/completions": {"messages": [USER]}, "/responses": {"input": "Hi"}}
"""By endpoint, what is asked."""
IMAGE = {"type": "image_url", "image_url": {"url": "http://x"}}
NAMED = {"type": "function", "function": {"name": "other"}}
BAD_NAME = {"type": "function", "function": {"name": "a b"}}
BAD_SCHEMA = {"name": "s", "schema": {"properties": {"a": {"type": "text"}}}}
DEEP = json.loads('{"properties":{"a":' * 100 + "{}" + "}}" * 100)
DEEP_TOOL = {"type": "function", "function": {"name": "f", "parameters": DEEP}}

BAD_METADATA = [
    ({"metadata": {f"key {at}": "x" for at in range(17)}}, "metadata"),
    ({"metadata": {"k" * 65: "x"}}, f"metadata.{'k' * 65}"),
    ({"metadata": {"key": "x" * 513}}, "metadata.key"),
]

CHAT_ERRORS = [
    *BAD_METADATA,
    ({"include_reasoning": "no"}, "include_reasoning"),
    ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs.enable_thinking"),
    ({"chat_template_kwargs": {"builtin_tools": []}}, "chat_template_kwargs.builtin_tools"),
    (
        {"chat_template_kwargs": {"reasoning_effort": "max"}},
        "chat_template_kwargs.reasoning_effort",
    ),
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": [USER, "Hi"]}, "messages[1]"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "function", "name": "f", "content": "Hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
    ({"messages": [{**USER, "weight": 1}]}, "messages[0].weight"),
    ({"messages": [{"role": "assistant", "function_call": {}}]}, "messages[0].function_call"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "messages[1].content"),
    ({"messages": [USER, result()]}, "messages[1].tool_call_id"),
    ({"messages": [USER, assistant(call()), result("c2")]}, "messages[2].tool_call_id"),
    ({"messages": [USER, assistant(call()), result(), result()]}, "messages[3].tool_call_id"),
    ({"messages": [USER, assistant(call())]}, "messages[1]"),
    ({"messages": [USER, assistant(call()), USER]}, "messages[1]"),
    ({"messages": [USER, assistant(call(), call())]}, "messages[1]"),
    ({"messages": [USER, assistant(call(type="custom"))]}, "messages[1].tool_calls[0].custom"),
    ({"messages": [USER, assistant({"id": "c"})]}, "messages[1].tool_calls[0].function"),
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"seed": 2**70}, "seed"),
    ({"seed": "x"}, "seed"),
    ({"n": 0}, "n"),
    ({"n": 100}, "n"),
    ({"stop": ""}, "stop[0]"),
    ({"stop": [1]}, "stop[0]"),
    ({"stream": "yes"}, "stream"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logit_bias": {"1": 5}}, "logit_bias.1"),
    ({"functions": []}, "functions"),
    ({"modalities": ["audio"]}, "modalities[0]"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"top_k": True}, "top_k"),
    ({"min_p": 0.1}, "min_p"),
    ({"Temperature": 1}, "Temperature"),
    ({"messages": [{**USER, "Name": "x"}]}, "messages[0].Name"),
    ({"tools": [FLAT_TOOL]}, "tools[0].function"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [BAD_NAME]}, "tools[0].function.name"),
    ({"tools": [CHAT_TOOL, CHAT_TOOL]}, "tools[1]"),
    ({"tools": {}}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "sometimes", "tools": [CHAT_TOOL]}, "tool_choice"),
    ({"tool_choice": NAMED, "tools": [CHAT_TOOL]}, "tool_choice"),
    ({"tool_choice": {"type": "function"}, "tools": [CHAT_TOOL]}, "tool_choice.function"),
    ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": BAD_SCHEMA}},
        "response_format.json_schema.schema",
    ),
    ({"stream_options": {"x": 1}, "stream": True}, "stream_options.x"),
    ({"tools": [DEEP_TOOL]}, None),
    ({"messages": [{"role": "user", "content": "a" * 30_000}]}, None),
]


@pytest.mark.parametrize(("fields", "param"), CHAT_ERRORS, ids=[str(c)[:70] for c in CHAT_ERRORS])
def test_chat_errors_name_the_field(client, fields, param):
    body = {"model": MODEL, "messages": [USER], **fields}
    for streaming in ({}, {"stream": True}):
        error = error_of(client.post("/chat/completions", json=streaming | body), 400)
        assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert param is None or param.rpartition(".")[2].partition("[")[0] in error["message"]


@pytest.mark.parametrize(
    ("top_k", "reason"),
    [
        (-2, "must be 1 or more, or 0 or -1 for all tokens, not -2"),
        (1.5, "Input should be a valid integer"),
        ("5", "Input should be a valid integer"),
        (10**30, "Input should be a valid integer"),
    ],
)
def test_a_wrong_top_k_is_refused_with_the_valid_values(client, top_k, reason):
    body = {"model": MODEL, "messages": [USER], "top_k": top_k}
    error = error_of(client.post("/chat/completions", json=body), 400)
    assert error["message"] == f"Invalid value for 'top_k': {reason}."


OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "x"}
FUNCTION_CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}

RESPONSES_ERRORS = [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": [5]}, "input[0]"),
    ({"input": [{"type": "computer_call"}]}, "input[0].type"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
    ({"input": [{"type": "reasoning", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
    ({"input": [USER, OUTPUT]}, "input[1].call_id"),
    ({"input": [USER, FUNCTION_CALL]}, "input"),
    ({"input": [USER, FUNCTION_CALL, OUTPUT, OUTPUT]}, "input[3].call_id"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
    ({"previous_response_id": "resp_x"}, "previous_response_id"),
    ({"max_output_tokens": 15}, "max_output_tokens"),
    ({"max_tokens": 5}, "max_tokens"),
    ({"messages": [USER]}, "messages"),
    ({"background": True}, "background"),
    ({"truncation": "middle"}, "truncation"),
    ({"conversation": "c"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    *BAD_METADATA,
    ({"reasoning": "high"}, "reasoning"),
    ({"text": {"format": {"type": "x"}}}, "text.format.type"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
    ({"text": {"format": {"type": "json_schema", **BAD_SCHEMA}}}, "text.format.schema"),
    ({"tools": [CHAT_TOOL]}, "tools[0].name"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [FLAT_TOOL, {"type": "custom", "name": "x", "format": {}}]}, "tools[1].format.type"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "x"}, "tools": [FLAT_TOOL]}, "tool_choice"),
    ({"temperature": 3}, "temperature"),
    ({"top_k": -2}, "top_k"),
    ({"stop": "x"}, "stop"),
]


@pytest.mark.parametrize(
    ("fields", "param"), RESPONSES_ERRORS, ids=[str(c)[:70] for c in RESPONSES_ERRORS]
)
def test_responses_errors_name_the_field(client, fields, param):
    body = {"model": MODEL, "input": "Hi", **fields}
    for streaming in ({}, {"stream": True}):
        assert error_of(client.post("/responses", json=streaming | body), 400)["param"] == param


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model": NaN}', b'{"a": "\\ud800"}', b"[" * 5000],
)
def test_a_body_that_is_not_a_json_object_is_rejected(client, path, body):
    error_of(client.post(path, content=body), 400)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("depth", [80, 300, 900])
def test_objects_nested_too_deeply_are_rejected(client, depth, stream):
    schema = json.loads('{"a":' * depth + "{}" + "}" * depth)
    body = {"model": MODEL, "input": "Hi", "stream": stream, "tool_choice": "none"}
    body["tools"] = [{**FLAT_TOOL, "parameters": schema}]
    reply = client.post("/responses", json=body)
    assert reply.status_code == 200 if depth == 80 else error_of(reply, 400)


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_nul_and_noncharacters_are_accepted(client, path):
    body = {"model": MODEL, "messages": [{**USER, "content": "a\x00b\uffff"}]}
    if path == "/responses":
        body = {"model": MODEL, "input": "a\x00b\uffff"}
    assert client.post(path, json=body).status_code == 200


def test_an_unknown_model_is_a_404(client):
    for path, body in ASKED.items():
        error = error_of(client.post(path, json={"model": "gpt-9", **body}), 404)
        assert (error["param"], error["code"]) == ("model", "model_not_found")
        assert MODEL in error["message"]
    error_of(client.get("/models/gpt-9"), 404)
    assert client.get(f"/models/{MODEL}").json()["id"] == MODEL
    assert [model["id"] for model in client.get("/models").json()["data"]] == [MODEL]


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_a_prompt_longer_than_the_context_is_rejected(client, path):
    text = "word " * 5000
    body = {"model": MODEL, "messages": [{**USER, "content": text}]}
    if path == "/responses":
        body = {"model": MODEL, "input": text}
    error = error_of(client.post(path, json=body), 400)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == ("input" if path == "/responses" else "messages")
    assert "4096" in error["message"]


def test_a_prompt_far_longer_than_the_context_is_not_rendered(client):
    body = {"model": MODEL, "messages": [{"role": "user", "content": ""}] * 5000}
    error = error_of(client.post("/chat/completions", json=body), 400)
    assert error["code"] == "context_length_exceeded"
    assert "at least 20000 tokens" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_a_full_queue_rejects_the_request(served, path, stream):
    engine, client = served
    engine.full = True
    try:
        reply = client.post(path, json={"model": MODEL, "stream": stream, **ASKED[path]})
    finally:
        engine.full = False
    error = error_of(reply, 429)
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert int(reply.headers["retry-after"]) > 0


def test_requests_without_the_key_are_rejected(served):
    _, client = served
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "secret"},
        {"Authorization": "Basic secret"},
    ):
        reply = httpx.get(f"{client.base_url}models", headers=headers)
        assert error_of(reply, 401)["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"] == "Bearer"
    lower = {"Authorization": "bearer secret"}
    assert httpx.get(f"{client.base_url}models", headers=lower).status_code == 200
    root = str(client.base_url).removesuffix("v1/")
    assert httpx.get(f"{root}health").json() == {"status": "ok"}


def test_web_pages_of_allowed_origins_may_send_requests():
    page, other = "http://localhost:3000", "http://localhost:4000"
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    settings = AppSettings(api_key="secret", allowed_origins=(page,))
    with running(ScriptedEngine(), settings) as url, httpx.Client(base_url=url) as client:
        reply = client.options("/chat/completions", headers={"Origin": page, **asked})
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, page)
        assert "x-stainless-lang" in reply.headers["access-control-allow-headers"]
        for headers, status in ((KEY, 200), ({}, 401)):
            reply = client.get("/models", headers={"Origin": page, **headers})
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == page
        reply = client.options("/chat/completions", headers={"Origin": other, **asked})
        assert reply.status_code == 400
        reply = client.get("/models", headers={"Origin": other, **KEY})
        assert "access-control-allow-origin" not in reply.headers


def test_wrong_urls_and_methods_are_rejected(client):
    error_of(client.get("/nothing"), 404)
    error_of(client.post("/models"), 405)
    error_of(client.get("/chat/completions"), 405)
    error_of(client.post("/chat/completions/"), 404)
    error_of(client.put("/responses"), 405)
    reply = client.put("/responses/resp_1")
    error_of(reply, 405)
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


@pytest.mark.parametrize("megabytes", [1, 40])
def test_a_body_that_is_too_large_is_rejected(client, megabytes):
    error = error_of(client.post("/responses", content=b" " * megabytes * 2**20), 413)
    assert "200000" in error["message"]


def test_a_chunked_body_that_is_too_large_is_rejected(client):
    pieces = (b" " * 65536 for _ in range(20))
    error_of(client.post("/responses", content=pieces), 413)


class BrokenEngine(ScriptedEngine):
    """Fails at a given token."""

    fails_at = 0

    async def generate(self, prompt, params):
        count = 0
        async for token in super().generate(prompt, params):
            if count == self.fails_at:
                raise RuntimeError("boom")
            count += 1
            yield token


@pytest.fixture(scope="module")
def broken():
    engine = BrokenEngine(CALL)
    with running(engine) as url, httpx.Client(base_url=url) as client:
        yield engine, client


def test_a_failure_of_the_engine_is_a_500_before_the_stream(broken):
    engine, client = broken
    engine.fails_at = 0
    for path, body in [
        ("/chat/completions", {"messages": [USER]}),
        ("/responses", {"input": "Hi"}),
    ]:
        for stream in (False, True):
            reply = client.post(path, json={"model": MODEL, "stream": stream, **body})
            assert error_of(reply, 500)["type"] == "server_error"
            assert "boom" not in reply.text


def test_a_failure_of_the_engine_is_an_event_within_the_stream(broken):
    engine, client = broken
    engine.fails_at = 5
    body = {"model": MODEL, "stream": True, "messages": [USER]}
    events = client.post("/chat/completions", json=body).text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    body = {"model": MODEL, "stream": True, "input": "Hi"}
    last = client.post("/responses", json=body).text.strip().split("\n\n")[-1]
    event = json.loads(last.partition("data: ")[2])
    assert (event["type"], event["response"]["status"]) == ("response.failed", "failed")
    assert event["response"]["error"]["code"] == "server_error"


def test_a_healthy_request_after_failures_is_answered(client):
    reply = client.post("/chat/completions", json={"model": MODEL, "messages": [USER]}).json()
    assert reply["choices"][0]["message"]["content"] in ANSWER


ODD = [
    None,
    True,
    -1,
    "\x00",
    [],
    [[]],
    [{}],
    {},
    {"type": []},
    {"type": "function"},
    [{"role": []}],
]
ODD_PARTS = [{"type": "text", "text": None}, {"type": {}}, [], 3, "x"]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_odd_values_never_crash_the_server(client, path):
    model = ChatRequest if path == "/chat/completions" else ResponsesRequest
    body: dict = {
        "model": MODEL,
        "tools": [CHAT_TOOL],
        "messages": [USER, assistant(call()), result()],
    }
    if path == "/responses":
        body = {"model": MODEL, "tools": [FLAT_TOOL], "input": [USER, FUNCTION_CALL, OUTPUT]}
    for field in (*model.model_fields, "unknown"):
        for value in ODD:
            reply = client.post(path, json=body | {field: value})
            if reply.status_code != 200:
                assert reply.status_code in {400, 404}, (field, value, reply.text)
                error_of(reply, reply.status_code)
    where = "messages" if path == "/chat/completions" else "input"
    for at, item in enumerate(body[where]):
        for key in item:
            for value in (*ODD, *([part] for part in ODD_PARTS)):
                items = [*body[where]]
                items[at] = item | {key: value}
                reply = client.post(path, json=body | {where: items})
                assert reply.status_code in {200, 400}, (key, value, reply.text)
