"""Replies in the formats of popular servers are not errors."""

import pytest
from healthy import json_response, rollout, stream_response
from replies import Reply, chat_whole, data

from harness.api import DIALECTS
from harness.api.items import ToolResult
from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue

ARGUMENTS = '{"location": "Lisbon"}'
CALL = Reply(call=("get_weather", ARGUMENTS))
USAGE = {"prompt_tokens": 150, "completion_tokens": 40, "total_tokens": 190}


def chunks(*deltas, finish="tool_calls", base=None, choice=None):
    """Chunks with these deltas, and a final one."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            **(base or {})}  # fmt: skip
    each = {"index": 0, "finish_reason": None, "logprobs": None, **(choice or {})}
    parts = [{**base, "choices": [{**each, "delta": delta}]} for delta in deltas]
    return [*parts, {**base, "choices": [{**each, "delta": {}, "finish_reason": finish}]}]


def start(arguments="", **more):
    function = {"name": "get_weather", "arguments": arguments}
    return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function,
                            **more}]}  # fmt: skip


def more(arguments, **extra):
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **extra}, **extra}]}


def usage_chunk(**fields):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [], "usage": USAGE, **fields}  # fmt: skip


VLLM = [
    *chunks(
        {"role": "assistant", "content": ""},
        {"reasoning": "We", "reasoning_content": "We"},
        {"reasoning": " call.", "reasoning_content": " call."},
        start(),
        more(ARGUMENTS),
        choice={"stop_reason": None, "token_ids": None},
    ),
    usage_chunk(),
]
SGLANG = [
    *chunks(
        {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None},
        {"role": None, "content": None, "reasoning_content": "We call."},
        start(),
        {"tool_calls": [{"id": None, "index": 0, "type": "function",
                         "function": {"name": None, "arguments": ARGUMENTS}}]},
        choice={"matched_stop": 200012},
    ),
    usage_chunk(usage={**USAGE, "prompt_tokens_details": None, "reasoning_tokens": 3}),
]  # fmt: skip
LLAMA_CPP = [
    *chunks(
        {"role": "assistant", "content": None},
        {"reasoning_content": "We call."},
        start(),
        more(ARGUMENTS),
        base={"system_fingerprint": "b6000-abc"},
    ),
    usage_chunk(timings={"predicted_ms": 3.2}),
]
OLLAMA = [
    *chunks(
        {"role": "assistant", "content": "", "reasoning": "We"},
        {"role": "assistant", "content": "", "reasoning": " call."},
        {"role": "assistant", "content": "", **start(ARGUMENTS)},
        base={"system_fingerprint": "fp_ollama"},
    ),
    usage_chunk(),
]
GROQ = [
    *chunks(
        {"role": "assistant", "content": None},
        {"reasoning": "We call.", "channel": "analysis"},
        start(ARGUMENTS),
        base={"system_fingerprint": "fp", "x_groq": {"id": "req_1"}, "service_tier": "on_demand"},
    ),
    usage_chunk(usage={**USAGE, "queue_time": 0.1, "prompt_time": 0.01}, service_tier="on_demand"),
]
OPENROUTER_DETAIL = {"type": "reasoning.text", "format": "unknown", "index": 0}
OPENROUTER = [
    *chunks(
        {"role": "assistant", "content": "", "reasoning": "We",
         "reasoning_details": [{**OPENROUTER_DETAIL, "text": "We"}]},
        {"role": "assistant", "content": "", "reasoning": " call.",
         "reasoning_details": [{**OPENROUTER_DETAIL, "text": " call."}]},
        {"role": "assistant", "content": None, **start(ARGUMENTS)},
        base={"provider": "Groq", "id": "gen-1-abc"},
        choice={"native_finish_reason": None},
    ),
    *chunks(finish=None, base={"usage": {**USAGE, "cost": 0.001, "is_byok": False}}),
]  # fmt: skip
OPENROUTER[-1] |= {"id": "gen-1-abc"}
TOGETHER = [
    *chunks(
        {"token_id": 1, "role": "assistant", "content": "", "reasoning": "We call."},
        {"token_id": 2, "role": "assistant", "content": "", **start(ARGUMENTS)},
        choice={"text": "", "seed": None},
    ),
    usage_chunk(usage={**USAGE, "cached_tokens": 0}),
]
FIREWORKS = [
    *chunks(
        {"role": "assistant"},
        {"reasoning_content": "We call."},
        start(None),
        more(ARGUMENTS, name=None),
        base={"usage": None},
    )[:-1],
    {**chunks()[0], "usage": USAGE},
]
AZURE = [
    {"choices": [], "created": 0, "id": "", "model": "", "object": "",
     "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
    *chunks(
        {"role": "assistant", "content": None, "refusal": None},
        {"reasoning_content": "We call."},
        start(),
        more(ARGUMENTS),
        choice={"content_filter_results": {}},
    ),
    usage_chunk(),
]  # fmt: skip
LITELLM = [
    *chunks(
        {"role": "assistant", "content": "", "provider_specific_fields": None,
         "function_call": None, "tool_calls": None, "audio": None},
        {"reasoning_content": "We call.", "content": "", "role": None},
        {"content": None, "role": None, **start()},
        {"content": None, **more(ARGUMENTS, name=None)},
        base={"system_fingerprint": None},
    ),
    usage_chunk(choices=[{"index": 0, "delta": {"content": None}, "finish_reason": None}]),
]  # fmt: skip
CHAT_STREAMS = {
    "vllm": VLLM,
    "sglang": SGLANG,
    "llama.cpp": LLAMA_CPP,
    "ollama": OLLAMA,
    "groq": GROQ,
    "openrouter": OPENROUTER,
    "together": TOGETHER,
    "fireworks": FIREWORKS,
    "azure": AZURE,
    "litellm": LITELLM,
}


def errors(answer, **how):
    seen = parse_rollout(rollout([answer], **how))
    assert [reply.calls[0].arguments for _, reply in seen.replies] == [ARGUMENTS]
    assert [reply.reasoning for _, reply in seen.replies] == ["We call."]
    return {found.id for found in catalogue.examine(seen)[1] if found.severity == "error"}


@pytest.mark.parametrize("server", CHAT_STREAMS)
def test_chat_streams(server):
    blocks = [": PROCESSING", *map(data, CHAT_STREAMS[server]), "data: [DONE]"]
    assert errors(stream_response(blocks), streaming=True) == set()


RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1_760_000_000, "model": "m",
    "status": "completed", "error": None, "incomplete_details": None, "instructions": None,
    "parallel_tool_calls": True, "tool_choice": "auto", "temperature": 1.0, "top_p": 1.0,
    "tools": [{"type": "function", "name": "get_weather", "description": "d",
               "parameters": {"type": "object"}, "strict": False}],
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "status": None,
         "encrypted_content": None, "content": [{"type": "reasoning_text", "text": "We call."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather",
         "arguments": ARGUMENTS, "status": None},
    ],
    "usage": {"input_tokens": 150, "input_tokens_details": {"cached_tokens": 0},
              "output_tokens": 40, "output_tokens_details": {"reasoning_tokens": 8},
              "total_tokens": 190},
}  # fmt: skip
WHOLE_RESPONSES = {
    "vllm": {
        **RESPONSE,
        "background": False, "max_output_tokens": 131072, "max_tool_calls": None, "metadata": None,
        "previous_response_id": None, "prompt": None, "service_tier": "auto", "text": None,
        "reasoning": {"effort": "medium", "generate_summary": None, "summary": None},
        "top_logprobs": None, "truncation": "disabled", "user": None,
        "input_messages": None, "output_messages": None,
        "usage": {**RESPONSE["usage"],
                  "output_tokens_details": {"reasoning_tokens": 8, "tool_output_tokens": 0}},
    },
    "groq": {
        **RESPONSE,
        "service_tier": "on_demand", "store": False, "metadata": {}, "background": False,
        "text": {"format": {"type": "text"}}, "truncation": "disabled", "user": None,
        "reasoning": {"effort": None, "summary": None}, "max_tool_calls": None,
        "tools": [{k: v for k, v in RESPONSE["tools"][0].items() if k != "strict"}],
    },
    "lmstudio": {
        **RESPONSE,
        "usage": {"input_tokens": 150, "output_tokens": 40, "total_tokens": 190},
        "completed_at": 1_760_000_001, "billing": {"payer": "developer"}, "created_at": 1.5,
    },
}  # fmt: skip
WHOLE_CHAT = {
    "vllm": {"refusal": None, "annotations": None, "audio": None, "function_call": None},
    "openrouter": {"refusal": None, "reasoning_details": [{**OPENROUTER_DETAIL, "text": "We"}]},
    "sglang": {"reasoning_content": "We call.", "reasoning": None, "content": None},
    "litellm": {"provider_specific_fields": {"refusal": None}, "thinking_blocks": None},
    "ollama": {"content": ""},
}


def test_reasoning_details_in_pieces_are_sent_back_joined():
    blocks = [*map(data, OPENROUTER), "data: [DONE]"]
    recorded = rollout([stream_response(blocks)], streaming=True).exchanges[0]
    reply = DIALECTS["chat"].read(recorded)
    body = DIALECTS["chat"].next_request(recorded.request.body, reply, [ToolResult("call_1", "{}")])
    assert body["messages"][-2]["reasoning_details"] == [{**OPENROUTER_DETAIL, "text": "We call."}]


@pytest.mark.parametrize("server", WHOLE_RESPONSES)
def test_non_streaming_responses(server):
    assert errors(json_response(WHOLE_RESPONSES[server]), api="responses") == set()


@pytest.mark.parametrize("server", WHOLE_CHAT)
def test_non_streaming_completions(server):
    body = chat_whole(Reply(call=CALL.call, reasoning="We call."))
    body["choices"][0] |= {"stop_reason": 200012, "logprobs": None, "native_finish_reason": "stop"}
    body["choices"][0]["message"] |= WHOLE_CHAT[server]
    body |= {"service_tier": None, "prompt_logprobs": None, "kv_transfer_params": None}
    assert errors(json_response(body)) == set()


def test_reasoning_details_alone_are_the_reasoning():
    body = chat_whole(CALL)
    details = [{**OPENROUTER_DETAIL, "text": "We "}, {**OPENROUTER_DETAIL, "text": "call."}]
    message = body["choices"][0]["message"]
    message |= {"reasoning": None, "reasoning_details": details}
    assert errors(json_response(body)) == set()
