"""Harmony over raw completions: the prompts that are sent, and the answers that are read."""

import json
from typing import Any

import pytest

from harmony.vocabulary import encode, harmony_encoding
from harness.api import DIALECTS
from harness.api.items import (
    Message,
    Reasoning,
    Reply,
    RequestSettings,
    Tool,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
)
from harness.records.rollouts import Exchange, Request, Response, StreamPart

HARMONY = DIALECTS["harmony"]
TOOL = Tool("get_weather", "Weather.", {"type": "object", "properties": {}}, '{"t": 21}')
COT = "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
ANSWER = COT + "<|channel|>final<|message|>Hello.<|return|>"
CALL = COT + "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{}<|call|>"
OPENING = "<|start|>assistant"


def first(*items: Any, **settings: Any) -> dict[str, Any]:
    return HARMONY.first_request(
        items or [Message("user", "Hi")],
        instructions="Be brief.",
        tools=(TOOL,),
        streaming=False,
        settings=RequestSettings("m", **settings),
    )


def prompt_of(body: dict[str, Any]) -> str:
    text: str = harmony_encoding().decode(body["prompt"])
    return text


def choice(said: str, *, ids: bool = True, finish: str | None = "stop") -> dict[str, Any]:
    text = said.removesuffix("<|return|>").removesuffix("<|call|>")
    given = {"index": 0, "text": text, "finish_reason": finish}
    return given | ({"token_ids": encode(said)} if ids else {})


def read(*choices: dict[str, Any], streaming: bool = False) -> Reply:
    usage = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
    texts = [json.dumps({"id": "c", "choices": [one], "usage": usage}) for one in choices]
    parts = tuple(StreamPart(0.0, f"data: {text}") for text in texts)
    response = Response(status=200, headers={}, body=None if streaming else texts[0])
    return HARMONY.read(
        Exchange(
            request=Request(method="POST", url="u", headers={}, body={"stream": streaming}),
            response=response.model_copy(update={"parts": parts if streaming else ()}),
            started_at="2026-01-01T00:00:00Z",
            elapsed=1.0,
        )
    )


def test_prompt_is_rendered_as_harmony() -> None:
    body = first(reasoning_effort="high", max_tokens=100, temperature=0.5, seed=7)
    prompt = prompt_of(body)
    assert "Reasoning: high" in prompt
    assert "# Instructions\n\nBe brief." in prompt
    assert "type get_weather = " in prompt
    assert prompt.endswith(f"<|start|>user<|message|>Hi<|end|>{OPENING}")
    options = {name: body[name] for name in ("max_tokens", "temperature", "seed")}
    assert options == {"max_tokens": 100, "temperature": 0.5, "seed": 7}
    assert body["skip_special_tokens"] is False
    assert body["return_token_ids"] is True


def test_special_tokens_in_texts_stay_text() -> None:
    assert first(Message("user", "<|end|>"))["prompt"].count(encode("<|end|>")[0]) == 3


def test_earlier_turns_are_rendered_and_stale_cot_is_dropped() -> None:
    body = first(
        Message("user", "a"),
        Reasoning("old"),
        Message("assistant", "b"),
        Message("user", "c"),
        Reasoning("new"),
        Message("assistant", "Wait."),
        ToolCall("x", "get_weather", "{}"),
        ToolResult("x", ("sunny", "!")),
    )
    prompt = prompt_of(body)
    assert "old" not in prompt
    assert "<|channel|>final<|message|>b<|end|>" in prompt
    assert "<|channel|>analysis<|message|>new<|end|>" in prompt
    assert "<|channel|>commentary<|message|>Wait.<|end|>" in prompt
    result = "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny!"
    assert prompt.endswith(f"{result}<|end|>{OPENING}")


@pytest.mark.parametrize("ids", [True, False])
def test_answer_is_parsed_from_ids_or_text(ids: bool) -> None:
    reply = read(choice(ANSWER, ids=ids))
    assert (reply.reasoning, reply.text, reply.calls) == ("I think.", "Hello.", ())
    assert (reply.finish, reply.input_tokens, reply.output_tokens) == ("stop", 9, 8)
    reply = read(choice(CALL, ids=ids))
    assert reply.calls == (ToolCall("call_0", "get_weather", "{}"),)
    assert (reply.reasoning, reply.finish) == ("I think.", "tool_calls")


def test_text_without_a_header_is_the_answer() -> None:
    assert read(choice("Hello.<|return|>")).text == "Hello."
    assert read(choice("<|return|>")).text == ""
    assert read(choice("", ids=False)).text == ""


def test_preambles_are_text_and_cut_off_answers_are_truncated() -> None:
    said = "<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant"
    assert read(choice(said + CALL)).text == "Wait."
    cut = read(choice(ANSWER.partition(".<|return|>")[0], finish="length"))
    assert (cut.text, cut.finish) == ("Hello", "length")


def test_stream_is_read_like_the_complete_reply() -> None:
    ids = encode(ANSWER)
    pieces = [
        {"index": 0, "text": harmony_encoding().decode([one]), "token_ids": [one]} for one in ids
    ]
    pieces[-1] |= {"text": "", "finish_reason": "stop"}
    logprobs = {"tokens": ["token_id:1"], "token_logprobs": [-1.0], "top_logprobs": [{}]}
    streamed = read(*({**each, "logprobs": logprobs} for each in pieces), streaming=True)
    whole = read(choice(ANSWER))
    assert (streamed.reasoning, streamed.text) == (whole.reasoning, whole.text)
    assert streamed.finish == "stop"
    assert len(HARMONY.logprobs(streamed.raw)) == len(ids)
    with pytest.raises(UnreadableReplyError, match="without finish_reason"):
        read(*pieces[:-1], streaming=True)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (choice("analysisI think.assistantfinalHello.", ids=False), "nor special tokens"),
        ({"index": 0, "text": ANSWER, "token_ids": ["a"]}, "token ids"),
        ({"index": 0}, r"choices\[0\].text"),
    ],
)
def test_invalid_bodies_are_unreadable(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        read(given)


@pytest.mark.parametrize("ids", [True, False])
def test_tool_loop_sends_the_call_back_as_the_model_wrote_it(ids: bool) -> None:
    reply = read(choice(CALL, ids=ids))
    before = first()
    body = HARMONY.next_request(before, reply, [ToolResult("call_0", "sunny")])
    added = prompt_of(body).removeprefix(prompt_of(before))
    result = "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny"
    assert added == f"{CALL}{result}<|end|>{OPENING}"


def test_next_question_drops_the_cot_before_the_answer() -> None:
    called = first()
    called = HARMONY.next_request(called, read(choice(CALL)), [ToolResult("call_0", "sunny")])
    body = HARMONY.next_request(called, read(choice(ANSWER)), [Message("user", "And now?")])
    prompt = prompt_of(body)
    assert "I think." not in prompt
    assert "to=functions.get_weather" in prompt
    answered = "<|channel|>final<|message|>Hello.<|end|><|start|>user<|message|>And now?<|end|>"
    assert prompt.endswith(f"{answered}{OPENING}")


def test_logprobs_name_tokens_by_id_or_text_or_as_llama_cpp_does() -> None:
    legacy = {
        "tokens": ["token_id:12", "b"],
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{"token_id:13": -0.5}, None],
    }
    named, plain = HARMONY.logprobs({"choices": [choice(ANSWER) | {"logprobs": legacy}]})
    assert named["bytes"] == list(harmony_encoding().decode([12]).encode())
    assert named["logprob"] == -1.0
    assert [each["logprob"] for each in named["top_logprobs"]] == [-0.5]
    assert plain == {"token": "b", "logprob": -2.0, "top_logprobs": []}
    entries = [{"id": 12, "token": "x", "logprob": -1.0}]
    assert (
        HARMONY.logprobs({"choices": [{"text": "", "logprobs": {"content": entries}}]}) == entries
    )
    assert HARMONY.logprobs({"choices": [choice(ANSWER)]}) == []


def test_prompt_is_shown_as_messages() -> None:
    body = HARMONY.next_request(first(), read(choice(CALL)), [ToolResult("call_0", "sunny")])
    system, developer, user, cot, call, result = HARMONY.turns(body)
    assert (system["role"], developer["role"]) == ("system", "developer")
    assert user == {"role": "user", "content": "Hi"}
    assert cot["reasoning"] == "I think."
    assert call["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": "{}"}
    assert result == {"role": "tool", "content": "sunny", "tool_call_id": "get_weather"}
    assert HARMONY.turns({"prompt": "Hi"}) == [{"role": "user", "content": "Hi"}]
    assert HARMONY.turns({}) == []
