"""What both dialects share: a `Reply` read from an exchange, and the `Dialect` protocol."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.api.conversation import ConversationItem, ToolCall
from harness.records.rollouts import Api, Exchange
from harness.steps import Steps

Finish = Literal["stop", "tool_calls", "length", "content_filter", "unknown"]


class UnreadableReplyError(Exception):
    """A response with a good status that cannot be read as this dialect; says what and where."""


@dataclass(frozen=True)
class Tool:
    """A function on offer: `parameters` is a JSON schema; `output` is what the canned tool says."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    output: str


@dataclass(frozen=True)
class Usage:
    """Token counts as reported; None where the provider gave none."""

    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    total_tokens: int | None


@dataclass(frozen=True)
class Reply:
    """One assistant reply, streamed or not, in the words both dialects share.

    `reasoning` is the raw chain of thought, wherever the dialect carried it; `raw` is the whole
    JSON object (for a stream: the final object of Responses, the reassembled Chat completion).
    """

    reasoning: str
    text: str
    calls: tuple[ToolCall, ...]
    finish: Finish
    usage: Usage | None
    raw: Mapping[str, Any]

    @property
    def input_tokens(self) -> int | None:
        """Tokens of the prompt as reported; None where the provider said nothing."""
        return None if self.usage is None else self.usage.input_tokens

    @property
    def output_tokens(self) -> int | None:
        """Tokens of CoT and answer as reported; None where the provider said nothing."""
        return None if self.usage is None else self.usage.output_tokens


@dataclass(frozen=True)
class Settings:
    """What a request carries besides its conversation.

    `seed` goes where the dialect has a place for it: Chat Completions, not Responses; `stored`,
    which asks the provider to keep the replies, the other way round.
    """

    model: str
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stored: bool = False
    extra_body: Mapping[str, Any] | None = None


class Dialect(Protocol):
    """Pure functions over JSON; nothing here touches the network."""

    api: Api
    path: str

    def first_request(
        self,
        turns: Sequence[ConversationItem],
        *,
        instructions: str | None,
        tools: Sequence[Tool],
        streaming: bool,
        settings: Settings,
    ) -> dict[str, Any]:
        """The body of the first request of a rollout: the conversation so far, and what is asked.

        `instructions` go where the dialect has a place for them apart from the conversation.
        """
        ...

    def next_request(
        self,
        body: Mapping[str, Any],
        reply: Reply,
        turns: Sequence[ConversationItem],
        *,
        stored: bool = False,
    ) -> dict[str, Any]:
        """The body after `reply`: its CoT and calls sent back, then `turns`.

        Where the dialect has a way to go on from a `stored` reply by its id, that is used.
        """
        ...

    def read(self, exchange: Exchange) -> Reply:
        """Read a finished exchange. Raises UnreadableReplyError."""
        ...

    def reading(self, exchange: Exchange) -> Steps[Reply]:
        """`read` in small steps."""
        ...


class Replies:
    """The replies of exchanges that were read and are still in use, so that none is read twice."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[int, tuple[weakref.ref[Exchange], Reply]] = {}

    def recall(self, exchange: Exchange) -> Reply | None:
        """The reply that was read from this very exchange, if it was."""
        known = self._known.get(id(exchange))
        return known[1] if known is not None and known[0]() is exchange else None

    def keep(self, exchange: Exchange, reply: Reply) -> Reply:
        """Remember `reply`, as long as the exchange is in use elsewhere, and return it."""
        key = id(exchange)
        forgotten = weakref.ref(exchange, lambda _: self._known.pop(key, None))
        self._known[key] = forgotten, reply
        return reply
