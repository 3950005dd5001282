"""Serves POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from openai.types.chat import ChatCompletion
from starlette.requests import Request
from starlette.responses import Response

from reference_engine.generation.sampling import Token
from reference_engine.server.chat.reply import CompleteChoice, Deltas, Head, completion, usage_of
from reference_engine.server.chat.request import ChatRequest
from reference_engine.server.connection import Context, EventStream, until_disconnect
from reference_engine.server.errors import ApiError
from reference_engine.server.fields import parse_request
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, logprob

_Item = tuple[int, list[Part]] | BaseException | None


async def interleaved(
    generations: Sequence[Generation],
) -> AsyncGenerator[tuple[int, list[Part]]]:
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


DONE = b"data: [DONE]\n\n"


def encode(data: object) -> bytes:
    """Encode one event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream after an error."""
    return encode(error.body())


class Chunks:
    """Encodes the chunks of one response."""

    def __init__(self, head: Head, *, include_usage: bool, logprobs: bool) -> None:
        self._fields = head.fields("chat.completion.chunk")
        if include_usage:
            self._fields["usage"] = None
        self._logprobs = logprobs

    def chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        finish_reason: str | None = None,
        tokens: Sequence[Token] = (),
    ) -> bytes:
        """Encode a chunk of one choice."""
        logprobs = {"content": [logprob(token) for token in tokens], "refusal": None}
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": logprobs if tokens and self._logprobs else None,
            "finish_reason": finish_reason,
        }
        return encode(self._fields | {"choices": [choice]})

    def usage(self, usage: dict[str, Any]) -> bytes:
        """Encode the chunk with the usage and no choices."""
        return encode(self._fields | {"choices": [], "usage": usage})


async def events(
    head: Head,
    generations: Sequence[Generation],
    *,
    show_reasoning: bool,
    include_usage: bool,
    logprobs: bool,
) -> AsyncGenerator[bytes]:
    """The encoded events; events of the same token form one piece."""
    chunks = Chunks(head, include_usage=include_usage, logprobs=logprobs)
    deltas = [Deltas(show_reasoning=show_reasoning) for _ in generations]
    roles = b"".join(chunks.chunk(at, {"role": "assistant"}) for at in range(len(generations)))
    async with aclosing(interleaved(generations)) as batches:
        async for index, parts in batches:
            piece = b"".join(
                chunks.chunk(index, delta, tokens=tokens)
                for delta, tokens in deltas[index].of(parts)
            )
            if piece or roles:
                yield roles + piece
                roles = b""
    last = b"".join(
        chunks.chunk(at, {}, finish_reason=generation.finish)
        for at, generation in enumerate(generations)
    )
    usage = chunks.usage(usage_of(generations)) if include_usage else b""
    yield roles + last + usage + DONE


class ChatHandler:
    """Serves Chat Completions requests with one engine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, request: Request) -> Response:
        """Create a completion, streaming or not.

        Raises:
            ApiError: The request fails.
        """
        context = self._context
        body = parse_request(ChatRequest, await context.body(request))
        context.require_model(body.model)
        wanted = body.generation_request(context.settings.current_date)
        generations = [
            context.generation(context.engine, wanted.choice(at)) for at in range(body.n)
        ]
        head = Head(body.model, context.settings.fingerprint)
        if body.stream:
            pieces = events(
                head,
                generations,
                show_reasoning=not body.reasoning.exclude,
                include_usage=body.stream_options.include_usage,
                logprobs=body.logprobs,
            )
            return EventStream(pieces, context.stop, error_event)
        work = _complete(body, head, generations)
        reply = await until_disconnect(request.receive, context.stop, work)
        data = orjson.dumps(reply.model_dump(mode="json", exclude_unset=True))
        return Response(data, media_type="application/json")


async def _complete(body: ChatRequest, head: Head, generations: list[Generation]) -> ChatCompletion:
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
    return completion(head, finished, usage_of(generations))
