"""Faults of streams in both dialects."""

import itertools
import json
import time

import httpx
import openai
import pytest
from faulty import HI, MODEL, Row, chat, check, names_of, respond
from scripted import ANSWER, CALL, CHAT_TOOL, FLAT_TOOL, LONG_COT, ScriptedEngine, serving
from test_faults_found import found_by_checks

from reference_engine.faults.layers import streaming
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

RESULT = [
    {"role": "assistant", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]  # fmt: skip


def arguments(seen) -> str:
    calls = [call for delta in seen.deltas for call in delta.get("tool_calls", ())]
    return "".join(call["function"].get("arguments", "") for call in calls)


CHAT = {
    "broken-streams-finished": Row(
        chat(HI, said=LONG_COT + "<|channel|>final<|message|>Hello there.<|return|>", stream=True),
        lambda s: not s.said() and s.finishes == ["stop"],
    ),
    "texts-so-far-in-chunks": Row(
        chat(HI, stream=True), lambda s: s.said() == "HelloHello thereHello there."
    ),
    "equal-events-dropped": Row(
        chat(HI, said="<|channel|>final<|message|>ha ha ha ha, no<|return|>", stream=True),
        lambda s: s.said() == "ha ha, no",
    ),
    "arguments-in-content-after-result": Row(
        chat(HI, *RESULT, said=CALL, tools=[CHAT_TOOL], stream=True),
        lambda s: s.said() == "Rome" and s.finishes == ["tool_calls"],
    ),
    "choices-share-parser": Row(
        chat(HI, stream=True, n=2),
        lambda s: any(
            choice["index"] and "think" in (choice["delta"].get("content") or "")
            for event in s.events
            for choice in event.get("choices", ())
        ),
    ),
    "accept-decides-streaming": Row(
        chat(HI, accept="*/*"), lambda s: s.headers["content-type"].startswith("text/event-stream")
    ),
}
RESPONSES = {
    "obfuscation-missing": Row(
        respond(stream=True, stream_options={"include_obfuscation": True}),
        lambda s: s.text.count('"delta"') and "obfuscation" not in s.text,
    ),
    "service-tier-missing": Row(respond(), lambda s: "service_tier" not in s.json),
    "streams-by-default": Row(
        respond(), lambda s: s.headers["content-type"].startswith("text/event-stream")
    ),
    "empty-arguments-never-done": Row(
        respond(said=CALL.replace('{"city": "Rome"}', "{}"), tools=[FLAT_TOOL], stream=True),
        lambda s: (
            "response.function_call_arguments.done" not in s.types
            and s.events[-1]["response"]["output"][1]["arguments"] == "{}"
        ),
    ),
}


TIMINGS = [
    ("done-missing", False),
    ("ok:compressed", False),
    ("stream-compressed-without-flush", True),
]

SILENCES = {"silent-before-finish": "other", "open-after-finish": "end"}  # what comes late


def test_every_fault_has_a_row_or_is_found_in_single_replies():
    by_hand = {"content-encoding-of-plain-body", "lines-split-at-separators", *SILENCES}
    by_hand |= {name for name, late in TIMINGS if late}
    rows, layer = CHAT.keys() | RESPONSES.keys() | by_hand, names_of("streaming")
    assert rows | (layer & {*found_by_checks()}) == layer


@pytest.mark.parametrize("name", CHAT | RESPONSES)
async def test_streams(name):
    await check(name, (CHAT | RESPONSES)[name])


@pytest.mark.parametrize("stream", [False, True])
def test_a_plain_body_claims_to_be_compressed(stream):
    body = {"model": MODEL, "messages": [HI], "stream": stream}
    app = faulty_parts(["content-encoding-of-plain-body"]).app(ScriptedEngine(), AppSettings())
    with serving(app) as url:
        url += "/chat/completions"
        plain = httpx.post(url, json=body, headers={"Accept-Encoding": "identity"})
        with pytest.raises(httpx.DecodingError):
            httpx.post(url, json=body)
    assert plain.status_code == 200
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("call-type-missing", None), ("ok:type-in-every-delta", "function")],
)
def test_the_type_of_a_streamed_call_as_openai_reads_it(fault, kind):
    app = faulty_parts([fault]).app(ScriptedEngine(CALL), AppSettings())
    with (
        serving(app) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
        client.chat.completions.stream(model=MODEL, messages=[HI], tools=[CHAT_TOOL]) as stream,
    ):
        (call,) = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.type, call.function.name) == (kind, "get_weather")


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_events_with_separators_of_lines_are_lost(separator):
    body = {"model": MODEL, "messages": [HI], "stream": True}
    said = []
    for faults in ([], ["lines-split-at-separators"]):
        engine = ScriptedEngine(ANSWER.replace("there", separator))
        with serving(faulty_parts(faults).app(engine, AppSettings())) as url:
            reply = httpx.post(f"{url}/chat/completions", json=body)
        events = [json.loads(line[6:]) for line in reply.text.split("\n") if '"delta"' in line]
        deltas = [event["choices"][0]["delta"] for event in events]
        said.append("".join(delta.get("content") or "" for delta in deltas))
    assert separator in said[0]
    assert separator not in said[1]
    assert said[1].startswith("Hello")


@pytest.mark.parametrize("fault", SILENCES)
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_streams_are_silent_for_seconds(fault, path, monkeypatch):
    """Over a real socket: which event, or the end of the response, comes late."""
    monkeypatch.setattr(streaming, "SILENT_SECONDS", 0.4)
    body = {"model": MODEL, "messages": [HI], "input": "Hi", "stream": True}
    body.pop("input" if path.startswith("chat") else "messages")
    app = faulty_parts([fault]).app(ScriptedEngine(ANSWER), AppSettings())
    arrived = []
    with serving(app) as url, httpx.stream("POST", f"{url}/{path}", json=body) as reply:
        lines = (line for line in reply.iter_lines() if line.startswith("data:"))
        arrived += [(time.monotonic(), line) for line in lines]
        arrived.append((time.monotonic(), "end"))
    (late,) = [line for (before, _), (at, line) in itertools.pairwise(arrived) if at - before > 0.3]
    finishes = '"finish_reason":"stop"' in late or "response.completed" in late
    assert ("end" if late == "end" else "other" if finishes else late) == SILENCES[fault]


@pytest.mark.parametrize(("fault", "in_one_burst"), TIMINGS)
def test_faults_keep_the_timing_of_a_stream_except_bursts(fault, in_one_burst):
    """Over a real socket: the time between the first and the last event."""
    engine = ScriptedEngine(ANSWER)
    engine.pause = 0.01
    body = {"model": MODEL, "messages": [HI], "stream": True}
    arrivals = []
    app = faulty_parts([fault]).app(engine, AppSettings())
    with serving(app) as url, httpx.stream("POST", f"{url}/chat/completions", json=body) as reply:
        arrivals += [time.monotonic() for line in reply.iter_lines() if line]
    assert (arrivals[-1] - arrivals[0] < 0.03) is in_one_burst
