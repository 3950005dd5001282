"""Responses over a real socket: input items, output items, the event grammar, the store."""

import json

import httpx
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from scripted import ANSWER, CALL, COT, FLAT_TOOL, LONG_COT, ScriptedEngine, running

from harness.api.responses_grammar import violations
from harness.api.sse import message_events
from harness.records.rollouts import StreamPart
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
EVENT = TypeAdapter(ResponseStreamEvent)
PLAN = "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant"
# The keys that the Open Responses specification requires in every response object.
REQUIRED = frozenset({
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model",
    "previous_response_id", "instructions", "output", "error", "tools", "tool_choice",
    "truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty", "frequency_penalty",
    "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens", "max_tool_calls",
    "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
})  # fmt: skip


def ask(client, given="Hi", **fields) -> dict:
    reply = client.post("/responses", json={"model": MODEL, "input": given, **fields})
    assert reply.status_code == 200, reply.text
    response = reply.json()
    Response.model_validate(response)
    assert response.keys() >= REQUIRED
    return response


def stream(client, given="Hi", **fields) -> list[dict]:
    body = {"model": MODEL, "input": given, "stream": True, **fields}
    reply = client.post("/responses", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in reply.text.split("\n\n")[:-1]:
        kind, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {event['type']}"
        EVENT.validate_python(event)
        events.append(event)
    return events


def without_ids(output: list[dict]) -> list[dict]:
    return [
        {key: value for key, value in item.items() if key not in {"id", "call_id"}}
        for item in output
    ]


def check_grammar(events: list[dict]) -> dict:
    """Check the order, numbers and contents of all events; return the final response."""
    parts = [StreamPart(at=0.0, raw=json.dumps(event)) for event in events]
    assert violations(message_events(parts), truncated=False) == ()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert all(event.get("delta", True) for event in events)
    final = events[-1]["response"]
    kinds = ["response.created", "response.in_progress", f"response.{final['status']}"]
    assert [event["type"] for event in (*events[:2], events[-1])] == kinds
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == final["output"]
    return final


def test_an_answer_with_its_reasoning(engine, client):
    response = ask(client)
    reasoning, message = response["output"]
    assert (reasoning["type"], reasoning["summary"]) == ("reasoning", [])
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "I think."}]
    assert "encrypted_content" not in reasoning
    assert (message["content"][0]["text"], message["phase"]) == ("Hello there.", "final_answer")
    assert response["status"] == "completed"
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens_details"]["reasoning_tokens"] == 3


def test_a_call(engine, client):
    engine.script = lambda *_: CALL
    _, call = ask(client, tools=[FLAT_TOOL])["output"]
    assert call["type"] == "function_call"
    assert (call["name"], call["arguments"]) == ("get_weather", '{"city": "Rome"}')
    assert call["call_id"].startswith("call_")


@pytest.mark.parametrize("limit", [None, 16, 18, 21, 24, 29, 33])
@pytest.mark.parametrize("said", [ANSWER, CALL, PLAN + CALL, COT + ANSWER, COT, "junk", "<|end|>"])
def test_streams_follow_the_grammar_and_equal_the_whole_reply(engine, client, said, limit):
    engine.script = lambda *_: LONG_COT + said
    fields = {"tools": [FLAT_TOOL], "max_output_tokens": limit}
    final = check_grammar(stream(client, **fields))
    whole = ask(client, **fields)
    assert without_ids(final["output"]) == without_ids(whole["output"])
    for key in ("status", "incomplete_details", "usage"):
        assert final[key] == whole[key]


def test_a_reply_at_its_token_limit_is_truncated(engine, client):
    engine.script = lambda *_: LONG_COT + ANSWER
    response = ask(client, max_output_tokens=21)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert response["usage"]["output_tokens"] == 21


def test_logprobs_are_returned_if_included(engine, client):
    included = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    part = ask(client, **included)["output"][1]["content"][0]
    assert "".join(token["token"] for token in part["logprobs"]) == part["text"]
    assert all(len(token["top_logprobs"]) == 2 for token in part["logprobs"])
    check_grammar(stream(client, **included))


def test_the_request_is_echoed(engine, client):
    fields = {
        "instructions": "Be brief.", "temperature": 0.5, "top_p": 0.5, "max_output_tokens": 99,
        "metadata": {"a": "b"}, "store": False, "tools": [FLAT_TOOL], "user": "u",
        "tool_choice": "auto", "parallel_tool_calls": False, "max_tool_calls": 3,
        "safety_identifier": "s", "prompt_cache_key": "k",
    }  # fmt: skip
    response = ask(client, **fields, reasoning={"effort": "low", "summary": "auto"})
    tool = response.pop("tools")[0]
    assert {**fields, **response} == response | {"tools": [FLAT_TOOL]}
    assert tool["parameters"] == FLAT_TOOL["parameters"]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    (params,) = engine.params
    assert (params.temperature, params.top_p, params.max_tokens) == (0.5, 0.5, 99)
    assert params.top_k == 0
    assert "top_k" not in ask(client, top_k=20, stream=False)  # vLLM does not repeat it
    assert engine.params[-1].top_k == 20
    assert "Reasoning: low\n" in engine.prompts[0]
    assert "# Instructions\n\nBe brief." in engine.prompts[0]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_returns_only_encrypted_content_keeps_the_cot(engine, client, streamed):
    """The Vercel AI SDK does this with `store: false`."""
    wanted = {"store": False, "include": ["reasoning.encrypted_content"]}
    first = check_grammar(stream(client, **wanted)) if streamed else ask(client, **wanted)
    reasoning, _ = first["output"]
    returned = {"type": "reasoning", "id": reasoning["id"], "summary": [],
                "encrypted_content": reasoning["encrypted_content"]}  # fmt: skip
    call = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    ask(client, [user("Hi"), returned, call, result], store=False)
    assert "<|channel|>analysis<|message|>I think.<|end|>" in engine.prompts[-1]


@pytest.mark.parametrize("content", [None, "gAAAAABpZm9yZWlnbg=="])
def test_encrypted_content_beside_the_text_is_ignored(engine, client, content):
    text = [{"type": "reasoning_text", "text": "Why not."}]
    item = {"type": "reasoning", "summary": [], "content": text, "encrypted_content": content}
    ask(client, [user("Hi"), item, user("And?")])
    foreign = [user("Hi"), item | {"content": []}, user("And?")]
    reply = client.post("/responses", json={"model": MODEL, "input": foreign})
    error = reply.json().get("error") or {}
    refused = (None, None)
    if content:
        refused = ("input[1].encrypted_content", "invalid_encrypted_content")
    assert (error.get("param"), error.get("code")) == refused


def test_foreign_encrypted_content_is_refused_only_if_the_prompt_needs_it(engine, client):
    """Codex does this if a user resumes a session that another server began."""
    foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "content": None,
               "encrypted_content": "gAAAAABpZm9yZWlnbg=="}  # fmt: skip
    call = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    answer = {"role": "assistant", "content": "Sunny."}
    ask(client, [user("Hi"), foreign, call, result, foreign, answer, user("And?")])
    assert "Sunny.<|end|><|start|>user<|message|>And?<|end|>" in engine.prompts[-1]
    assert "<|channel|>analysis" not in engine.prompts[-1].split("<|start|>user", 1)[1]
    preamble = answer | {"phase": "commentary"}
    for items in ([user("Hi"), answer, foreign], [user("Hi"), preamble, foreign, preamble]):
        reply = client.post("/responses", json={"model": MODEL, "input": [*items, user("And?")]})
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "input[2].encrypted_content"


def test_all_types_of_items_are_rendered(engine, client):
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Wea"},
                                                        {"type": "input_text", "text": "ther?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None,
         "content": [{"type": "reasoning_text", "text": "Why not."}]},
        {"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "A plan.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1",
         "output": [{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "ny"}]},
    ]  # fmt: skip
    ask(client, items, tools=[FLAT_TOOL])
    prompt = engine.prompts[-1]
    assert "# Instructions\n\nBe brief." in prompt
    assert (
        "<|start|>user<|message|>Weather?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>Why not.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>A plan.<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json"
        "<|message|>{}<|call|>"
        "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny<|end|>"
        "<|start|>assistant"
    ) in prompt


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def output_of(call: dict, text: str) -> dict:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": text}


def test_output_items_can_be_sent_back_unchanged(engine, client):
    engine.script = lambda *_: PLAN + CALL
    first = ask(client, tools=[FLAT_TOOL])["output"]
    engine.script = lambda *_: ANSWER
    loop = [user("Hi"), *first, output_of(first[-1], "sunny")]
    final = ask(client, loop, tools=[FLAT_TOOL])["output"]
    assert "commentary<|message|>One moment." in engine.prompts[-1]
    assert "analysis<|message|>I think." in engine.prompts[-1]
    ask(client, [*loop, *final, user("Bye")], tools=[FLAT_TOOL])
    assert "I think." not in engine.prompts[-1]
    assert "<|channel|>final<|message|>Hello there.<|end|>" in engine.prompts[-1]


def test_a_preamble_without_phase_is_recognized_by_the_following_call(engine, client):
    engine.script = lambda *_: COT + PLAN + CALL
    first = ask(client, tools=[FLAT_TOOL])["output"]
    assert [item["type"] for item in first] == [
        "reasoning",
        "message",
        "reasoning",
        "function_call",
    ]
    del first[1]["phase"]
    ask(client, [user("Hi"), *first, output_of(first[-1], "sunny")], tools=[FLAT_TOOL])
    assert "commentary<|message|>One moment." in engine.prompts[-1]
    assert engine.prompts[-1].count("analysis<|message|>I think.") == 2


def test_a_previous_response_is_continued_with_its_reasoning(engine, client):
    engine.script = lambda *_: CALL
    first = ask(client, instructions="Be brief.", tools=[FLAT_TOOL])
    engine.script = lambda *_: ANSWER
    result = [output_of(first["output"][-1], "sunny")]
    second = ask(client, result, previous_response_id=first["id"], tools=[FLAT_TOOL])
    assert "I think." in engine.prompts[-1]
    assert '{"city": "Rome"}<|call|>' in engine.prompts[-1]
    assert "Be brief." not in engine.prompts[-1]
    assert second["previous_response_id"] == first["id"]
    ask(client, "And?", previous_response_id=second["id"])
    assert "I think." not in engine.prompts[-1]
    assert "sunny" in engine.prompts[-1]


def test_a_streamed_response_is_also_stored(engine, client):
    final = check_grammar(stream(client))
    assert client.get(f"/responses/{final['id']}").json() == final
    ask(client, "And?", previous_response_id=final["id"])
    assert "Hello there." in engine.prompts[-1]


def test_items_can_be_referenced(engine, client):
    engine.script = lambda *_: CALL
    first = ask(client, tools=[FLAT_TOOL])["output"]
    references = [{"type": "item_reference", "id": item["id"]} for item in first]
    ask(client, [user("Hi"), *references, output_of(first[-1], "sunny")], tools=[FLAT_TOOL])
    assert "I think." in engine.prompts[-1]
    assert "sunny" in engine.prompts[-1]


@pytest.mark.parametrize(
    ("summary", "text", "kept"),
    [
        ([], [], True),
        ([{"type": "summary_text", "text": "Odd."}], None, True),
        ([], "Mine.", False),
    ],
)
def test_reasoning_without_its_text_is_that_of_the_stored_item(engine, client, summary, text, kept):
    engine.script = lambda *_: CALL
    thought, call = ask(client, tools=[FLAT_TOOL])["output"]
    back = {"type": "reasoning", "id": thought["id"], "summary": summary}
    if text is not None:
        back["content"] = [{"type": "reasoning_text", "text": text}] if text else []
    ask(client, [user("Hi"), back, call, output_of(call, "sunny")], tools=[FLAT_TOOL])
    assert ("I think." in engine.prompts[-1]) == kept
    assert "Odd." not in engine.prompts[-1]
    misleading = {"type": "reasoning", "id": call["id"], "summary": []}
    ask(client, [user("Hi"), misleading], tools=[FLAT_TOOL])
    assert "I think." not in engine.prompts[-1]


def test_stored_responses_can_be_read_and_deleted(engine, client):
    response = ask(client)
    path = f"/responses/{response['id']}"
    assert client.get(path).json() == response
    assert client.delete(path).json() == {
        "id": response["id"], "object": "response", "deleted": True,
    }  # fmt: skip
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.get(f"/responses/{ask(client, store=False)['id']}").status_code == 404


def test_an_unanswered_call_of_the_previous_response_is_rejected(engine, client):
    engine.script = lambda *_: CALL
    first = ask(client, tools=[FLAT_TOOL])
    body = {"model": MODEL, "input": "Hi", "previous_response_id": first["id"]}
    reply = client.post("/responses", json=body)
    assert reply.status_code == 400
    assert first["output"][-1]["call_id"] in reply.json()["error"]["message"]


def test_the_store_is_bounded():
    settings = AppSettings(stored_responses=2)
    with running(ScriptedEngine(), settings) as url, httpx.Client(base_url=url) as client:
        ids = [ask(client)["id"] for _ in range(3)]
        assert [client.get(f"/responses/{id_}").status_code for id_ in ids] == [404, 200, 200]
        body = {"model": MODEL, "input": "Hi", "previous_response_id": ids[0]}
        error = client.post("/responses", json=body).json()["error"]
        assert (error["param"], error["code"]) == (
            "previous_response_id",
            "previous_response_not_found",
        )


def test_the_store_is_bounded_in_bytes():
    settings = AppSettings(stored_bytes=10_000)
    with running(ScriptedEngine(), settings) as url, httpx.Client(base_url=url) as client:
        ids = [ask(client, "word " * 400)["id"] for _ in range(4)]
        kept = [client.get(f"/responses/{id_}").status_code == 200 for id_ in ids]
        assert kept[-1]
        assert 1 <= sum(kept) < 4


@pytest.mark.parametrize("path", ["/responses/compact", "/responses/input_tokens", "/embeddings"])
def test_an_endpoint_that_the_server_lacks_is_not_found(client, path):
    refused = client.post(path, json={"model": "m", "input": "Hi"})
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "unknown_url"


def test_a_response_too_large_to_store_evicts_no_other():
    settings = AppSettings(stored_bytes=10_000)
    with running(ScriptedEngine(), settings) as url, httpx.Client(base_url=url) as client:
        small, large = ask(client), ask(client, "word " * 3000)
        kept = [client.get(f"/responses/{made['id']}").status_code for made in (small, large)]
        assert kept == [200, 404]


@pytest.mark.parametrize(
    "field",
    [
        {"truncation": "disabled"}, {"include": ["reasoning.encrypted_content"]},
        {"service_tier": "auto"}, {"background": False}, {"text": {"format": {"type": "text"}}},
        {"reasoning": {"summary": "auto"}},
        {"instructions": None}, {"max_output_tokens": None}, {"seed": 3}, {"presence_penalty": 0},
        {"text": {"verbosity": "medium"}},
    ],
    ids=str,
)  # fmt: skip
def test_harmless_fields_are_accepted(engine, client, field):
    ask(client, **field)


def test_the_answers_schema_reaches_the_prompt(engine, client):
    wanted = {"type": "json_schema", "name": "s", "schema": {"type": "object"}}
    response = ask(client, text={"format": wanted})
    assert '# Response Formats\n\n## s\n\n{"type":"object"}' in engine.prompts[-1]
    assert response["text"]["format"]["schema"] == {"type": "object"}
