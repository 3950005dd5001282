"""Every choice is judged, streamed logprobs are read, and echoed leaks do not hide new ones."""

import copy
import json

import pytest
from examined import findings
from healthy import exchange, json_response, rollout, stream_response
from replies import Reply, chat_blocks, chat_chunks, chat_whole
from written import asked

from harness.api import DIALECTS
from harness.api.parsed_rollout import parse_rollout

FIRST = Reply(text="It is sunny in Lisbon.")
LEAK = "So.<|channel|>final<|message|>It is warm."
LEAKED = Reply(text=LEAK, wrote="So.It is warm.")


def whole(second):
    body = chat_whole(FIRST)
    body["choices"].append(chat_whole(second)["choices"][0] | {"index": 1})
    return asked(rollout([json_response(body)]), {"n": 2})


def streamed(second):
    """Two choices whose chunks alternate."""
    start, *one, usage = chat_chunks(FIRST)
    _, *other, _ = copy.deepcopy(chat_chunks(second))
    begun = copy.deepcopy(start)
    for chunk in (begun, *other):
        chunk["choices"][0]["index"] = 1
    pairs = [chunk for pair in zip(one, other, strict=False) for chunk in pair]
    rest = [*one[len(other) :], *other[len(one) :]]
    answer = stream_response(chat_blocks([start, begun, *pairs, *rest, usage]))
    return asked(rollout([answer], streaming=True), {"n": 2})


def test_every_choice_of_a_healthy_reply_is_read():
    second = Reply(text="It is warm.", reasoning="Let me think of another answer.")
    for recorded in (whole(second), streamed(second)):
        (reply,) = (reply for _, reply in parse_rollout(recorded).replies)
        (other,) = reply.others
        assert (reply.text, other.text) == (FIRST.text, second.text)
        assert (reply.reasoning, other.reasoning) == (FIRST.reasoning, second.reasoning)
        assert findings(recorded) == set()


def test_a_defect_of_the_second_choice_is_found():
    for make in (whole, streamed):
        assert findings(make(Reply(text=LEAK))) >= {"harmony.markers"}
        assert "reply.empty" in findings(make(Reply(text="")))


def test_streamed_logprobs_are_part_of_the_reply():
    entries = [{"token": each, "logprob": -0.5, "bytes": None, "top_logprobs": []} for each in "It"]
    chunks = chat_chunks(FIRST)
    for chunk, entry in zip(chunks[2:], entries, strict=False):
        chunk["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    reply = DIALECTS["chat"].read(exchange("chat", True, stream_response(chat_blocks(chunks))))
    assert reply.raw["choices"][0]["logprobs"] == {"content": entries}


CASES = {
    "a call in the second choice": (
        lambda: whole(Reply(call=("get_weatherjson", '{"location": "Lisbon"}'))),
        {"calls.name.polluted"},
    ),
    "a leak that the client sent back does not hide the next one": (
        lambda: asked(
            rollout([LEAKED]),
            {
                "messages": [
                    {"role": "user", "content": "What is the weather?"},
                    {"role": "assistant", "content": LEAK},
                    {"role": "user", "content": "And tomorrow?"},
                ]
            },
        ),
        {"harmony.markers"},
    ),
    "special tokens in a tool result may be repeated": (
        lambda: asked(
            rollout([Reply(text=LEAK)]),
            {
                "messages": [
                    {"role": "user", "content": "Read the file."},
                    {
                        "role": "tool",
                        "tool_call_id": "call_1",
                        "content": json.dumps({"text": LEAK}),
                    },
                ]
            },
        ),
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_found(case):
    made, expected = CASES[case]
    assert findings(made()) == expected
