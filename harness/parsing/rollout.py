"""A rollout as checks see it: every exchange read by its dialect, every event parsed. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.parsing import chat_grammar, responses_grammar
from harness.parsing.events import Breach, Event, json_object, parse_events
from harness.parsing.request import Asked
from harness.parsing.sdk_types import Mismatch, event_model, mismatches
from harness.records.conditions import Api, Mode
from harness.records.rollouts import Exchange, Rollout

_OK = range(200, 300)


@dataclass(frozen=True)
class ParsedExchange:
    """One exchange of a rollout.

    `reply` is None where there is nothing to read. `prompt` is the first request of the rollout
    as text: what stands in it may be repeated by the model.
    """

    api: Api
    index: int
    exchange: Exchange
    prompt: str
    reply: Reply | None = None
    unreadable: str | None = None

    @property
    def good_status(self) -> bool:
        """Whether a response with a good status came, or at least began to."""
        response = self.exchange.response
        return response is not None and response.status in _OK

    @property
    def delivered(self) -> bool:
        """Whether a whole response with a good status came."""
        response = self.exchange.response
        whole = response is not None and response.complete
        return self.good_status and whole and self.exchange.failure is None

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The events of a stream; none where there was none."""
        response = self.exchange.response
        return () if response is None else parse_events(response.parts)

    @cached_property
    def asked(self) -> Asked:
        """What the request asked for."""
        return Asked(self.api, self.exchange.request.body or {})

    @cached_property
    def known_events(self) -> tuple[Event, ...]:
        """The events of Responses that clients act on; keep-alives and the like are left out."""
        return tuple(
            event for event in self.events if event.is_error or event_model(event.type) is not None
        )

    @cached_property
    def breaches(self) -> tuple[Breach, ...]:
        """Where the stream breaks the grammar of its API."""
        if self.api == "chat":
            return chat_grammar.breaches(self.events)
        cut_short = self.reply is None or self.reply.finish == "length"
        return responses_grammar.breaches(self.known_events, cut_short=cut_short)

    @property
    def content_type(self) -> str:
        """The media type of the response without its parameters; '' where there is none."""
        response = self.exchange.response
        headers = {} if response is None else response.headers
        values = [value for name, value in headers.items() if name.lower() == "content-type"]
        return values[0].split(";")[0].strip().lower() if values else ""

    @cached_property
    def body(self) -> Mapping[str, Any] | None:
        """The JSON object of a response that was not streamed; None where it is none."""
        response = self.exchange.response
        text = None if response is None else response.body
        return None if text is None else json_object(text)

    @cached_property
    def mismatches(self) -> tuple[tuple[int | None, Mismatch], ...]:
        """Where the reply differs from the SDK's types: event number (if any) and mismatch."""
        return tuple(_mismatches(self))


@dataclass(frozen=True)
class ParsedRollout:
    """A rollout and its turns."""

    rollout: Rollout
    turns: tuple[ParsedExchange, ...]

    @property
    def mode(self) -> Mode:
        """Whether replies were asked for as streams or whole."""
        return self.rollout.condition.mode

    @property
    def delivered(self) -> Iterator[ParsedExchange]:
        """The turns in which a whole response came."""
        return (turn for turn in self.turns if turn.delivered)

    @property
    def replies(self) -> Iterator[tuple[ParsedExchange, Reply]]:
        """The turns that could be read, each with its reply."""
        return ((turn, turn.reply) for turn in self.turns if turn.reply is not None)


def parse_rollout(rollout: Rollout) -> ParsedRollout:
    """Read a rollout for checking."""
    first = rollout.exchanges[0].request.body if rollout.exchanges else None
    prompt = json.dumps(first, ensure_ascii=False)
    turns = (_turn(rollout.api, i, each, prompt) for i, each in enumerate(rollout.exchanges))
    return ParsedRollout(rollout, tuple(turns))


def _turn(api: Api, index: int, exchange: Exchange, prompt: str) -> ParsedExchange:
    bare = ParsedExchange(api, index, exchange, prompt)
    if not bare.delivered:
        return bare
    try:
        return replace(bare, reply=DIALECTS[api].read(exchange))
    except UnreadableReplyError as error:
        return replace(bare, unreadable=str(error))


def _mismatches(turn: ParsedExchange) -> Iterator[tuple[int | None, Mismatch]]:
    for event in turn.events:
        model = ChatCompletionChunk if turn.api == "chat" else event_model(event.type)
        if event.data is None or model is None or event.is_error:
            continue
        found = mismatches(model, event.text, event.data)
        if turn.api == "chat" and event.data.get("choices") == []:
            found = map(_outside_choices, found)
        yield from ((event.number, miss) for miss in found)
    response = turn.exchange.response
    if turn.delivered and response is not None and response.body and turn.body is not None:
        whole = ChatCompletion if turn.api == "chat" else Response
        yield from ((None, miss) for miss in mismatches(whole, response.body, turn.body))


def _outside_choices(miss: Mismatch) -> Mismatch:
    """In a chunk without choices only the usage matters; gateways put remarks of theirs there."""
    return miss if miss.path.startswith("$.usage") else replace(miss, minor=True)
