"""Adaptive concurrency: its rules, and convergence against a provider over a real socket."""

import asyncio
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import mock_provider as mock
import pytest
from mock_provider import MockProvider
from waiting import until

from harness.providers.entries import adhoc_provider, changed
from harness.records.rollouts import (
    SDK,
    Exchange,
    Request,
    Response,
    Sender,
    TransportFailure,
)
from harness.transport import open_transport
from harness.transport.connections import allow_open_files
from harness.transport.pacing import AdaptiveTransport
from harness.transport.retry import RetryPolicy

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Provider:
    """Responds on command, with any status; 0 means a failed connection."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[int]] = []

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, sender: Sender = SDK
    ) -> Exchange:
        self.asked.append(asyncio.get_running_loop().create_future())
        status = await self.asked[-1]
        failure = TransportFailure(kind="connect", message="no") if status == 0 else None
        return Exchange(
            request=Request(method="POST", url=path, headers={}, body=None),
            response=Response(status=status, headers={}, body="") if status else None,
            failure=failure,
            started_at="",
            elapsed=0,
        )

    def answer(self, *statuses: int) -> None:
        for status in statuses:
            self.asked.pop(0).set_result(status)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def limits_after(*rounds: tuple[int, ...], most: int = 8) -> list[int]:
    """The limit after each round of answers, with more requests waiting than may be sent."""
    provider = Provider()
    adaptive = AdaptiveTransport(provider, most=most)
    sending = [asyncio.create_task(adaptive.send("/x")) for _ in range(100)]
    await settle()
    seen = []
    for statuses in rounds:
        provider.answer(*statuses)
        await settle()
        seen.append(adaptive.limit)
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    return seen


async def test_every_change_of_the_limit_is_reported() -> None:
    provider, told = Provider(), list[tuple[int, int]]()
    adaptive = AdaptiveTransport(provider, most=2, changed=lambda *limits: told.append(limits))
    for status in (200, 429, 200, 200):
        sending = asyncio.create_task(adaptive.send("/x"))
        await settle()
        provider.answer(status)
        await sending
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_overload_halves_the_limit_once_for_all_requests_in_flight(status: int) -> None:
    assert await limits_after((status,), (status,) * 7, (status,) * 4) == [4, 4, 2]


@pytest.mark.parametrize("status", [0, 200, 400, 404, 500, 502, 504])
async def test_other_statuses_do_not_lower_the_limit(status: int) -> None:
    assert await limits_after((status,) * 8, (status,) * 8) == [8, 8]


async def test_a_round_of_good_answers_raises_the_limit_by_one_up_to_the_maximum() -> None:
    rounds = [(429,) * 8, (200,) * 3, (200,), (200,) * 5, (500,) * 6, (200,) * 6, (200,) * 7]
    assert await limits_after(*rounds, (200,) * 8) == [4, 4, 5, 6, 6, 7, 8, 8]


async def test_one_request_may_always_be_sent() -> None:
    assert await limits_after(*[(529,)] * 20, most=1) == [1] * 20


async def test_requests_are_sent_in_order_and_a_cancelled_one_blocks_no_other() -> None:
    provider = Provider()
    adaptive = AdaptiveTransport(provider, most=1)
    sending = [asyncio.create_task(adaptive.send(f"/{number}")) for number in range(5)]
    await settle()
    sending[2].cancel()
    provider.answer(200)
    sending[1].cancel()
    for _ in range(2):
        await settle()
        provider.answer(200)
    done = await asyncio.gather(*sending, return_exceptions=True)
    assert [each.request.url for each in done if isinstance(each, Exchange)] == ["/0", "/3", "/4"]
    assert not provider.asked


async def test_retry_after_holds_back_all_requests_and_then_one_asks_alone() -> None:
    """Ten requests at once at a provider that asks for pauses of 0.2 s and refuses three tries."""
    refusing = mock.status(429, Retry_After="0.2")
    arrived: list[float] = []

    async def handle(request: mock.Received, writer: asyncio.StreamWriter) -> None:
        arrived.append(asyncio.get_running_loop().time())
        await (refusing if len(arrived) <= 3 else mock.text("{}"))(request, writer)

    async with MockProvider(always=handle) as provider:
        described = changed(adhoc_provider(provider.base_url, "m", ["chat"]), concurrency=1)
        async with open_transport(described, retries=RetryPolicy()) as transport:
            sent = [transport.send("/chat/completions", BODY) for _ in range(10)]
            exchanges = await asyncio.gather(*sent)
    assert all(exchange.response and exchange.response.status == 200 for exchange in exchanges)
    assert len(arrived) == 13
    pauses = [later - earlier for earlier, later in pairwise(arrived[:4])]
    assert all(pause >= 0.19 for pause in pauses)


async def test_a_longer_retry_after_than_the_policy_allows_holds_nothing_for_longer() -> None:
    script = [mock.status(503, Retry_After="300")]
    async with MockProvider(script=script) as provider:
        described = adhoc_provider(provider.base_url, "m", ["chat"])
        policy = RetryPolicy({"overloaded": 1}, longest_retry_after=0.1)
        async with open_transport(described, retries=policy) as transport:
            exchange = await transport.send("/chat/completions", BODY)
    assert exchange.response.status == 200


async def test_no_request_is_lost_at_a_provider_with_little_capacity() -> None:
    """Three rounds of 64 requests at a provider that refuses the sixth concurrent one.

    The limit settles near five.
    """
    busy = most_busy = refused = 0

    async def refuses_the_sixth(request: mock.Received, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, most_busy, refused
        if busy >= 5:
            refused += 1
            await mock.status(429)(request, writer)
            return
        busy += 1
        most_busy = max(most_busy, busy)
        try:
            await asyncio.sleep(0.01)
            await mock.well_behaved(request, writer)
        finally:
            busy -= 1

    async with MockProvider(always=refuses_the_sixth) as provider:
        described = changed(adhoc_provider(provider.base_url, "m", ["chat"]), concurrency=64)
        policy = RetryPolicy({"overloaded": 15}, first_wait=0.05, longest_wait=0.4)
        async with open_transport(described, retries=policy) as transport:

            async def work() -> list[Exchange]:
                return [await transport.send("/chat/completions", BODY) for _ in range(3)]

            rounds = await asyncio.gather(*(work() for _ in range(64)))
    exchanges = [exchange for done in rounds for exchange in done]
    assert [exchange.response.status for exchange in exchanges if exchange.response] == [200] * 192
    assert most_busy == 5
    assert refused == sum(len(exchange.retries) for exchange in exchanges)
    late = [exchange for done in rounds for exchange in done[1:]]
    assert sum(len(exchange.retries) for exchange in late) < 0.5 * len(late)


async def test_a_request_waiting_for_a_retry_does_not_block_others() -> None:
    script = [mock.status(429, Retry_After="0.3")]
    async with MockProvider(script=script) as provider:
        described = changed(adhoc_provider(provider.base_url, "m", ["chat"]), concurrency=1)
        async with open_transport(described) as transport:
            refused = asyncio.create_task(transport.send("/chat/completions", BODY))
            await until(lambda: len(provider.posts) == 1)
            await transport.send("/models")
            assert not refused.done()
            assert (await refused).retries


@contextmanager
def few_open_files(count: int) -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_as_far_as_possible() -> None:
    with few_open_files(200) as hard:
        allow_open_files(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 200
        allow_open_files(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300
        allow_open_files(10**9)
        expected = 10**9 if hard == resource.RLIM_INFINITY else hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == expected
