"""Long work in steps: other tasks run in between, and the result is the same."""

import asyncio

import pytest
from healthy import exchange, response, stream_response
from replies import Reply, chat_blocks, choice, responses_blocks, responses_events

from harness.api import DIALECTS
from harness.api.items import UnreadableReplyError
from harness.records.conditions import Api
from harness.records.rollouts import Exchange
from harness.steps import ITEMS_IN_A_STEP, Steps, completed, interleaved
from harness.transport.receiver import Receiver, ResponseLimits
from harness.transport.redact import Redactor

EVENTS = 2000


def count_to(number: int) -> Steps[int]:
    for _ in range(number):
        yield
    return number


def failing() -> Steps[int]:
    yield
    raise UnreadableReplyError("no")


async def turns_of_the_loop_during(work: Steps[object]) -> int:
    """The number of iterations of the event loop during the work."""
    turns = 0
    task = asyncio.ensure_future(interleaved(work))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def test_results_and_errors_come_through() -> None:
    assert completed(count_to(3)) == await interleaved(count_to(3)) == 3
    with pytest.raises(UnreadableReplyError):
        completed(failing())
    with pytest.raises(UnreadableReplyError):
        await interleaved(failing())


def long_stream(api: Api) -> Exchange:
    if api == "chat":
        chunk = {"id": "1", "choices": [choice({"content": "a"})]}
        chunks = [chunk] * EVENTS + [{"id": "1", "choices": [choice({}, "stop")]}]
        return exchange("chat", True, stream_response(chat_blocks(chunks)))
    first, *_, last = responses_events(Reply(text="a" * EVENTS))
    delta = {"type": "response.output_text.delta", "delta": "a"}
    blocks = responses_blocks([first, *[delta] * EVENTS, last])
    return exchange("responses", True, stream_response(blocks))


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_reading_a_long_stream_does_not_block_the_event_loop(api: Api) -> None:
    recorded = long_stream(api)
    turns = await turns_of_the_loop_during(DIALECTS[api].reading(recorded))
    assert turns >= EVENTS // ITEMS_IN_A_STEP
    assert DIALECTS[api].read(recorded).text == "a" * EVENTS


async def test_recording_a_long_stream_does_not_block_the_event_loop() -> None:
    receiver = Receiver(ResponseLimits(), wants_stream=True, status=200, streaming=True)
    receiver.feed(b"data: 1\n\n" * EVENTS)
    receiver.arrived(receiver.sent + 1, len(receiver.received))
    work = receiver.response(Redactor(()), complete=True)
    assert await turns_of_the_loop_during(work) >= EVENTS // ITEMS_IN_A_STEP


def test_an_exchange_in_use_is_read_once() -> None:
    answer = response("chat", False, Reply(text="It is."))
    one, other = (exchange("chat", False, answer) for _ in range(2))
    read = DIALECTS["chat"].read
    reply = read(one)
    assert read(other) is not reply
    assert read(one) is reply
    assert reply == read(other)
