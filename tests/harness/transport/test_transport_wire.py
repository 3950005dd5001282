"""The arrival times of streamed bytes, on both event loops."""

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import mock_provider as mock
import pytest
import uvloop
from mock_provider import MockProvider, Received

from harness.providers.entries import adhoc_provider, changed
from harness.records.rollouts import Exchange
from harness.transport import connections, open_transport
from harness.transport.connections import BYTES_AT_ONCE
from harness.transport.interface import Transport
from harness.transport.receiver import SECONDS_TO_CLOSE
from harness.transport.retry import NO_RETRIES

BODY = {"model": "m", "stream": True}
LONG = b'data: {"text": "' + b"x" * 500 + b'"}\n\n'
MANY = 3 * BYTES_AT_ONCE // len(LONG)

Run = Callable[[Coroutine[None, None, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_on_that_loop(main: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main)

    return run_on_that_loop


@asynccontextmanager
async def transport_to(*handlers: mock.Handler, idle: float = 20) -> AsyncIterator[Transport]:
    async with MockProvider(script=list(handlers)) as provider:
        entry = adhoc_provider(provider.base_url, "m", ["chat"])
        described = changed(entry, timeout=20.0, idle_timeout=idle)
        async with open_transport(described, retries=NO_RETRIES) as transport:
            yield transport


async def send(transport: Transport) -> Exchange:
    return await transport.send("/chat/completions", BODY)


def raws(exchange: Exchange) -> list[bytes]:
    return [part.raw.encode() + b"\n\n" for part in exchange.response.parts]


def test_connections_are_reused_after_a_stream(run: Run) -> None:
    peers: set[object] = set()

    async def stream(received: Received, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        await mock.stream([LONG] * MANY)(received, writer)

    async def check() -> None:
        async with transport_to(stream, stream, stream) as transport:
            for _ in range(3):
                exchange = await send(transport)
                assert exchange.failure is None
                assert raws(exchange) == [LONG] * MANY
        assert len(peers) == 1

    run(check())


def test_a_stream_cut_off_keeps_its_last_bytes_and_their_times(run: Run) -> None:
    pieces = [LONG, LONG * MANY, LONG, b"data: {"]

    async def check() -> None:
        async with transport_to(mock.stream(pieces, pause=0.05, end=False)) as transport:
            exchange = await send(transport)
        assert exchange.failure.kind == "cut"
        assert b"".join(raws(exchange)) == b"".join(pieces) + b"\n\n"
        times = [part.at for part in exchange.response.parts]
        assert times == sorted(times)
        assert times[-1] <= exchange.elapsed
        for start in (0, MANY, MANY + 1):
            assert times[start + 1] - times[start] > 0.02

    run(check())


def test_the_idle_timeout_starts_with_the_first_byte(run: Run) -> None:
    async def late(received: Received, writer: asyncio.StreamWriter) -> None:
        mock.write_head(writer, {"Content-Type": "text/event-stream"})
        await asyncio.sleep(0.5)
        mock.write_chunk(writer, LONG)
        mock.write_chunk(writer, b"")

    async def check() -> None:
        async with transport_to(late, idle=0.1) as transport:
            exchange = await send(transport)
        assert exchange.failure is None
        assert raws(exchange) == [LONG]

    run(check())


def test_a_body_that_ends_with_its_connection_is_complete(run: Run) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    async def until_closed(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(3):
            writer.write(LONG)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()

    async def check() -> None:
        async with transport_to(until_closed) as transport:
            exchange = await send(transport)
        assert exchange.failure is None
        assert raws(exchange) == [LONG] * 3

    run(check())


@pytest.mark.parametrize("framed", [False, True])
def test_a_loop_that_is_late_takes_no_end_of_a_connection_for_broken_framing(
    run: Run, framed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader learns one turn of the loop after the socket that a connection is closed."""
    monkeypatch.setattr(connections, "SECONDS_BETWEEN_LOOKS", 0)
    length = b"Content-Length: 1000000\r\n" if framed else b""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n" + length + b"\r\n"

    async def until_closed(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head + LONG)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(LONG)
        writer.close()

    async def check() -> None:
        async with transport_to(*[until_closed] * 20) as transport:
            exchanges = await asyncio.gather(*[send(transport) for _ in range(20)])
        failures = {exchange.failure and exchange.failure.kind for exchange in exchanges}
        assert failures == {"cut" if framed else None}
        assert all(raws(exchange) == [LONG] * 2 for exchange in exchanges)

    run(check())


def test_the_reset_of_an_idle_connection_is_not_reported(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def then_reset(received: Received, writer: asyncio.StreamWriter) -> None:
        await mock.stream([LONG, LONG], pause=0.05)(received, writer)
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)  # Closing then resets the connection.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async def check() -> None:
        async with transport_to(then_reset, mock.stream([LONG])) as transport:
            for _ in range(2):
                assert (await send(transport)).failure is None
                await asyncio.sleep(0.2)
            gc.collect()

    run(check())
    assert not caplog.records


async def cut(received: Received, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def cut_late(received: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(SECONDS_TO_CLOSE)
    writer.transport.abort()


def test_a_request_is_sent_again_if_its_idle_connection_was_closed(run: Run) -> None:
    reply = mock.stream([LONG])

    async def failures(*handlers: mock.Handler, requests: int) -> list[str | None]:
        async with transport_to(*handlers) as transport:
            sent = [await send(transport) for _ in range(requests)]
        return [each.failure and each.failure.kind for each in sent]

    async def check() -> None:
        assert await failures(reply, cut, reply, reply, requests=3) == [None] * 3
        assert await failures(reply, cut, cut, requests=2) == [None, "cut"]
        assert await failures(cut, reply, requests=1) == ["cut"]
        assert await failures(reply, cut_late, reply, requests=2) == [None, "cut"]

    run(check())
