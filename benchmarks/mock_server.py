"""A provider that uses almost no CPU time, to measure clients.

    python benchmarks/mock_server.py        prints its port, serves until stdin is closed

All answers are prepared in advance. The first part of the path selects how a request is answered:
`/200ms/v1/...` answers after 200 ms, `/0ms-long/v1/...` at once with an answer of 1,100 characters.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

ANSWER = "I counted them all. The answer is \\boxed{70}."
STEPS = "".join(
    f"For the digit sum {n}, there are {n * (n + 1) // 2} pairs, as the table shows.\n"
    for n in range(1, 18)
)
LONG_ANSWER = f"{STEPS}\nAdding all of them gives the count.\n\n**Answer:** \\boxed{{70}}"
REASONING = "The user asks for a number between 0 and 999. Let me count: " + "one more; " * 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def chat_answer(content: str) -> bytes:
    """A complete chat completion as an HTTP response."""
    message = {"role": "assistant", "content": content, "reasoning": REASONING}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 110, "total_tokens": 200},
    }
    return _with_head(completion)


def _with_head(value: object) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return HEAD % (len(body), body)


CHAT_ANSWERS = {"": chat_answer(ANSWER), "long": chat_answer(LONG_ANSWER)}
MODELS_ANSWER = _with_head({"object": "list", "data": [{"id": "m", "object": "model"}]})


class Connection(asyncio.Protocol):
    """HTTP/1.1 without pipelining and chunked requests."""

    def __init__(self) -> None:
        """Start without data."""
        self._received = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is complete."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if len(body) >= length:
            self._received = b""
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        delay, _, length = path.split("/", 2)[1].partition("-")
        answer = MODELS_ANSWER if path.endswith("/models") else CHAT_ANSWERS[length]
        if seconds := int(delay.removesuffix("ms")) / 1000:
            asyncio.get_running_loop().call_later(seconds, self._write, answer)
        else:
            self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve() -> None:
    """Serve until stdin is closed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(closed.set)), daemon=True
    ).start()
    await closed.wait()


@contextmanager
def running() -> Iterator[str]:
    """The address of a server in a separate process, which ends with the `with` block."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()


if __name__ == "__main__":
    uvloop.run(serve())
