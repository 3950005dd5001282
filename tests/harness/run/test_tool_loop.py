"""One attempt from the first request to its end, over a real socket."""

import json
from typing import Any

import mock_provider as mock
import pytest
from mock_provider import MockProvider
from replies import Reply, responses_whole

from harness.api import DIALECTS
from harness.api.items import Message, RequestSettings, Sample, Tool
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import Api, Condition
from harness.records.rollouts import Rollout, Sender
from harness.run import tool_loop
from harness.run.attempts import Attempt
from harness.run.tool_loop import attempt_seed, run_attempt
from harness.transport import open_transport
from harness.transport.retry import RetryPolicy

TOOL = Tool("get_weather", "Weather.", {"type": "object", "properties": {}}, '{"t": 21}')
ASK = (Message("user", "Weather?"),)
SAMPLE = Sample("s1", ASK, (TOOL,))


async def run(
    provider: MockProvider,
    *,
    api: Api = "chat",
    streaming: bool = False,
    max_turns: int = 4,
    sample: Sample = SAMPLE,
    more_tokens: int | None = None,
    **settings: Any,
) -> Rollout:
    described = changed(adhoc_provider(provider.base_url, "m", [api]), timeout=5)
    async with open_transport(
        described, retries=RetryPolicy({"overloaded": 15, "passing": 1}, 0.01)
    ) as transport:
        how = RequestSettings("m", **settings)
        mode = "streaming" if streaming else "non-streaming"
        condition = Condition(model="m", api=api, mode=mode)
        attempt = Attempt(
            "aime/high/s1/2", "aime25", sample, condition, 2, how, max_turns, more_tokens
        )
        return await run_attempt(attempt, transport, DIALECTS[api])


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_call_its_result_and_an_answer_are_a_conversation(
    api: Api, streaming: bool
) -> None:
    async with MockProvider() as provider:
        done = await run(provider, api=api, streaming=streaming)
    assert done.id == "aime/high/s1/2"
    assert (done.task, done.sample, done.attempt) == ("aime25", "s1", 2)
    assert (done.condition.api, done.condition.streaming) == (api, streaming)
    assert done.end == "answered"
    assert len(done.exchanges) == 2
    assert DIALECTS[api].read(done.exchanges[1]).text == "Done: café ✓"
    sent = provider.posts[1].body
    assert sent == done.exchanges[1].request.body
    if api == "chat":
        assert sent["messages"][1]["reasoning"] == mock.COT
        assert sent["messages"][2] == {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": '{"t": 21}',
        }
    else:
        assert sent["input"][1]["content"][0]["text"] == mock.COT
        assert sent["input"][3] == {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": '{"t": 21}',
        }


def calling(name: str, finish: str = "tool_calls") -> mock.Handler:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    return mock.text(mock.json.dumps(reply))


def cut(api: Api, text: str = "The") -> mock.Handler:
    if api == "chat":
        return calling("get_weather", "length")
    body = responses_whole(Reply(text=text))
    body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return mock.text(mock.json.dumps(body))


async def test_a_call_of_an_unknown_tool_is_answered_with_an_error() -> None:
    async with MockProvider(script=[calling("made_up")]) as provider:
        done = await run(provider)
    assert done.end == "answered"
    assert "no tool named made_up" in provider.posts[1].body["messages"][-1]["content"]


async def test_the_number_of_turns_is_limited() -> None:
    async with MockProvider(always=calling("get_weather")) as provider:
        done = await run(provider, max_turns=3)
    assert done.end == "max_turns"
    assert len(done.exchanges) == 3


async def test_a_call_cut_off_at_the_token_limit_ends_the_attempt() -> None:
    async with MockProvider(always=calling("get_weather", "length")) as provider:
        done = await run(provider)
    assert done.end == "answered"
    assert len(done.exchanges) == 1


@pytest.mark.parametrize(
    ("api", "limit"), [("chat", "max_tokens"), ("responses", "max_output_tokens")]
)
async def test_a_reply_cut_off_is_requested_once_with_a_larger_limit(api: Api, limit: str) -> None:
    async with MockProvider(always=cut(api)) as provider:
        done = await run(provider, api=api, max_turns=1, max_tokens=20, more_tokens=80)
    bodies = [post.body for post in provider.posts]
    assert [body[limit] for body in bodies if body] == [20, 80]
    assert all(body is not None and body | {limit: 20} == bodies[0] for body in bodies)
    assert (done.end, len(done.exchanges)) == ("answered", 2)


async def test_an_endlessly_repeating_reply_is_not_requested_again() -> None:
    async with MockProvider(always=cut("responses", "The service service" * 100)) as provider:
        done = await run(provider, api="responses", max_turns=1, max_tokens=20, more_tokens=80)
    assert (done.end, len(done.exchanges)) == ("answered", 1)


async def test_a_repeated_request_does_not_count_as_a_turn() -> None:
    script = [calling("get_weather", "length"), calling("get_weather")]
    async with MockProvider(script=script) as provider:
        done = await run(provider, max_turns=2, max_tokens=20, more_tokens=80)
    assert (done.end, len(done.exchanges)) == ("answered", 3)


@pytest.mark.parametrize(
    ("handler", "end"),
    [
        (mock.status(400), "failed"),
        (mock.status(500), "failed"),
        (mock.hang_up, "failed"),
        (mock.text("<html>"), "unreadable"),
        (mock.text('{"choices": ['), "unreadable"),
        (mock.text(b"\xff\xff"), "unreadable"),
        (mock.text("[" * 100_000), "unreadable"),
        (mock.text('{"choices": []}'), "unreadable"),
        (mock.stream([b"data: 1\n\n"]), "unreadable"),
        (mock.stream([b"data: {"], end=False), "failed"),
    ],
)
@pytest.mark.parametrize("at_turn", [0, 1])
async def test_failed_and_unreadable_replies_end_the_attempt(
    handler: mock.Handler, end: str, at_turn: int
) -> None:
    script = [mock.well_behaved] * at_turn + [handler] * 3
    async with MockProvider(script=script) as provider:
        done = await run(provider, streaming=False)
    assert done.end == end
    assert len(done.exchanges) == at_turn + 1
    assert Rollout.model_validate_json(done.model_dump_json()) == done


async def test_seeds_differ_between_tries_but_not_between_runs() -> None:
    async with MockProvider() as provider:
        await run(provider, seed=5)
        await run(provider, seed=5)
        await run(provider, seed=6)
    assert all(request.body for request in provider.posts)
    seeds = [request.body["seed"] for request in provider.posts if request.body]
    assert seeds[0] == seeds[1] == seeds[2] == seeds[3] != seeds[4]
    assert attempt_seed(5, "a/chat/non-streaming/1") != attempt_seed(5, "a/chat/non-streaming/2")
    assert 0 <= attempt_seed(5, "x") < 2**31


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_second_user_message_follows_an_answer(api: Api) -> None:
    sample = Sample("s1", ASK, then=("And tomorrow?", "And then?"))
    async with MockProvider() as provider:
        done = await run(provider, api=api, sample=sample)
    assert (done.end, len(done.exchanges)) == ("answered", 3)
    last = provider.posts[2].body
    turns = last["messages"] if api == "chat" else last["input"]
    asked = [turn["content"] for turn in turns if turn.get("role") == "user"]
    assert asked == ["Weather?", "And tomorrow?", "And then?"]


async def test_stored_responses_are_continued_by_id() -> None:
    sample = Sample("s1", ASK, (TOOL,), then=("And tomorrow?",))
    async with MockProvider() as provider:
        done = await run(provider, api="responses", sample=sample, max_turns=3, history="response")
    assert len(done.exchanges) == 3
    first, second, third = (request.body for request in provider.posts)
    assert first["store"] is True
    assert "previous_response_id" not in first
    for body, kind in ((second, "function_call_output"), (third, "message")):
        assert body["previous_response_id"] == "resp_1"
        assert [item["type"] for item in body["input"]] == [kind]


@pytest.mark.parametrize("follow", ["retrieve", "cancel"])
async def test_a_background_response_is_followed_by_its_id(follow, monkeypatch) -> None:
    monkeypatch.setattr(tool_loop, "_BETWEEN", 0.0)
    ended = "completed" if follow == "retrieve" else "cancelled"
    bodies = [
        json.dumps({**responses_whole(Reply(text="Hi!")), "id": "resp/1", "status": status})
        for status in ("queued", "in_progress", ended)
    ]
    found = iter(bodies[1:])

    async def get(request: mock.Received, writer: Any) -> None:
        await mock.text(next(found))(request, writer)

    script = [mock.text(bodies[0]), mock.text(bodies[2])]
    async with MockProvider(script=script, get=get) as provider:
        sample = Sample("s1", ASK, follow=follow)
        done = await run(provider, api="responses", sample=sample, max_turns=9)
    sent = [(each.method, each.path.removeprefix("/v1/responses")) for each in provider.received]
    polls = [("GET", "/resp%2F1")] * 2
    assert sent == [
        ("POST", ""),
        *(polls if follow == "retrieve" else [("POST", "/resp%2F1/cancel")]),
    ]
    assert done.end == "answered"
    assert DIALECTS["responses"].read(done.exchanges[-1]).raw["status"] == ended


async def test_a_client_that_leaves_closes_its_connection_and_the_next_is_served() -> None:
    piece = 'data: {"choices": [{"delta": {"content": "a "}}]}\n\n'
    described = changed(adhoc_provider("http://127.0.0.1:9/v1", "m", ["chat"]), timeout=5)
    async with MockProvider(script=[mock.endless(piece.encode(), "text/event-stream")]) as provider:
        described = changed(described, base_url=provider.base_url)
        async with open_transport(described) as transport:
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
            left = await transport.send("/chat/completions", body, sender=Sender(leaves=True))
            after = await transport.send("/chat/completions", body)
    assert left.failure.kind == "left"
    assert not left.response.complete
    assert DIALECTS["chat"].read(after).text


async def test_a_raw_body_is_sent_and_recorded_unchanged() -> None:
    async with MockProvider(mock.status(400)) as provider:
        done = await run(provider, sample=Sample("s1", ASK, raw='{"model": "m'))
    assert provider.posts[0].content == b'{"model": "m'
    request = done.exchanges[0].request
    assert (request.body, request.text) == (None, '{"model": "m')
