"""Chat Completions over a real socket: the prompt, and the reply."""

import datetime
import json

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from scripted import ANSWER, CALL, CHAT_TOOL, COT, ScriptedEngine, running

from harness.api import DIALECTS
from harness.api.chat_grammar import violations
from harness.api.sse import stream_events
from harness.records.rollouts import Response, StreamPart
from reference_engine.server.settings import TODAY, AppSettings

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}


def ask(client, messages=(USER,), **fields) -> dict:
    body = {"model": MODEL, "messages": list(messages), **fields}
    reply = client.post("/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    ChatCompletion.model_validate_json(reply.text)
    return reply.json()


def stream(client, messages=(USER,), **fields) -> list[dict]:
    """The chunks of a streamed reply, after checking its framing."""
    body = {"model": MODEL, "messages": list(messages), "stream": True, **fields}
    reply = client.post("/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return chunks


def assembled(chunks: list[dict], index: int = 0) -> dict:
    """The message that the chunks of one choice add up to, after checking their order."""
    raw = [f"data: {json.dumps(chunk)}" for chunk in chunks]
    parts = tuple(StreamPart(at=0.0, raw=each) for each in (*raw, "data: [DONE]"))
    events = list(stream_events(parts))
    assert violations(events) == ()
    response = Response(status=200, headers={}, parts=parts)
    choice = DIALECTS["chat"]._reassembled(response, events)["choices"][index]
    return choice["message"] | {"finish_reason": choice["finish_reason"]}


def test_an_answer_with_its_reasoning(engine, client):
    reply = ask(client)
    (choice,) = reply["choices"]
    assert choice["message"] == {
        "role": "assistant", "content": "Hello there.", "refusal": None, "annotations": [],
        "reasoning": "I think.",
    }  # fmt: skip
    assert choice["finish_reason"] == "stop"
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3


def test_a_call_has_null_content_and_a_fresh_id(engine, client):
    engine.script = lambda *_: CALL
    replies = [ask(client, tools=[CHAT_TOOL]) for _ in range(2)]
    message = replies[0]["choices"][0]["message"]
    assert message["content"] is None
    assert message["reasoning"] == "I think."
    (call,) = message["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    assert replies[0]["choices"][0]["finish_reason"] == "tool_calls"
    ids = {reply["choices"][0]["message"]["tool_calls"][0]["id"] for reply in replies}
    assert len(ids) == 2
    assert all(call_id.startswith("call_") for call_id in ids)


def test_a_preamble_is_the_content_of_the_message_with_the_call(engine, client):
    plan = "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant"
    engine.script = lambda *_: plan + CALL
    message = ask(client, tools=[CHAT_TOOL])["choices"][0]["message"]
    assert message["content"] == "One moment."
    assert message["tool_calls"]


@pytest.mark.parametrize("said", [ANSWER, CALL, COT + CALL, COT, "junk", ANSWER[:-30]])
def test_a_stream_adds_up_to_the_whole_reply(engine, client, said):
    engine.script = lambda *_: said
    whole = ask(client, tools=[CHAT_TOOL], seed=1)["choices"][0]
    streamed = assembled(stream(client, tools=[CHAT_TOOL], seed=1))
    assert streamed["finish_reason"] == whole["finish_reason"]
    for key in ("reasoning", "content"):
        assert (streamed.get(key) or "") == (whole["message"].get(key) or "")
    calls = [
        [call["function"] for call in message.get("tool_calls", [])]
        for message in (streamed, whole["message"])
    ]
    assert calls[0] == calls[1]


def test_chunks_share_id_and_model_and_only_the_first_has_the_role(engine, client):
    chunks = stream(client)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [at for at, delta in enumerate(deltas) if "role" in delta] == [0]
    assert deltas[-1] == {}
    assert "usage" not in chunks[0]


def test_usage_is_sent_in_a_chunk_without_choices_on_request(engine, client):
    chunks = stream(client, stream_options={"include_usage": True})
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], ask(client)["usage"])
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_a_reply_at_its_token_limit_is_truncated(engine, client):
    reply = ask(client, max_tokens=4)
    choice = reply["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "")
    assert reply["usage"]["completion_tokens"] == 4
    assert ask(client, max_completion_tokens=1)["choices"][0]["finish_reason"] == "length"
    assert ask(client, max_tokens=10**6)["choices"][0]["finish_reason"] == "stop"


def test_a_call_that_the_limit_cuts_is_returned_as_far_as_it_goes(engine, client):
    engine.script = lambda *_: CALL
    whole = '{"city": "Rome"}'
    lengths = []
    for limit in range(1, 40):
        reply = ask(client, tools=[CHAT_TOOL], max_tokens=limit)["choices"][0]
        calls = reply["message"].get("tool_calls", [])
        arguments = [call["function"]["arguments"] for call in calls]
        chunks = stream(client, tools=[CHAT_TOOL], max_tokens=limit)
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        deltas = [call for each in choices for call in each["delta"].get("tool_calls", [])]
        streamed = [call["function"].get("arguments", "") for call in deltas]
        assert "".join(streamed) == "".join(arguments)
        assert choices[-1]["finish_reason"] == reply["finish_reason"]
        if reply["finish_reason"] == "tool_calls":
            assert arguments == [whole]
            break
        assert reply["finish_reason"] == "length"
        assert all(whole.startswith(each) for each in arguments)
        assert all(call["function"]["name"] == "get_weather" for call in calls)
        lengths += map(len, arguments)
    assert lengths[0] == 0 < lengths[-1]
    assert lengths == sorted(lengths)


def test_parameters_reach_the_engine(engine, client):
    sampling = {"temperature": 0.3, "top_p": 0.9, "top_k": 20, "seed": 7}
    ask(client, **sampling, max_tokens=50, logprobs=True, top_logprobs=2)
    (params,) = engine.params
    assert {name: getattr(params, name) for name in sampling} == sampling
    assert (params.max_tokens, params.top_logprobs) == (50, 2)
    ask(client)
    assert (engine.params[1].temperature, engine.params[1].top_p) == (1.0, 1.0)
    assert engine.params[1].top_logprobs is None


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high"}},
        {"chat_template_kwargs": {"reasoning_effort": "high", "enable_thinking": True}},
    ],
)
def test_effort_reaches_the_prompt(engine, client, fields):
    ask(client, **fields)
    ask(client)
    assert "Reasoning: high\n" in engine.prompts[0]
    assert "Reasoning: medium\n" in engine.prompts[1]


@pytest.mark.parametrize("fields", [{"reasoning": {"exclude": True}}, {"include_reasoning": False}])
def test_reasoning_is_omitted_on_request(engine, client, fields):
    assert "reasoning" not in ask(client, **fields)["choices"][0]["message"]
    assert "reasoning" not in assembled(stream(client, **fields))


def test_logprobs_cover_the_content(engine, client):
    choice = ask(client, logprobs=True, top_logprobs=2)["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
    assert all(token["logprob"] == -0.5 and len(token["top_logprobs"]) == 2 for token in tokens)
    streamed = [
        token
        for chunk in stream(client, logprobs=True, top_logprobs=2)
        for token in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert streamed == tokens


def test_logprobs_of_characters_split_over_tokens(engine, client):
    engine.script = lambda *_: "<|channel|>final<|message|>𠮷!<|return|>"
    tokens = ask(client, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert bytes(byte for token in tokens for byte in token["bytes"]).decode() == "𠮷!"


@pytest.mark.parametrize(
    ("stop", "content"),
    [("there", "Hello "), (["zz", "lo t"], "Hel"), ("think", "Hello there."), (".", "Hello there")],
)
def test_stop_strings_apply_only_to_the_answer(engine, client, stop, content):
    choice = ask(client, stop=stop, logprobs=True)["choices"][0]
    assert (choice["message"]["content"], choice["message"]["reasoning"]) == (content, "I think.")
    assert choice["finish_reason"] == "stop"
    assert content.startswith("".join(token["token"] for token in choice["logprobs"]["content"]))
    assert assembled(stream(client, stop=stop))["content"] == content


def test_several_choices(engine, client):
    assert [choice["index"] for choice in ask(client, n=3, seed=5)["choices"]] == [0, 1, 2]
    assert sorted(params.seed for params in engine.params) == [5, 6, 7]
    chunks = stream(client, n=2)
    assert {assembled(chunks, at)["content"] for at in range(2)} == {"Hello there."}


def test_a_tool_loop_is_rendered_with_its_reasoning(engine, client):
    call = {"id": "c1", "type": "function"}
    call["function"] = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user",
         "content": [{"type": "text", "text": "Wea"}, {"type": "text", "text": "ther?"}]},
        {"role": "assistant", "content": "A plan.", "reasoning": "Why not.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
    ]  # fmt: skip
    ask(client, messages, tools=[CHAT_TOOL])
    prompt = engine.prompts[-1]
    assert "# Instructions\n\nBe brief." in prompt
    assert "<|start|>user<|message|>Weather?<|end|>" in prompt
    assert (
        "<|channel|>analysis<|message|>Why not.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>A plan.<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json"
        '<|message|>{"city": "Rome"}<|call|>'
        "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny<|end|>"
        "<|start|>assistant"
    ) in prompt


def test_a_reply_can_be_sent_back_as_it_is(engine, client):
    engine.script = lambda *_: CALL
    message = ask(client, tools=[CHAT_TOOL])["choices"][0]["message"]
    call_id = message["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": call_id, "content": "sunny", "name": "get_weather"}
    engine.script = lambda *_: ANSWER
    final = ask(client, [USER, message, result], tools=[CHAT_TOOL])["choices"][0]["message"]
    assert "I think." in engine.prompts[-1]
    ask(client, [USER, message, result, final, USER], tools=[CHAT_TOOL])
    assert "I think." not in engine.prompts[-1]
    assert "Hello there." in engine.prompts[-1]


def test_text_and_calls_in_separate_messages_are_one_turn(engine, client):
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "content": "A plan.", "reasoning": "Why not."},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    ask(client, messages, tools=[CHAT_TOOL])
    assert "<|channel|>commentary<|message|>A plan.<|end|>" in engine.prompts[-1]
    assert "Why not." in engine.prompts[-1]
    ask(client, [*messages[:2], *messages[1:]], tools=[CHAT_TOOL])
    assert "<|channel|>final" not in engine.prompts[-1]
    ask(client, [*messages[:2], USER, *messages[1:]], tools=[CHAT_TOOL])
    assert "<|channel|>final<|message|>A plan." in engine.prompts[-1]


def test_reasoning_content_is_accepted_as_reasoning(engine, client):
    ask(client, [USER, {"role": "assistant", "reasoning_content": "Because."}, USER])
    assert "<|channel|>analysis<|message|>Because.<|end|>" in engine.prompts[-1]


def test_the_answers_schema_reaches_the_prompt(engine, client):
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    ask(
        client,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    )
    assert (
        f"# Response Formats\n\n## s\n\n{json.dumps(schema, separators=(',', ':'))}"
        in engine.prompts[-1]
    )
    json_user = {"role": "user", "content": "Answer in JSON."}
    ask(client, [json_user], response_format={"type": "json_object"})
    assert '## json_object\n\n// Any JSON object\n{"type":"object"}' in engine.prompts[-1]
    ask(client, response_format={"type": "text"})
    assert "# Response Formats" not in engine.prompts[-1]


def test_arguments_that_are_not_json_are_returned_unchanged(engine, client):
    engine.script = lambda *_: (
        "<|channel|>commentary to=functions.get_weather<|message|>not {json<|call|>"
    )
    message = ask(client, tools=[CHAT_TOOL])["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == "not {json"


def test_a_call_to_a_function_that_was_not_offered_is_reported(engine, client):
    engine.script = lambda *_: "<|channel|>commentary to=functions.other<|message|>{}<|call|>"
    choice = ask(client, tools=[CHAT_TOOL])["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "other"
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "field",
    [
        {"user": "u"}, {"metadata": {"a": "b"}}, {"store": False}, {"parallel_tool_calls": False},
        {"service_tier": "auto"}, {"prompt_cache_key": "k"}, {"safety_identifier": "s"},
        {"frequency_penalty": 0}, {"presence_penalty": 0.0}, {"logit_bias": None},
        {"modalities": ["text"]}, {"stop": None}, {"stream": None}, {"tools": []}, {"seed": -1},
        {"temperature": 0}, {"top_p": 0},
    ],
    ids=str,
)  # fmt: skip
def test_harmless_fields_are_accepted(engine, client, field):
    ask(client, **field)


class Tomorrow(datetime.datetime):
    """A clock that always shows the last minute of the year 2030."""

    @classmethod
    def now(cls, tz=None):
        return cls(2030, 12, 31, 23, 59, tzinfo=tz)


def test_the_prompt_has_the_date_of_the_request(monkeypatch):
    engine = ScriptedEngine()
    with running(engine, AppSettings(dated=TODAY)) as url, httpx.Client(base_url=url) as client:
        ask(client)
        monkeypatch.setattr(datetime, "datetime", Tomorrow)
        ask(client)
    assert "Current date: 20" in engine.prompts[0]
    assert "Current date: 2030-12-31" in engine.prompts[1]
