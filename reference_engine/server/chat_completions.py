"""Serves POST /v1/chat/completions."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from harmony.parse import Ended, Started
from reference_engine.generation.sampling import Token
from reference_engine.server.api_error import json_response
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.connection import (
    Context,
    Emit,
    EventStream,
    encode,
    until_disconnect,
)
from reference_engine.server.generation import Generation
from reference_engine.server.pieces import Part, Piece, logprob

_SEPARATOR = "\n\n"

Json = dict[str, Any]


async def create_completion(context: Context, request: Request) -> Response:
    """Create a completion, streaming or not."""
    body = await context.read(request, ChatRequest)
    wanted = body.generation_request(context.settings.current_date)
    generations = [context.generation(context.engine, wanted.choice(at)) for at in range(body.n)]
    reply = ChatReply(body, context.settings.fingerprint, generations)
    if body.stream:
        return EventStream(reply.stream, context.stop, lambda error: encode(error.body()))
    work = reply.complete()
    return json_response(await until_disconnect(request.receive, context.stop, work))


class ChatReply:
    """The reply to one request."""

    def __init__(
        self, body: ChatRequest, fingerprint: str, generations: Sequence[Generation]
    ) -> None:
        self._body = body
        self._generations = generations
        self._choices = [
            ChatChoice(at, logprobs=body.logprobs, show_reasoning=not body.reasoning.exclude)
            for at in range(len(generations))
        ]
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": body.model,
            "service_tier": "default",
            "system_fingerprint": fingerprint,
        }

    async def complete(self) -> Json:
        """Generate and return the complete response."""

        async def take(choice: ChatChoice, parts: Sequence[Part]) -> None:
            choice.add(parts)

        await self._generate(take)
        pairs = zip(self._choices, self._generations, strict=True)
        choices = [choice.finished(generation.finish) for choice, generation in pairs]
        usage = usage_of(self._generations)
        return self._head | {"object": "chat.completion", "choices": choices, "usage": usage}

    async def stream(self, emit: Emit) -> None:
        """Generate and emit the chunks; those of the same token are sent together."""
        opening = b"".join(
            self._chunk(choice.entry({"role": "assistant", "content": ""}))
            for choice in self._choices
        )

        async def take(choice: ChatChoice, parts: Sequence[Part]) -> None:
            nonlocal opening
            chunks = opening + b"".join(map(self._chunk, choice.add(parts)))
            opening = b""
            if chunks:
                await emit(chunks)

        await self._generate(take)
        last = opening
        for choice, generation in zip(self._choices, self._generations, strict=True):
            last += self._chunk(choice.entry({}, finish_reason=generation.finish))
        if self._body.stream_options.include_usage:
            last += self._chunk(usage=usage_of(self._generations))
        await emit(last + b"data: [DONE]\n\n")

    async def _generate(
        self, take: Callable[["ChatChoice", Sequence[Part]], Awaitable[None]]
    ) -> None:
        """Generate all choices concurrently; `take` receives the parts of each."""
        tasks = [
            asyncio.create_task(generation.run(partial(take, choice)))
            for choice, generation in zip(self._choices, self._generations, strict=True)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _chunk(self, *choices: Json, usage: Json | None = None) -> bytes:
        chunk = self._head | {"object": "chat.completion.chunk", "choices": choices}
        if self._body.stream_options.include_usage:
            chunk["usage"] = usage
        return encode(chunk)


class ChatChoice:
    """One choice: its message so far, and the entries of its chunks."""

    def __init__(self, index: int, *, logprobs: bool, show_reasoning: bool) -> None:
        self._index = index
        self._with_logprobs = logprobs
        self._show_reasoning = show_reasoning
        self._message: Json = {"role": "assistant", "content": None, "refusal": None}
        self._calls: list[Json] = []
        self._logprobs: list[Json] = []
        self._separator = ""

    def add(self, parts: Sequence[Part]) -> list[Json]:
        """Add parts to the message; returns the entries of their chunks."""
        entries = []
        for part in parts:
            match part:
                case Started("call", name):
                    call = {
                        "id": f"call_{secrets.token_hex(12)}",
                        "type": "function",
                        "function": {"name": name, "arguments": ""},
                    }
                    self._calls.append(call)
                    index = len(self._calls) - 1
                    shown = call | {"index": index, "function": {"name": name, "arguments": ""}}
                    entries.append(self.entry({"tool_calls": [shown]}))
                case Started(kind):
                    field = "reasoning" if kind == "reasoning" else "content"
                    self._separator = _SEPARATOR if self._message.get(field) else ""
                case Piece("call", text):
                    self._calls[-1]["function"]["arguments"] += text
                    more = {"index": len(self._calls) - 1, "function": {"arguments": text}}
                    entries.append(self.entry({"tool_calls": [more]}))
                case Piece("reasoning", text):
                    if self._show_reasoning:
                        entries.append(self._text("reasoning", text))
                case Piece(_, text, tokens):
                    entries.append(self._text("content", text, tokens))
                case Ended():
                    pass
        return entries

    def _text(self, field: str, text: str, tokens: Sequence[Token] = ()) -> Json:
        """Add a text, preceded by a blank line if it starts another message of the same kind."""
        text, self._separator = self._separator + text, ""
        self._message[field] = (self._message.get(field) or "") + text
        logprobs = [logprob(token) for token in tokens]
        self._logprobs += logprobs
        return self.entry({field: text}, logprobs=logprobs)

    def entry(
        self, delta: Json, *, logprobs: Sequence[Json] = (), finish_reason: str | None = None
    ) -> Json:
        """The entry of a chunk."""
        listed = {"content": logprobs, "refusal": None}
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": listed if logprobs and self._with_logprobs else None,
            "finish_reason": finish_reason,
        }

    def finished(self, finish_reason: str) -> Json:
        """The choice of the complete response."""
        message = dict(self._message)
        if self._calls:
            message["tool_calls"] = self._calls
        elif message["content"] is None:
            message["content"] = ""
        listed = {"content": self._logprobs, "refusal": None}
        return {
            "index": self._index,
            "message": message,
            "finish_reason": finish_reason,
            "logprobs": listed if self._with_logprobs else None,
        }


def usage_of(generations: Sequence[Generation]) -> Json:
    """The token counts. The prompt is counted once for all choices."""
    prompt = len(generations[0].prompt)
    completed = sum(len(generation.completion) for generation in generations)
    reasoning = sum(generation.reasoning_tokens for generation in generations)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {
            "cached_tokens": generations[0].cached_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
