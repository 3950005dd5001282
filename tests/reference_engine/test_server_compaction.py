"""Compaction over a real socket: what is kept, use of the summary, and rejected requests."""

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scripted import ANSWER, CALL, FLAT_TOOL

from reference_engine.server.responses.items import Summary, encode_text

MODEL = "gpt-oss-small"
SUMMARY = "<|channel|>final<|message|>We launch on Tuesday.<|return|>"
TALK = [
    {"type": "message", "role": "developer", "content": "Be brief."},
    {"type": "message", "role": "user", "content": "When?"},
    {"type": "message", "role": "assistant", "content": "On Tuesday, at noon."},
    {"type": "message", "role": "user", "content": "Good."},
]


@pytest.fixture
def engine(served):
    served[0].script = lambda prompt, _: SUMMARY if "Summarize our" in prompt else ANSWER
    served[0].prompts.clear()
    return served[0]


def compact(client, **fields) -> dict:
    reply = client.post("/responses/compact", json={"model": MODEL, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_compaction_keeps_user_and_developer_messages_and_summarizes_the_rest(engine, client):
    reply = compact(client, input=TALK, instructions="Never lie.", prompt_cache_key="k")
    *kept, compaction = reply["output"]
    assert [(item["role"], item["content"][0]["text"]) for item in kept] == [
        ("developer", "Be brief."),
        ("user", "When?"),
        ("user", "Good."),
    ]
    assert reply["object"] == "response.compaction"
    assert compaction["encrypted_content"] == encode_text("We launch on Tuesday.")
    assert all(text in engine.prompts[0] for text in ("Never lie.", "On Tuesday, at noon."))
    assert reply["usage"]["total_tokens"] > reply["usage"]["output_tokens"] > 0


def test_the_summary_replaces_the_conversation(engine, client):
    output = compact(client, input=TALK)["output"]
    body = {"model": MODEL, "input": [*output, {"role": "user", "content": "And now?"}]}
    response = client.post("/responses", json=body)
    assert response.status_code == 200, response.text
    prompt = engine.prompts[-1]
    assert "<|start|>assistant<|channel|>final<|message|>Our conversation so far" in prompt
    assert prompt.index("Good.") < prompt.index("We launch on Tuesday.") < prompt.index("And now?")
    assert "noon" not in prompt
    listing = client.get(f"/responses/{response.json()['id']}/input_items?order=asc").json()
    assert listing["data"][3] == output[3] | {"status": "completed"}


def test_a_stored_response_can_be_compacted(engine, client):
    first = client.post("/responses", json={"model": MODEL, "input": "When?"}).json()
    output = compact(client, previous_response_id=first["id"])["output"]
    assert [item["type"] for item in output] == ["message", "compaction"]
    assert "Hello there." in engine.prompts[-1]


def test_a_compaction_makes_no_calls(engine, client):
    begun = "<|start|>assistant<|channel|>final<|message|>"
    engine.script = lambda prompt, _: "Sunny.<|return|>" if prompt.endswith(begun) else CALL
    result = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
    output = compact(client, input=[*TALK, call, result])["output"]
    assert output[-1]["encrypted_content"] == encode_text("Sunny.")
    assert "sunny" in engine.prompts[0]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": MODEL}, "input", "missing_required_parameter"),
        ({"model": MODEL, "input": []}, "input", "invalid_value"),
        ({"input": TALK}, "model", "missing_required_parameter"),
        ({"model": MODEL, "input": "Hi", "tools": [FLAT_TOOL]}, "tools", "unsupported_parameter"),
        ({"model": MODEL, "previous_response_id": "resp_x"},
         "previous_response_id", "previous_response_not_found"),
        ({"model": MODEL, "input": [{"type": "compaction", "encrypted_content": "Zm9v"}]},
         "input[0].encrypted_content", "invalid_value"),
        ({"model": MODEL, "input": [{"type": "compaction", "encrypted_content": "é"}]},
         "input[0].encrypted_content", "invalid_value"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_rejected_by_name(client, body, param, code):
    reply = client.post("/responses/compact", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, param, code)


def test_without_a_summary_nothing_is_lost(engine, client):
    engine.script = lambda *_: "<|channel|>final<|message|><|return|>"
    reply = client.post("/responses/compact", json={"model": MODEL, "input": TALK})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "no_summary")


def test_a_truncated_summary_is_an_error(engine, client):
    engine.script = lambda *_: "<|channel|>final<|message|>" + "We launch. " * 5000
    reply = client.post("/responses/compact", json={"model": MODEL, "input": TALK})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_the_openai_client(engine, client):
    with openai.OpenAI(base_url=str(client.base_url), api_key="none", max_retries=0) as sdk:
        window = sdk.responses.compact(model=MODEL, input=TALK)
        output = [item.to_dict(warnings=False) for item in window.output]
        wish = {"role": "user", "content": "And now?"}
        response = sdk.responses.create(model=MODEL, input=[*output, wish])
    assert response.output_text == "Hello there."
    assert "We launch on Tuesday." in engine.prompts[-1]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_encoded_summary_can_be_decoded(text):
    adapter = TypeAdapter(Summary)
    assert adapter.validate_python(encode_text(text)) == text
    with pytest.raises(ValidationError):
        adapter.validate_python(text)
