"""Serves POST /v1/chat/completions."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletion
from starlette.requests import Request
from starlette.responses import Response

from harmony.parse import Ended, Started
from reference_engine.generation.sampling import Token
from reference_engine.server.chat.request import ChatRequest
from reference_engine.server.connection import Context, EventStream, encode, until_disconnect
from reference_engine.server.errors import json_response
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, Piece, logprob

_SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Head:
    """The fields that every chunk repeats."""

    model: str
    fingerprint: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def fields(self, kind: str) -> dict[str, Any]:
        """The fields of an object of this kind."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": self.fingerprint,
        }


class Deltas:
    """Converts the parts of one choice to the deltas of its chunks."""

    def __init__(self, *, show_reasoning: bool) -> None:
        self._show_reasoning = show_reasoning
        self._calls = 0
        self._started: set[str] = set()
        self._separator = ""

    def of(self, parts: Sequence[Part]) -> Iterator[tuple[dict[str, Any], tuple[Token, ...]]]:
        """The deltas of a batch of parts, each with the tokens of its logprobs."""
        for part in parts:
            match part:
                case Started("call", name):
                    yield {"tool_calls": [self._new_call(name)]}, ()
                case Started(kind):
                    target = "reasoning" if kind == "reasoning" else "content"
                    self._separator = _SEPARATOR if target in self._started else ""
                case Piece("call", text):
                    call = {"index": self._calls - 1, "function": {"arguments": text}}
                    yield {"tool_calls": [call]}, ()
                case Piece("reasoning", text):
                    if self._show_reasoning:
                        yield {"reasoning": self._separated("reasoning", text)}, ()
                case Piece(_, text, tokens):
                    yield {"content": self._separated("content", text)}, tokens
                case Ended():
                    pass

    def _new_call(self, name: str) -> dict[str, Any]:
        self._calls += 1
        return {
            "index": self._calls - 1,
            "id": f"call_{secrets.token_hex(12)}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }

    def _separated(self, target: str, text: str) -> str:
        """The text, preceded by a blank line if it starts another message of the same kind."""
        self._started.add(target)
        separator, self._separator = self._separator, ""
        return separator + text


class CompleteChoice:
    """Collects the deltas of one choice into its message."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self._logprobs: list[dict[str, Any]] = []

    def add(self, delta: dict[str, Any], tokens: Sequence[Token]) -> None:
        """Add a delta."""
        self._logprobs += map(logprob, tokens)
        for key in delta.keys() & {"reasoning", "content"}:
            self._message[key] = (self._message.get(key) or "") + delta[key]
        for call in delta.get("tool_calls", ()):
            calls = self._message.setdefault("tool_calls", [])
            if "id" in call:
                calls.append({key: value for key, value in call.items() if key != "index"})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]

    def finished(self, finish_reason: str, *, logprobs: bool) -> dict[str, Any]:
        """The choice of the response."""
        if self._message["content"] is None and "tool_calls" not in self._message:
            self._message["content"] = ""
        return {
            "index": self._index,
            "message": self._message,
            "finish_reason": finish_reason,
            "logprobs": {"content": self._logprobs, "refusal": None} if logprobs else None,
        }


def usage_of(generations: Sequence[Generation]) -> dict[str, Any]:
    """The token counts. The prompt is counted once for all choices."""
    prompt = len(generations[0].prompt)
    completed = sum(len(generation.completion) for generation in generations)
    reasoning = sum(generation.reasoning_tokens for generation in generations)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


_Item = tuple[int, list[Part]] | BaseException | None


async def interleaved(generations: Sequence[Generation]) -> AsyncGenerator[tuple[int, list[Part]]]:
    """The batches of all generations in order of arrival, each with the index of its choice."""
    if len(generations) == 1:
        async with aclosing(generations[0].run()) as batches:
            async for parts in batches:
                yield 0, parts
        return
    inbox: asyncio.Queue[_Item] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_forward(index, generation, inbox))
        for index, generation in enumerate(generations)
    ]
    try:
        running = len(tasks)
        while running:
            item = await inbox.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forward(index: int, generation: Generation, inbox: asyncio.Queue[_Item]) -> None:
    try:
        async with aclosing(generation.run()) as batches:
            async for parts in batches:
                inbox.put_nowait((index, parts))
    except Exception as error:  # noqa: BLE001 - raised again by the reader
        inbox.put_nowait(error)
    else:
        inbox.put_nowait(None)


async def events(
    body: ChatRequest, head: Head, generations: Sequence[Generation]
) -> AsyncGenerator[bytes]:
    """The encoded events; events of the same token are sent together."""
    fields = head.fields("chat.completion.chunk")
    if body.stream_options.include_usage:
        fields["usage"] = None

    def chunk(
        index: int,
        delta: dict[str, Any],
        tokens: Sequence[Token] = (),
        finish_reason: str | None = None,
    ) -> bytes:
        logprobs = {"content": [logprob(token) for token in tokens], "refusal": None}
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs if tokens and body.logprobs else None,
            "finish_reason": finish_reason,
        }
        return encode(fields | {"choices": [choice]})

    deltas = [Deltas(show_reasoning=not body.reasoning.exclude) for _ in generations]
    roles = b"".join(chunk(at, {"role": "assistant"}) for at in range(len(generations)))
    async with aclosing(interleaved(generations)) as batches:
        async for index, parts in batches:
            piece = b"".join(chunk(index, *delta) for delta in deltas[index].of(parts))
            if piece or roles:
                yield roles + piece
                roles = b""
    last = roles + b"".join(
        chunk(at, {}, finish_reason=generation.finish) for at, generation in enumerate(generations)
    )
    if body.stream_options.include_usage:
        last += encode(fields | {"choices": [], "usage": usage_of(generations)})
    yield last + b"data: [DONE]\n\n"


async def create_completion(context: Context, request: Request) -> Response:
    """Create a completion, streaming or not."""
    body = await context.read(request, ChatRequest)
    wanted = body.generation_request(context.settings.current_date)
    generations = [context.generation(context.engine, wanted.choice(at)) for at in range(body.n)]
    head = Head(body.model, context.settings.fingerprint)
    if body.stream:
        pieces = events(body, head, generations)
        return EventStream(pieces, context.stop, lambda error: encode(error.body()))
    work = _complete(body, head, generations)
    return json_response(await until_disconnect(request.receive, context.stop, work))


async def _complete(body: ChatRequest, head: Head, generations: list[Generation]) -> dict[str, Any]:
    """The complete response, validated against the SDK's type."""
    deltas = [Deltas(show_reasoning=not body.reasoning.exclude) for _ in generations]
    choices = [CompleteChoice(at) for at in range(len(generations))]
    async with aclosing(interleaved(generations)) as batches:
        async for index, parts in batches:
            for delta, tokens in deltas[index].of(parts):
                choices[index].add(delta, tokens)
    finished = [
        choice.finished(generation.finish, logprobs=body.logprobs)
        for choice, generation in zip(choices, generations, strict=True)
    ]
    reply = head.fields("chat.completion") | {"choices": finished, "usage": usage_of(generations)}
    ChatCompletion.model_validate(reply)
    return reply
