"""One answer of the model: prompt tokens, sampled tokens, parsed messages and token counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from harmony.conversation import Conversation, User
from harmony.parse import FIRST_SPECIAL, Delta, Ended, Event, HarmonyParser, Started
from harmony.render import RenderError, least_tokens, render_prompt
from harmony.vocabulary import encode
from reference_engine.backends.token_source import BackendError, TokenSource
from reference_engine.generation.errors import (
    ContextOverflowError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
)
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.server.api_error import ApiError, internal_error, invalid, stopping
from reference_engine.server.grammar import ReplyGrammar
from reference_engine.server.tool_choice import ToolPolicy, continuation
from reference_engine.server.visible_text import VisibleText

FinishReason = Literal["stop", "length", "tool_calls"]
_RETRY_SECONDS = "1"
_NEXT_DRAWS = 2**32
"""Added to the seed after a header that the server wrote, so that the draws differ from those of
the disallowed message. It is larger than any number of choices."""


@dataclass(frozen=True)
class GenerationRequest:
    """Everything in a request that affects the model's answer."""

    conversation: Conversation
    sampling: SamplingParams
    policy: ToolPolicy
    stop: tuple[str, ...] = ()
    field: str = "messages"  # the field of the request that has the conversation

    def without_oldest_turn(self) -> GenerationRequest | None:
        """Return the request without its first user message and what follows up to the second."""
        items = self.conversation.items
        turns = [at for at, item in enumerate(items) if isinstance(item, User)]
        if len(turns) < 2:
            return None
        kept = (*items[: turns[0]], *items[turns[1] :])
        return replace(self, conversation=replace(self.conversation, items=kept))

    def choice(self, index: int) -> GenerationRequest:
        """Return the same request for the choice with this index, with a different seed."""
        seed = self.sampling.seed
        if seed is None or not index:
            return self
        return replace(self, sampling=replace(self.sampling, seed=seed + index))


Take = Callable[[Sequence[Event]], Awaitable[None]]
"""Receives the events of the next token."""


class Generation:
    """Generates the answer to one request."""

    def __init__(self, engine: TokenSource, request: GenerationRequest) -> None:
        """Render the prompt. Raises ApiError."""
        self._engine = engine
        self._request = request
        self.prompt = self._checked_prompt()  # token ids
        self.completion: list[int] = []  # the ids so far, including headers and the stop token
        self.cached_tokens = 0  # the number of prompt tokens that the engine did not compute again
        self.reasoning_tokens = 0  # the number of ids in the text of the chain of thought
        self.finish: FinishReason = "stop"
        self._limit = min(engine.max_context - len(self.prompt), request.sampling.max_tokens)
        self._grammar = ReplyGrammar.of(request.conversation)
        self._parser = self.new_parser()
        self._shown = VisibleText(request.stop)
        self.items = self._shown.items  # the messages so far, as clients receive them
        self._boundary = 0
        self._steered = 0
        self._called = False
        self._restart = False
        self._cut = False

    def render(self, conversation: Conversation) -> list[int]:
        """Return the tokens of the prompt."""
        return render_prompt(conversation)

    def new_parser(self) -> HarmonyParser:
        """Return a parser of the model's tokens."""
        return HarmonyParser()

    async def run(self, take: Take) -> None:
        """Pass on the events of the answer until the model, a stop string or the limit ends it.

        The engine receives another request after each header that the server writes. Raises
        ApiError if the engine fails or refuses a request.
        """
        self._restart = True
        while self._restart and len(self.completion) < self._limit:
            self._restart = False
            limit = self._limit - len(self.completion)
            params = replace(self._request.sampling, max_tokens=limit, grammar=self._grammar)
            if params.seed is not None:
                params = replace(params, seed=params.seed + self._steered * _NEXT_DRAWS)
            prompt = [*self.prompt, *self.completion]
            with api_errors(prompt, self._engine.max_context, self._request.field):
                async with aclosing(self._engine.generate(prompt, params)) as tokens:
                    async for token in tokens:
                        if not self.completion:
                            self.cached_tokens = token.reused
                        if events := self._read(token):
                            await take(events)
                        done = self._parser.done or self._shown.hit
                        if done or self._restart or self._cut:
                            break
        if self._cut or not (self._parser.done or self._shown.hit):
            self.finish = "length"
            if events := self._last_events():
                await take(events)
        elif self._called:
            self.finish = "tool_calls"

    def _checked_prompt(self) -> list[int]:
        conversation, max_context = self._request.conversation, self._engine.max_context
        if (least := least_tokens(conversation)) >= max_context:
            raise overflow(f"at least {least}", max_context, self._request.field)
        try:
            prompt = self.render(conversation)
        except RenderError as error:
            raise ApiError(400, str(error), code="invalid_prompt") from error
        if len(prompt) >= max_context:
            raise overflow(len(prompt), max_context, self._request.field)
        return prompt

    def _read(self, token: Token) -> list[Event]:
        """Return the events of one more token."""
        before = self._parser.open
        events = self._parser.feed(token.id)
        self.completion.append(token.id)
        if before and before is self._parser.open and token.id < FIRST_SPECIAL:
            self.reasoning_tokens += before.kind == "reasoning"
            if token.logprob is not None:
                self._shown.tokens.append(token)
        elif not before:
            self._count_header_text(events)
        policy = self._request.policy
        for event in events:
            if isinstance(event, Started):
                if not policy.allows(event):
                    return self._steer(event)
                self._called = self._called or event.kind == "call"
            elif isinstance(event, Ended):
                self._boundary = len(self.completion)
        shown = self._visible(events)
        if self._parser.done and policy.mode == "required" and not self._called:
            shown += self._steer(None)
        return shown

    def _last_events(self) -> list[Event]:
        """Return the events at the end of the tokens, unless they start a disallowed message."""
        events = self._parser.finish()
        first = events[0] if events else None
        if isinstance(first, Started) and not self._request.policy.allows(first):
            return []
        self._count_header_text(events)
        return self._visible(events)

    def _count_header_text(self, events: Sequence[Event]) -> None:
        """Count the tokens of a chain of thought in a malformed header."""
        if any(isinstance(event, Started) and event.kind == "reasoning" for event in events):
            text = "".join(event.text for event in events if isinstance(event, Delta))
            self.reasoning_tokens += min(len(encode(text)), len(self.completion) - self._boundary)

    def _steer(self, disallowed: Started | None) -> list[Event]:
        """Return to the end of the last message and write the next header."""
        header = self._request.policy.header(disallowed, again=self._steered > 0)
        kept, opening = continuation(self.completion[: self._boundary], header)
        self._parser = self.new_parser()
        if len(kept) + len(opening) >= self._limit:
            self.completion = self.completion[: self._boundary]
            self._cut = True
            return []
        self._steered += 1
        self._boundary = len(kept)
        self.completion = kept + opening
        for token in self.completion:
            self._parser.feed(token)
        self._restart = True
        self._called = self._parser.open is not None and self._parser.open.kind == "call"
        return self._visible([self._parser.open] if self._parser.open else [])

    def _visible(self, events: Sequence[Event]) -> list[Event]:
        return [shown for event in events for shown in self._shown.read(event)]


def usage_of(
    read: str, written: str, prompts: Sequence[Generation], answers: Sequence[Generation]
) -> dict[str, Any]:
    """Return the token counts; `read` and `written` are an API's names of the two kinds."""
    prompt_tokens = sum(len(generation.prompt) for generation in prompts)
    answer_tokens = sum(len(generation.completion) for generation in answers)
    cached = sum(generation.cached_tokens for generation in prompts)
    reasoning = sum(generation.reasoning_tokens for generation in answers)
    return {
        f"{read}_tokens": prompt_tokens,
        f"{read}_tokens_details": {"cached_tokens": cached},
        f"{written}_tokens": answer_tokens,
        f"{written}_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt_tokens + answer_tokens,
    }


@contextmanager
def api_errors(prompt: Sequence[int], max_context: int, field: str) -> Iterator[None]:
    """Convert errors of the engine to ApiError; `field` of the request has the prompt."""
    try:
        yield
    except QueueFullError as error:
        message = "Too many requests are waiting; try again later."
        headers = {"Retry-After": _RETRY_SECONDS}
        raise ApiError(429, message, code="rate_limit_exceeded", headers=headers) from error
    except ContextOverflowError as error:
        raise overflow(len(prompt), max_context, field) from error
    except EngineClosedError as error:
        raise stopping() from error
    except BackendError as error:
        wait = {"Retry-After": error.retry_after} if error.retry_after else {}
        raise ApiError(error.status, str(error), code=error.code, headers=wait) from error
    except GenerationError as error:  # The engine has logged the error.
        raise internal_error() from error


def overflow(length: int | str, max_context: int, field: str) -> ApiError:
    """Return the error for a prompt in a field that leaves no room in the context."""
    message = f"The prompt has {length} tokens, but the context is limited to {max_context}."
    return invalid(field, message, "context_length_exceeded")
