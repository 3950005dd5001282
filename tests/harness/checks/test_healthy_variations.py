"""Allowed variations of healthy servers are not errors."""

import copy
import json
from dataclasses import replace

import written
from healthy import json_response, rollout, stream_response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replies import (
    Reply,
    chat_blocks,
    chat_chunks,
    chat_whole,
    responses_blocks,
    responses_events,
    responses_whole,
)

from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\N{REPLACEMENT CHARACTER}")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
CHAT_FREE = {
    "choices.0.message.tool_calls": [[], None],
    "choices.0.message.refusal": [None],
    "choices.0.logprobs": [None],
    "system_fingerprint": [None, "fp_1"],
    "service_tier": [None, "default"],
    "usage.prompt_tokens_details": [None, {"cached_tokens": 0}],
}
RESPONSES_FREE = (
    *("previous_response_id", "instructions", "truncation", "text", "top_p", "top_logprobs"),
    *("temperature", "reasoning", "max_output_tokens", "service_tier", "metadata", "background"),
    *("store", "presence_penalty", "completed_at", "safety_identifier", "prompt_cache_key"),
)  # fmt: skip
DELTAS = {"response.output_text.delta", "response.reasoning_text.delta",
          "response.function_call_arguments.delta"}  # fmt: skip


@st.composite
def says(draw):
    mark = draw(st.sampled_from(["1", "9f3c0de1", "x-é", "0"]))
    reasoning = f"Let me see. {draw(TEXT)}"
    call_id = draw(st.sampled_from(["call_1", "fc_9", "chatcmpl-tool-00", "7f", "a b"]))
    if draw(st.booleans()):
        arguments = json.dumps({"location": draw(TEXT)}, ensure_ascii=draw(st.booleans()))
        return Reply(
            call=("get_weather", arguments), reasoning=reasoning, call_id=call_id, mark=mark
        )
    text = draw(TEXT).replace("{", "(")  # No arguments of a call.
    return Reply(text=f"Here you are: {text}", reasoning=reasoning, mark=mark)


def objects_in(value):
    """Every object in a JSON value that may have additional fields."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("metadata", "tools"):
                yield from objects_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects_in(inner)


def add_fields(draw, value):
    places = list(objects_in(value))
    for number in range(draw(st.integers(0, 4))):
        draw(st.sampled_from(places))[f"x_{number}"] = draw(JSON)


def cut(draw, text):
    """A text split into pieces, some of them empty."""
    points = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[a:b] for a, b in zip([0, *points], [*points, len(text)], strict=True)]


def recut_chunks(draw, chunks):
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
        name = next((name for name in ("content", "reasoning") if delta.get(name)), None)
        for piece in cut(draw, delta[name]) if name else [None]:
            whole = copy.deepcopy(chunk)
            if name:
                whole["choices"][0]["delta"][name] = piece
            yield whole


def recut_events(draw, events):
    number = 0
    for event in copy.deepcopy(events):
        for piece in cut(draw, event["delta"]) if event["type"] in DELTAS else [None]:
            changed = event if piece is None else {**event, "delta": piece}
            yield {**copy.deepcopy(changed), "sequence_number": number}
            number += draw(st.integers(1, 3))


def with_comments(draw, blocks):
    for block in blocks:
        if draw(st.booleans()):
            yield draw(st.sampled_from([": keep-alive", ":", ": PROCESSING", ""]))
        yield draw(st.sampled_from([block, f": x\n{block}", f"{block}\nid: 7"]))


def chat_body(draw, reply):
    body = chat_whole(reply)
    for path, values in CHAT_FREE.items():
        *steps, last = path.split(".")
        here = body
        for step in steps:
            here = here[int(step) if step.isdigit() else step]
        if last not in here and draw(st.booleans()):
            here[last] = copy.deepcopy(draw(st.sampled_from(values)))
    message = body["choices"][0]["message"]
    if reply.call:
        message["content"] = draw(st.sampled_from([None, "", "I will look."]))
    if draw(st.booleans()):
        message["reasoning_content"] = message.pop("reasoning")
    return body


def responses_body(draw, reply):
    body = responses_whole(reply)
    for name in RESPONSES_FREE:
        if draw(st.booleans()):
            del body[name]
    for item in body["output"]:
        if item["type"] == "reasoning" and draw(st.booleans()):
            item |= {"status": "completed", "encrypted_content": None}
    return body


def errors(recorded):
    found = catalogue.examine(parse_rollout(recorded))[1]
    return [finding for finding in found if finding.severity == "error"]


def healthy(test):
    """Run a test on healthy replies, with a long deadline because they are large."""
    check = settings(max_examples=30, suppress_health_check=list(HealthCheck))
    return check(given(st.data(), says())(test))


@healthy
def test_non_streaming_completions(data, reply):
    body = chat_body(data.draw, reply)
    add_fields(data.draw, body)
    assert errors(rollout([json_response(body)])) == []


@healthy
def test_non_streaming_responses(data, reply):
    body = responses_body(data.draw, reply)
    add_fields(data.draw, body)
    assert errors(rollout([json_response(body)], api="responses")) == []


@healthy
def test_streamed_completions(data, reply):
    chunks = list(recut_chunks(data.draw, chat_chunks(reply)))
    add_fields(data.draw, chunks)
    blocks = list(with_comments(data.draw, chat_blocks(chunks)))
    assert errors(rollout([stream_response(blocks)], streaming=True)) == []


@healthy
def test_streamed_responses(data, reply):
    events = list(recut_events(data.draw, responses_events(reply)))
    add_fields(data.draw, events)
    blocks = list(with_comments(data.draw, responses_blocks(events)))
    assert errors(rollout([stream_response(blocks)], api="responses", streaming=True)) == []


def asked(prompt, reply, **options):
    """The ids of the findings in a reply to this prompt with these options."""
    sent = {"messages": [{"role": "user", "content": prompt}], **options}
    seen = parse_rollout(written.asked(rollout([reply]), sent))
    return {found.id for found in catalogue.examine(seen)[1]}


ARRAY = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}


def test_markup_that_the_conversation_is_about_is_not_a_leak():
    text = "It ends with <|end|>, a call with <|call|>."
    tokens = Reply(text=text, wrote="It ends with x, a call with x.")
    assert "harmony.markers" in asked("How does a message end?", tokens)
    assert asked("What do <|end|> and <|call|> end?", tokens) == set()
    uncounted = Reply(text="With `<|end|>`.", reasoning="It is `<|end|>`.", wrote="With x.")
    assert asked("How does a message end?", uncounted) == set()
    tags = Reply(text="<think>a</think>\n<reasoning>b</reasoning>", wrote="b")
    assert "reasoning.in_answer" in asked("Write two tags.", tags)
    assert asked("Write a <think> and another tag.", tags) == set()


def test_markup_with_the_tokens_of_spelled_text_is_not_a_leak():
    spelled = Reply(text="It ends with <|end|>.", reasoning="They mean <|end|> and <|return|>.")
    assert asked("How does a message end?", spelled) == set()
    assert "harmony.markers" in asked("How does it end?", replace(spelled, reasoning=""))
    tags = Reply(text="<reasoning>a</reasoning>\n<final>b</final>")
    assert asked("Answer in XML.", tags) == set()
    assert "reasoning.in_answer" in asked("Answer in XML.", replace(tags, reasoning=""))


def test_the_name_of_a_null_value_is_an_answer_if_the_model_wrote_it():
    assert asked("What does it print?", Reply(text="None")) == set()
    assert "text.placeholder" in asked("What does it print?", Reply(text="None", wrote="It is."))


def test_special_tokens_in_a_string_of_arguments_are_not_a_leak():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    arguments = '{"text": "<|start|>user<|message|>Hi<|end|>"}'
    assert asked("Save it.", Reply(call=("f", arguments)), tools=[tool]) == set()
    leak = Reply(call=("f", '{"text": "Hi"}<|call|>'))
    assert "harmony.markers" in asked("Save it.", leak, tools=[tool])


def test_answers_and_calls_due_to_old_or_rare_options_are_accepted():
    assert asked("Primes?", Reply(text="[2, 3]"), response_format=ARRAY) == set()
    assert "answer.json" in asked("Primes?", Reply(text="{}"), response_format=ARRAY)
    old = {"tools": [], "functions": [{"name": "f", "parameters": {"type": "object"}}]}
    assert asked("Call f.", Reply(call=("f", "{}")), **old) == set()


def test_a_refusal_is_an_answer():
    body = chat_whole(Reply(text="No, I cannot help with that."))
    message = body["choices"][0]["message"]
    message |= {"content": None, "refusal": message["content"]}
    assert errors(rollout([json_response(body)])) == []
    whole = responses_whole(Reply(text="No, I cannot help with that."))
    part = whole["output"][-1]["content"][0]
    whole["output"][-1]["content"] = [{"type": "refusal", "refusal": part["text"]}]
    assert errors(rollout([json_response(whole)], api="responses")) == []
