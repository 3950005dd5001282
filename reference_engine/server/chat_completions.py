"""Serves POST /v1/chat/completions."""

import asyncio
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy

from starlette.requests import Request
from starlette.responses import Response

from harmony.parse import Delta, Ended, Event, Started
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.connection import Json, RequestContext, SentReply, Take, obfuscated
from reference_engine.server.custom_tools import custom_input
from reference_engine.server.generation import Generation, usage_of

_SEPARATOR = "\n\n"


async def create_completion(context: RequestContext, request: Request) -> Response:
    """Create a completion, streaming or not."""
    body = await context.read(request, ChatRequest)
    wanted = body.generation_request(context.settings.current_date)
    generations = [context.generation(context.engine, wanted.choice(at)) for at in range(body.n)]
    reply = ChatReply(body, context.settings.fingerprint, generations)
    return await reply.respond(request, context.stop, stream=body.stream)


class ChatReply(SentReply):
    """The reply to one request."""

    def __init__(
        self, body: ChatRequest, fingerprint: str, generations: Sequence[Generation]
    ) -> None:
        self._with_usage = body.stream_options.include_usage
        self._obfuscates = body.stream_options.include_obfuscation
        self._generations = generations
        self._choices = [
            ChatChoice(at, body.custom, logprobs=body.logprobs, show_reasoning=body.show_reasoning)
            for at in range(len(generations))
        ]
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": body.model,
            "service_tier": "default",
            "system_fingerprint": fingerprint,
        }

    async def generate(self, take: Take) -> None:
        """Generate all choices concurrently."""

        async def run(choice: ChatChoice, generation: Generation) -> None:
            async def add(events: Sequence[Event]) -> None:
                await take([self._chunk(entry) for entry in choice.add(events)])

            await generation.run(add)

        pairs = zip(self._choices, self._generations, strict=True)
        tasks = [asyncio.create_task(run(*pair)) for pair in pairs]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def opening(self) -> list[Json]:
        """Return the first chunk of each choice."""
        first = {"role": "assistant", "content": ""}
        return [self._chunk(choice.entry(first)) for choice in self._choices]

    def closing(self) -> list[Json]:
        """Return the last chunk of each choice, and the one with the usage on request."""
        pairs = zip(self._choices, self._generations, strict=True)
        last = [
            self._chunk(choice.entry({}, finish_reason=generation.finish))
            for choice, generation in pairs
        ]
        return [*last, self._chunk(usage=self._usage())] if self._with_usage else last

    def finished(self) -> Json:
        """Return the complete response."""
        pairs = zip(self._choices, self._generations, strict=True)
        choices = [choice.finished(generation.finish) for choice, generation in pairs]
        return self._head | {
            "object": "chat.completion",
            "choices": choices,
            "usage": self._usage(),
        }

    def _chunk(self, *choices: Json, usage: Json | None = None) -> Json:
        chunk = self._head | {"object": "chat.completion.chunk", "choices": choices}
        chunk |= {"usage": usage} if self._with_usage else {}
        return obfuscated(chunk) if self._obfuscates and choices else chunk

    def _usage(self) -> Json:
        """Return the token counts. The prompt is counted once for all choices."""
        usage = usage_of("prompt", "completion", self._generations[:1], self._generations)
        usage["prompt_tokens_details"] |= {"audio_tokens": 0}
        usage["completion_tokens_details"] |= {
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
        return usage


class ChatChoice:
    """One choice: its message so far, and the entries of its chunks."""

    def __init__(
        self, index: int, custom: Collection[str], *, logprobs: bool, show_reasoning: bool
    ) -> None:
        self._index = index
        self._custom = custom  # the names of the custom tools
        self._with_logprobs = logprobs
        self._show_reasoning = show_reasoning
        self._message: Json = {"role": "assistant", "content": None, "refusal": None}
        self._calls: list[Json] = []
        self._logprobs: list[Json] = []
        self._separator = ""

    def add(self, events: Sequence[Event]) -> list[Json]:
        """Add events to the message; returns the entries of their chunks."""
        entries: list[Json] = []
        for event in events:
            if event.kind == "call" and self._is_custom(event):
                entries += self._add_custom(event)
                continue
            match event:
                case Started("call", name):
                    call = {
                        "id": f"call_{secrets.token_hex(12)}",
                        "type": "function",
                        "function": {"name": name, "arguments": ""},
                    }
                    self._calls.append(call)
                    shown = deepcopy(call) | {"index": len(self._calls) - 1}
                    entries.append(self.entry({"tool_calls": [shown]}))
                case Started(kind):
                    field = "reasoning" if kind == "reasoning" else "content"
                    self._separator = _SEPARATOR if self._message.get(field) else ""
                case Delta("call", text):
                    self._calls[-1]["function"]["arguments"] += text
                    more = {"index": len(self._calls) - 1, "function": {"arguments": text}}
                    entries.append(self.entry({"tool_calls": [more]}))
                case Delta("reasoning", text):
                    if self._show_reasoning:
                        entries.append(self._text("reasoning", text))
                case Delta(_, text, logprobs):
                    entries.append(self._text("content", text, logprobs))
                case Ended():
                    pass
        return entries

    def _is_custom(self, event: Event) -> bool:
        """Whether an event of a call is of a custom tool."""
        if isinstance(event, Started):
            return event.name in self._custom
        return "custom" in self._calls[-1]

    def _add_custom(self, event: Event) -> Iterator[Json]:
        """Add an event to the call of a custom tool, whose input is known only at the end."""
        match event:
            case Started(_, name):
                identity = {"id": f"call_{secrets.token_hex(12)}", "type": "custom"}
                self._calls.append(identity | {"custom": {"name": name, "input": ""}})
            case Delta(_, text):
                self._calls[-1]["custom"]["input"] += text
            case Ended():
                called = self._calls[-1]["custom"]
                called["input"] = custom_input(called["input"])
                shown = deepcopy(self._calls[-1]) | {"index": len(self._calls) - 1}
                yield self.entry({"tool_calls": [shown]})

    def _text(self, field: str, text: str, logprobs: Sequence[Json] = ()) -> Json:
        """Add a text, preceded by a blank line if it starts another message of the same kind."""
        text, self._separator = self._separator + text, ""
        self._message[field] = (self._message.get(field) or "") + text
        self._logprobs += logprobs
        return self.entry({field: text}, logprobs=logprobs)

    def entry(
        self, delta: Json, *, logprobs: Sequence[Json] = (), finish_reason: str | None = None
    ) -> Json:
        """Return the entry of a chunk."""
        listed = {"content": logprobs, "refusal": None}
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": listed if logprobs and self._with_logprobs else None,
            "finish_reason": finish_reason,
        }

    def finished(self, finish_reason: str) -> Json:
        """Return the choice of the complete response."""
        message = self._message | {"annotations": []}
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
