"""The cost of a complete smoke run: sampling, records, display, judgment and reports.

    python benchmarks/smoke.py [--attempts 1440 5008]

A provider in this process answers with the recorded replies of a stored smoke run (both APIs,
streamed and not, two requests per attempt), each with different ids, numbers and words. Prints CPU
seconds and peak memory of the process that verifies it, including imports. A warm-up run compiles
the modules, as in an installed tool.
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop
from judging import PROGRAM, STORED, varied
from mock_server import HEAD, MODELS_ANSWER, STREAM_HEAD

CONDITIONS = 4
KEEPS_COMPILED = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
BLOCKS = "\0"  # between the blocks of a stream
TIMES = re.compile(r'("(?:created|created_at|completed_at)":\s*)\d+')
Kind = tuple[str, bool, str, bool]  # API, whether streamed, the user's text, whether a tool was run


def kind_of(body: Mapping[str, Any]) -> Kind:
    """The kind of a request."""
    turns = body.get("messages", body.get("input"))
    turns = turns if isinstance(turns, list) else []
    user = next((turn["content"] for turn in turns if turn.get("role") == "user"), "")
    ran = turns and (turns[-1].get("role") == "tool" or "output" in turns[-1])
    return "chat" if "messages" in body else "responses", bool(body.get("stream")), user, bool(ran)


class Provider(asyncio.Protocol):
    """Answers with recorded replies, by the kind of their requests."""

    def __init__(self, replies: Mapping[Kind, list[str]], chance: random.Random) -> None:
        """Use these replies with random variations."""
        self._replies = replies
        self._chance = chance
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answer."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is complete."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if separator and len(body) >= int(length or 0):
            self._received = b""
            self._transport.write(self._answer(json.loads(body)) if body else MODELS_ANSWER)

    def _answer(self, body: Mapping[str, Any]) -> bytes:
        kind = kind_of(body)
        last = next(each for each in self._replies if each[:2] == kind[:2] and each[3])
        text = varied(
            self._chance.choice(self._replies.get(kind, self._replies[last])), self._chance
        )
        text = TIMES.sub(rf"\g<1>{time.time():.0f}", text)
        if kind[1]:
            return STREAM_HEAD + b"".join(map(raw_chunk, text.split(BLOCKS))) + b"0\r\n\r\n"
        return HEAD % (len(text.encode()), text.encode())


def raw_chunk(block: str) -> bytes:
    """One block of a stream as a chunk of a chunked response."""
    data = f"{block}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def recorded(folder: Path) -> tuple[dict[Kind, list[str]], str]:
    """The replies of the stored run by kind, and its cases as a file."""
    from harness.run.run_log import read_rollouts

    with tarfile.open(STORED) as archive:
        archive.extractall(folder, filter="data")
    stored = folder / "smoke_pass"
    replies: dict[Kind, list[str]] = defaultdict(list)
    rollouts = list(read_rollouts(stored))
    for exchange in (exchange for rollout in rollouts for exchange in rollout.exchanges):
        response = exchange.response
        assert response is not None
        blocks = BLOCKS.join(part.raw for part in response.parts)
        replies[kind_of(exchange.request.body or {})].append(response.body or blocks)
    samples = {rollout.sample for rollout in rollouts}
    lines = (stored / "cases.jsonl").read_text("utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["id"] in samples]
    return replies, "\n".join(kept)


async def measure(options: argparse.Namespace, folder: Path) -> None:
    """Verify the provider with each number of attempts, and print the resource usage."""
    replies, cases = recorded(folder)
    (folder / "cases.jsonl").write_text(cases, encoding="utf-8")
    chance = random.Random(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Provider(replies, chance), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"{'attempts':>9}{'CPU s':>8}{'CPU s/1,000':>13}{'peak MB':>9}")
    counted = [round(each / CONDITIONS / len(cases.splitlines())) for each in options.attempts]
    for number, tries in enumerate([1, *counted]):
        made = tries * CONDITIONS * len(cases.splitlines())
        command = [PROGRAM, "--base-url", f"http://127.0.0.1:{port}/v1", "--model", "gpt-oss-small"]
        command += ["--cases", "cases.jsonl", "-k", str(tries), "--concurrency", "64"]
        command += ["--out", f"runs-{number}"]  # so that no run is compared with one before
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=KEEPS_COMPILED,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        status = await process.wait()
        if number == 0:
            continue
        if status:
            sys.exit(f"it did not pass: {' '.join(command)}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{made:9,}{cpu:8.1f}{cpu / made * 1000:13.2f}{after.ru_maxrss / 1024:9.0f}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--attempts", type=int, nargs="+", default=[1440, 5008])
    with tempfile.TemporaryDirectory() as place:
        uvloop.run(measure(parser.parse_args(), Path(place)))


if __name__ == "__main__":
    main()
