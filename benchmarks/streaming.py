"""The accuracy of recorded arrival times of events with many concurrent streams.

    python benchmarks/streaming.py [--streams 500] [--rate 100] [--seconds 4]

A mock server streams. Our sampler records every event with its arrival time on disk, and parses
finished streams while others continue. Each event contains the time it was sent, so that the
recorded interval between two events can be compared with the interval between their sending times.

A bare client reads the same streams and only looks at the clock: its errors are due to the server
and the machine, and no client could do better. CPU time is that of one client; on a busy machine it
grows by half, and the errors grow far more.

Measured in one run on two otherwise idle cores that server and client shared: 500 streams of 100
events per second take 13 µs per event (two thirds of a core), compared with 6 µs for the bare
client. The median error of an interval is 1.4 % (bare: 0.4 %), 83 % of the intervals are within 5 %
(bare: 94 %), and the error of a stream's mean is at most 1.7 % (bare: 1 %). With 250 streams, 93 %
of the intervals are within 5 % (bare: 98 %).
"""

import argparse
import asyncio
import gc
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, cast
from urllib.parse import urlsplit

import mock_server
import uvloop

from harness.api.items import Message, Settings
from harness.providers.entries import adhoc_provider, changed
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.run.attempts import Attempt, Sample
from harness.run.run_log import RunLog, read_rollouts
from harness.run.sampling import run_attempts, run_until_stopped
from harness.transport import open_transport

STREAMS_AFTER_EACH_OTHER = 3
SENT = re.compile(r'"sent":([\d.]+)')
REQUEST = "POST {path}/chat/completions HTTP/1.1\r\nHost: mock\r\nContent-Length: 2\r\n\r\n{{}}"
END = b"0\r\n\r\n"
HEARD = "heard.jsonl"


def planned(count: int) -> Iterator[Attempt]:
    condition = Condition(model="m", effort="high", api="chat", mode="streaming")
    for number in range(count):
        sample = Sample(f"q{number}", (Message("user", "Count."),))
        yield Attempt(f"{number}", "count", sample, condition, 1, Settings("m"))


def ours(base_url: str, streams: int, folder: Path) -> None:
    """Our sampler."""
    provider = changed(adhoc_provider(base_url, "m", ["chat"]), concurrency=streams)

    async def run() -> None:
        with RunLog(folder) as log:
            async with open_transport(provider) as transport:
                attempts = planned(streams * STREAMS_AFTER_EACH_OTHER)
                await run_attempts(attempts, transport=transport, log=log, concurrency=streams)

    run_until_stopped(run())


class Listener(asyncio.Protocol):
    """Requests one stream, and keeps the received data with arrival times."""

    def __init__(self, path: str) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self.ended = asyncio.get_running_loop().create_future()
        self._path = path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(REQUEST.format(path=self._path).encode())

    def data_received(self, data: bytes) -> None:
        """Record the arrival time."""
        self.heard.append((time.perf_counter(), data))
        if data.endswith(END):
            self._transport.close()
            self.ended.set_result(None)


def bare(base_url: str, streams: int, folder: Path) -> None:
    """Only look at the clock for every piece of data."""
    address = urlsplit(base_url)
    host, _, port = address.netloc.partition(":")
    heard: list[list[tuple[float, bytes]]] = []

    async def listen() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(STREAMS_AFTER_EACH_OTHER):
            listening = loop.create_connection(lambda: Listener(address.path), host, int(port))
            _, listener = await listening
            await listener.ended
            heard.append(listener.heard)

    async def run() -> None:
        await asyncio.gather(*(listen() for _ in range(streams)))

    gc.freeze()
    uvloop.run(run())
    with (folder / HEARD).open("w", encoding="utf-8") as file:
        for stream in heard:
            file.write(json.dumps([(at, piece.decode()) for at, piece in stream]) + "\n")


Intervals: TypeAlias = list[tuple[float, float]]
"""The recorded and the true interval between adjacent events of a stream, in seconds."""

CLIENTS: dict[str, Callable[[str, int, Path], None]] = {"ours": ours, "bare": bare}


def listen_here(client: str, base_url: str, streams: int, folder: Path) -> None:
    """Receive all streams in this process, and print the resource usage as JSON."""
    wall, cpu = time.perf_counter(), time.process_time()
    CLIENTS[client](base_url, streams, folder)
    used = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    used["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(used))


def recorded(rollout: Rollout) -> list[tuple[float, str]]:
    """The time and the text of every part of a stream."""
    response = rollout.exchanges[0].response
    assert response is not None
    return [(part.at, part.raw) for part in response.parts]


def taken(client: str, folder: Path) -> Iterator[Intervals]:
    """The intervals of each stream that a client received."""
    if client == "ours":
        streams: Iterator[list[tuple[float, str]]] = map(recorded, read_rollouts(folder))
    else:
        streams = map(json.loads, (folder / HEARD).read_text(encoding="utf-8").splitlines())
    for stream in streams:
        times = [(at, float(sent)) for at, text in stream for sent in SENT.findall(text)]
        yield [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(times)]


def report(streams: list[Intervals], used: dict[str, float], rate: int, held: int) -> None:
    single = sorted(abs(found - true) * rate for stream in streams for found, true in stream)
    sums = [tuple(map(sum, zip(*stream, strict=True))) for stream in streams if stream]
    cpu = used["cpu"] / len(single)
    print(f"  intervals recorded           {len(single):,}")
    print(f"  events per second in total   {len(single) / used['wall']:,.0f}")
    print(f"  CPU time per event           {cpu * 1e6:.1f} µs")
    print(f"  core for {held * rate:6,} events/s    {cpu * held * rate:.0%}")
    print(f"  peak memory                  {used['rss']:.0f} MB")
    quantiles = {f"p{q}": single[len(single) * q // 100] for q in (50, 90, 99)}
    print("  error of one interval        ", end="")
    print(", ".join(f"{name} {value:.1%}" for name, value in quantiles.items()))
    print(f"  intervals within 5 %         {bisect_right(single, 0.05) / len(single):.1%}")
    worst = max(abs(found / true - 1) for found, true in sums)
    print(f"  error of a stream's mean     at most {worst:.2%}", flush=True)


def measure(client: str, url: str, streams: int, folder: Path) -> dict[str, float]:
    """Let a client receive the streams in a separate process."""
    command = [sys.executable, __file__, "--streams", str(streams), "--client", client]
    command += ["--base-url", url, "--into", str(folder)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    used: dict[str, float] = json.loads(told)
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=int, default=100, help="events per second of each stream")
    parser.add_argument("--seconds", type=int, default=4)
    for hidden in ("--client", "--base-url", "--into"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into:
        listen_here(options.client, options.base_url, options.streams, Path(options.into))
        return
    print(f"{options.streams} concurrent streams, {options.rate} events per second each")
    with mock_server.running() as address:
        url = f"{address}/{options.rate}x{options.rate * options.seconds}/v1"
        for client in CLIENTS:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                used = measure(client, url, options.streams, folder)
                print(f"{client}: {CLIENTS[client].__doc__}")
                report(list(taken(client, folder)), used, options.rate, options.streams)


if __name__ == "__main__":
    main()
