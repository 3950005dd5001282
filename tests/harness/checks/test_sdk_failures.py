"""Texts say that OpenAI's SDK fails only where its stream helpers do fail, tried over a socket."""

import copy

import pytest
from healthy import rollout, stream_response
from mock_provider import MockProvider, write_text
from openai import AsyncOpenAI
from replies import Reply, chat_blocks, chat_chunks, responses_blocks, responses_events

from harness.api.parsed_rollout import parse_rollout
from harness.rules import catalogue
from harness.rules.catalogue import SINGLE_CHECKS
from harness.rules.results import judged_result

CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))
ANSWER = Reply(text="It is sunny in Lisbon.")
SDK_ERRORS = (AttributeError, TypeError, LookupError, RuntimeError, AssertionError)
"""What its helpers raise: errors of Python, not its own."""
SAYS_SO = "The stream helper of OpenAI's SDK raises an error."


def without(kind, field):
    """Responses events of one type without a field; without the event itself if there is none."""

    def change(events):
        for event in [each for each in events if each["type"] == kind]:
            if field is None:
                events.remove(event)
            else:
                event.pop(field)

    return change


def echoed(events):
    """All response objects without the fields that repeat the request."""
    for event in events:
        for field in ("tools", "tool_choice", "parallel_tool_calls"):
            event.get("response", {}).pop(field, None)


def foreign_first(kind):
    """An event without choices before all others, with another `object` or the same."""
    return lambda chunks: chunks.insert(0, {"object": kind, "served_by": "primary"})


def of_choices(field):
    def change(chunks):
        for chunk in chunks:
            for choice in chunk["choices"]:
                choice.pop(field, None)

    return change


def of_chunks(field):
    return lambda chunks: [chunk.pop(field, None) for chunk in chunks]


def of_calls(field):
    def change(chunks):
        for chunk in chunks:
            for choice in chunk["choices"]:
                for call in choice["delta"].get("tool_calls") or ():
                    call.pop(field, None)

    return change


async def sdk_fails(api, blocks):
    """Whether the SDK's stream helper raises an error on a stream."""

    async def answer(_received, writer):
        write_text(writer, "".join(f"{block}\n\n" for block in blocks), "text/event-stream")

    async with (
        MockProvider(always=answer) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client,
    ):
        manager = (
            client.chat.completions.stream(model="m", messages=[])
            if api == "chat"
            else client.responses.stream(model="m", input="x")
        )
        try:
            async with manager as stream:
                async for _ in stream:
                    pass
                final = stream.get_final_completion if api == "chat" else stream.get_final_response
                await final()
        except SDK_ERRORS:
            return True
    return False


def blocks_of(api, change, reply):
    chat = api == "chat"
    items = copy.deepcopy(chat_chunks(reply) if chat else responses_events(reply))
    change(items)
    return chat_blocks(items) if chat else responses_blocks(items)


def found_in(api, blocks):
    recorded = rollout([stream_response(blocks)], api=api, streaming=True)
    return catalogue.examine(parse_rollout(recorded))[1]


DELTA = "response.output_text.delta"
CHANGES = [
    ("responses", lambda _: None, ANSWER),
    ("responses", lambda _: None, CALL),
    *(("responses", without(DELTA, name), ANSWER) for name in ("output_index", "content_index")),
    *(("responses", without(DELTA, name), ANSWER) for name in ("delta", "item_id", "logprobs")),
    *(("responses", without(DELTA, name), ANSWER) for name in ("sequence_number",)),
    ("responses", without("response.content_part.added", "part"), ANSWER),
    ("responses", without("response.created", "response"), ANSWER),
    ("responses", without("response.function_call_arguments.delta", "output_index"), CALL),
    ("responses", echoed, ANSWER),
    ("chat", lambda _: None, ANSWER),
    ("chat", lambda _: None, CALL),
    *(("chat", of_chunks(name), ANSWER) for name in ("id", "object", "created", "model")),
    *(("chat", of_choices(name), ANSWER) for name in ("index", "delta", "finish_reason")),
    ("chat", of_calls("index"), CALL),
    *(("chat", foreign_first(kind), CALL) for kind in ("gateway.meta", "chat.completion.chunk")),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
async def test_a_finding_says_that_the_sdk_fails_if_and_only_if_it_does(number):
    api, change, reply = CHANGES[number]
    blocks = blocks_of(api, change, reply)
    said = any(SAYS_SO in each.message for each in found_in(api, blocks))
    assert said == await sdk_fails(api, blocks)


async def test_a_part_that_was_never_added_makes_the_sdk_fail():
    blocks = blocks_of("responses", without("response.content_part.added", None), ANSWER)
    assert "responses.stream.parts" in {each.id for each in found_in("responses", blocks)}
    assert "OpenAI's SDK raises" in SINGLE_CHECKS["responses.stream.parts"].about.why
    assert await sdk_fails("responses", blocks)


def test_what_stops_the_sdk_comes_before_missing_fields_that_it_ignores():
    echo = found_in("responses", blocks_of("responses", echoed, ANSWER))
    index = blocks_of("responses", without(DELTA, "output_index"), ANSWER)
    found = [each for each in (*echo, *found_in("responses", index)) if ".schema" in each.id]
    renamed = [
        each.model_copy(update={"evidence": each.evidence.model_copy(update={"record": str(at)})})
        for at, each in enumerate(found)
    ]
    result = judged_result(SINGLE_CHECKS["responses.schema"].about, renamed, {("s", "c"): (2, 2)})
    assert result.examples[0].evidence.path == "$.output_index"
