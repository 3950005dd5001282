"""Allowed variations change the wire format or the prompt, but not what was said."""

import json
from dataclasses import replace

import pytest
from faulty import HI, Row, chat, check, names_of, respond, send
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from scripted import CALL, CHAT_TOOL, COT, FLAT_TOOL

from reference_engine.faults.http import SseEvent
from reference_engine.faults.layers import variations

SYSTEM = {"role": "system", "content": "Be brief."}
calling = chat(HI, said=CALL, tools=[CHAT_TOOL])
forced = chat(HI, said=CALL, tools=[CHAT_TOOL], tool_choice="required")
streaming = chat(HI, stream=True)
streaming_usage = chat(HI, stream=True, stream_options={"include_usage": True})
responding = respond(said=CALL, tools=[FLAT_TOOL], stream=True)
PLAN = "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant"
FUNCTION = {"name": "get_weather", "arguments": "{}"}
LOOP = [
    HI,
    {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": FUNCTION}]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
CALLED = "<|start|>assistant to=functions.get_weather<|channel|>commentary"
REFERENCE = {"name": "s", "schema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}}
WITH_REFERENCE = {"type": "json_schema", "json_schema": REFERENCE}

REPLIES = {
    "reasoning-content": Row(
        chat(HI),
        lambda s: s.message.get("reasoning_content") == "I think." and "reasoning" not in s.message,
    ),
    "both-reasoning-fields": Row(
        chat(HI), lambda s: s.message["reasoning"] == s.message.get("reasoning_content")
    ),
    "extra-fields": Row(chat(HI), lambda s: "provider_specific_fields" in s.message),
    "other-ids": Row(calling, lambda s: s.call["id"].startswith("chatcmpl-tool-")),
    "long-call-ids": Row(calling, lambda s: len(s.call["id"]) == 83),
    "empty-content": Row(calling, lambda s: s.message["content"] == ""),
    "empty-tool-calls": Row(chat(HI), lambda s: s.message.get("tool_calls") == []),
    "stop-when-forced": Row(forced, lambda s: s.finish == "stop" and s.call),
    "usage-details": Row(
        chat(HI), lambda s: s.json["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    ),
    "preamble-as-reasoning": Row(
        chat(HI, said=COT + PLAN + CALL, tools=[CHAT_TOOL]),
        lambda s: "One moment." in s.message["reasoning"],
    ),
    "forced-call-without-reasoning": Row(forced, lambda s: "reasoning" not in s.message),
    "compressed": Row(chat(HI), lambda s: s.headers.get("content-encoding") == "gzip"),
    "escapes-in-arguments": Row(
        chat(HI, said=CALL.replace("Rome", "Łódź &"), tools=[CHAT_TOOL]),
        lambda s: s.call["function"]["arguments"] == r'{"city": "\u0141\u00f3d\u017a \u0026"}',
    ),
    "white-space-in-arguments": Row(
        calling, lambda s: s.call["function"]["arguments"] == '{"city" :  "Rome"}'
    ),
}
STREAMS = {
    "compressed": Row(streaming, lambda s: s.headers.get("content-encoding") == "gzip"),
    "keep-alive-comments": Row(streaming, lambda s: s.text.count(": keep-alive\n\n") > 3),
    "carriage-returns": Row(streaming, lambda s: "\r\n\r\n" in s.text),
    "role-in-every-chunk": Row(streaming, lambda s: all("role" in delta for delta in s.deltas)),
    "type-in-every-delta": Row(
        replace(calling, body=calling.body | {"stream": True}),
        lambda s: all(
            call.get("type") for delta in s.deltas for call in delta.get("tool_calls") or ()
        ),
    ),
    "empty-delta": Row(streaming, lambda s: s.deltas[0] == {"content": ""}),
    "finish-with-last-text": Row(
        streaming,
        lambda s: s.events[-1]["choices"][0]["delta"] == {"content": "."} and s.finishes,
    ),
    "usage-in-last-chunk": Row(
        streaming_usage, lambda s: s.events[-1]["usage"] and s.events[-1]["choices"]
    ),
    "created-varies": Row(streaming, lambda s: len({e["created"] for e in s.events}) == 2),
    "reasoning-part-events": Row(
        responding,
        lambda s: (
            "response.reasoning_part.added" in s.types
            and "event: response.reasoning_part.done" in s.text
        ),
    ),
    "open-responses-events": Row(
        responding,
        lambda s: (
            "response.reasoning.delta" in s.types and "response.reasoning_text.done" not in s.types
        ),
    ),
    "arguments-when-done": Row(
        responding, lambda s: "response.function_call_arguments.delta" not in s.types
    ),
}
INPUTS = {
    "date-line": Row(chat(HI), lambda s: "Current date: 2026-11-20\n" in s.prompt),
    "blank-line-after-instructions": Row(
        chat(SYSTEM, HI), lambda s: "Be brief.\n\n<|end|>" in s.prompt
    ),
    "blank-line-before-instructions": Row(
        chat(SYSTEM, HI), lambda s: "<|message|>\n\n# Instructions" in s.prompt
    ),
    "calls-without-constrain": Row(chat(*LOOP), lambda s: f"{CALLED}<|message|>" in s.prompt),
    "calls-with-plain-json": Row(chat(*LOOP), lambda s: f"{CALLED} json<|message|>" in s.prompt),
    "recipient-in-channel": Row(
        chat(*LOOP),
        lambda s: (
            "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>"
            in s.prompt
        ),
    ),
    "result-recipient-in-channel": Row(
        chat(*LOOP),
        lambda s: "functions.get_weather<|channel|>commentary to=assistant<|message|>" in s.prompt,
    ),
    "effort-clamped": Row(
        chat(HI, reasoning_effort="xhigh"), lambda s: "Reasoning: high" in s.prompts[-1]
    ),
    "low-effort-by-default": Row(chat(HI), lambda s: "Reasoning: low\n" in s.prompt),
    "accept-asks-for-stream": Row(
        chat(HI, accept="text/event-stream"),
        lambda s: s.headers["content-type"].startswith("text/event-stream"),
    ),
    "logprobs-refused": Row(chat(HI, logprobs=True), lambda s: s.status == 400),
    "logprobs-limited": Row(chat(HI, logprobs=True, top_logprobs=6), lambda s: s.status == 400),
    "references-refused": Row(chat(HI, response_format=WITH_REFERENCE), lambda s: s.status == 400),
    "forced-choice-refused": Row(forced, lambda s: s.status == 400),
}


def test_every_variation_has_a_row():
    named = {f"ok:{name}" for name in REPLIES | STREAMS | INPUTS}
    assert named | {"ok:numeric-noise", "ok:lowest-logprobs"} == names_of(
        "rendering", "streaming", allowed=True
    )


def parsed(seen) -> list[object]:
    """Return the reply as the types of the SDK read it."""
    if seen.headers["content-type"] == "application/json":
        return [ChatCompletion.model_validate(seen.json)]
    if "type" in seen.events[0]:
        return [Response.model_validate(seen.events[-1]["response"])]
    return [ChatCompletionChunk.model_validate(event) for event in seen.events]


@pytest.mark.parametrize("name", REPLIES)
async def test_replies(name):
    row = REPLIES[name]
    await check(f"ok:{name}", row)
    healthy, varied = await send(row.ask), await send(row.ask, f"ok:{name}")
    assert parsed(varied)
    if name != "preamble-as-reasoning":
        assert (varied.message["content"] or "") == (healthy.message["content"] or "")
    calls = [
        [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in seen.message.get("tool_calls", ())
        ]
        for seen in (healthy, varied)
    ]
    assert calls[0] == calls[1]


async def test_improbable_alternatives_have_the_lowest_value(monkeypatch):
    monkeypatch.setattr(variations, "_PROBABLE", 0.0)
    seen = await send(chat(HI, logprobs=True, top_logprobs=3), "ok:lowest-logprobs")
    tokens = seen.json["choices"][0]["logprobs"]["content"]
    others = [other["logprob"] for token in tokens for other in token["top_logprobs"][1:]]
    assert others
    assert set(others) == {-9999.0}
    assert all(token["logprob"] > -100 for token in tokens)


@pytest.mark.parametrize("name", STREAMS)
async def test_streams(name):
    row = STREAMS[name]
    await check(f"ok:{name}", row)
    healthy, varied = await send(row.ask), await send(row.ask, f"ok:{name}")
    assert parsed(varied)
    for key in ("reasoning", "content"):
        assert varied.said(key) == healthy.said(key)
    assert varied.finishes == healthy.finishes
    assert len(varied.types) == len(healthy.types) or name in {
        "empty-delta",
        "finish-with-last-text",
        "usage-in-last-chunk",
        "arguments-when-done",
    }


async def test_every_choice_keeps_its_finish_reason_where_chunks_of_choices_alternate():
    def chunk(index, text=None, finish=None):
        delta = {} if text is None else {"content": text}
        return SseEvent({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    async def sent():
        for event in (chunk(0, "a"), chunk(1, "b"), chunk(2, finish="stop"), chunk(0, "c")):
            yield event
        for event in (chunk(1, finish="length"), chunk(0, finish="stop"), SseEvent()):
            yield event

    varied = [event async for event in variations.finish_with_last_text(sent(), None)]
    finishes = {
        event.choice["index"]: event.choice["finish_reason"]
        for event in varied
        if event.choice.get("finish_reason")
    }
    assert finishes == {0: "stop", 1: "length", 2: "stop"}
    assert "".join(event.delta.get("content", "") for event in varied) == "abc"
    assert varied[-1].data is None


@pytest.mark.parametrize("name", INPUTS)
async def test_inputs(name):
    row = INPUTS[name]
    if name == "effort-clamped":
        assert (await send(row.ask)).status == 400
        assert row.shows(await send(row.ask, f"ok:{name}"))
    else:
        await check(f"ok:{name}", row)


async def test_changed_item_ids_are_consistent_across_events():
    seen = await send(responding, "ok:other-ids")
    final = [item["id"] for item in seen.events[-1]["response"]["output"]]
    assert not any(item.startswith(("rs_", "fc_")) for item in final)
    assert {event["item_id"] for event in seen.events if "item_id" in event} == set(final)
