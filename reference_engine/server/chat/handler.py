"""Serves POST /v1/chat/completions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from openai.types.chat import ChatCompletion
from starlette.requests import Request
from starlette.responses import Response

from reference_engine.generation.sampling import Token
from reference_engine.server.chat.reply import CompleteChoice, Deltas, Head, usage_of
from reference_engine.server.chat.request import ChatRequest
from reference_engine.server.connection import Context, EventStream, encode, until_disconnect
from reference_engine.server.errors import json_response
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, logprob

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
