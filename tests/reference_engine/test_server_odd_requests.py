"""Unusual requests get a valid reply or an error that says what is wrong."""

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from scripted import ANSWER, CHAT_TOOL, FLAT_TOOL, ScriptedEngine, running

from reference_engine.generation.engine import SamplingParams
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.responses.request import ResponsesRequest

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
CALL = {"name": "get_weather", "arguments": "{}"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "x"}
CHAT = {
    "model": MODEL,
    "messages": [
        USER,
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
        RESULT,
    ],
    "tools": [CHAT_TOOL],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    "stop": ["x"],
    "max_tokens": 9,
}
RESPONSES = {
    "model": MODEL,
    "input": [
        {**USER, "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c1", **CALL},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
    ],
    "tools": [{"type": "namespace", "name": "n", "tools": [FLAT_TOOL]}],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "get_weather"}],
    },
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
    "reasoning": {"effort": "low", "summary": "auto"},
    "metadata": {"a": "b"},
    "include": ["reasoning.encrypted_content"],
}
ENDPOINTS = {
    "/chat/completions": (CHAT, ChatRequest, ChatCompletion),
    "/responses": (RESPONSES, ResponsesRequest, Response),
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["\x00", "function", "auto", "message", "<|end|>", MODEL, "a" * 300]),
    st.recursive(
        st.just({}) | st.just([]) | st.just(""),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["type", "name", "role", "id"]), inner, max_size=2)
        ),
        max_leaves=4,
    ),
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value within a JSON value."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def put(body: dict, path: tuple[str | int, ...], value: object) -> dict:
    """A copy of the body with another value at this path."""
    copy = json.loads(json.dumps(body))
    target = copy
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return copy


def script(prompt: str, _: SamplingParams) -> str:
    """Arguments if the prompt ends with the header of a call, otherwise an answer."""
    return "{}<|call|>" if prompt.endswith("<|message|>") else ANSWER


@pytest.fixture(scope="module")
def client():
    with running(ScriptedEngine(script)) as url, httpx.Client(base_url=url, timeout=60) as each:
        yield each


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_odd_value_anywhere_is_accepted_or_a_clear_error(client, endpoint, data):
    body, model, reply_type = ENDPOINTS[endpoint]
    inside = places(body)[1:]
    path = data.draw(st.sampled_from([*inside, *[(name,) for name in model.model_fields]]))
    body = put(body, path, data.draw(ODD))
    reply = client.post(endpoint, json=body)
    if reply.status_code == 200:
        if body.get("stream") is not True:
            reply_type.model_validate(reply.json(), strict=True)
        return
    assert reply.status_code in {400, 404}, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    named = error["param"] or ""
    others = {"messages", "input", "tools", "tool_choice", "top_logprobs"}
    culprits = {str(step) for step in path} | others
    if error["code"] != "invalid_prompt":
        assert named.partition("[")[0].partition(".")[0] in culprits, (path, error)
        word = named.rpartition(".")[2].partition("[")[0].partition("_")[0]
        assert word.lower() in error["message"].lower()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_optional_fields_may_be_null(client, endpoint):
    body, model, reply_type = ENDPOINTS[endpoint]
    needed = {"model", "messages", "input"}
    reply = client.post(endpoint, json=body | dict.fromkeys(set(model.model_fields) - needed))
    assert reply.status_code == 200, reply.text
    reply_type.model_validate(reply.json(), strict=True)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_compressed_body_is_rejected_as_unsupported(client, endpoint):
    reply = client.post(endpoint, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 415
    assert "gzip" in reply.json()["error"]["message"]
