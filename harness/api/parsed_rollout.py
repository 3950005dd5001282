"""Parsed rollouts: every exchange read by its API adapter, every event parsed. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson

from harness.api import DIALECTS, chat_grammar, responses_grammar
from harness.api.dialect import events_of
from harness.api.fields import json_object, objects, reported_error
from harness.api.items import Reply, UnreadableReplyError
from harness.api.parsed_request import ParsedRequest
from harness.api.sdk_types import Mismatch, chunk_model, event_model, mismatches, reply_model
from harness.api.sse import StreamEvent
from harness.api.statuses import fails_to_render, meaning
from harness.api.stream_events import Violation, carries_text
from harness.records.conditions import Api, Mode
from harness.records.rollouts import Exchange, Rollout
from harness.records.scores import Received


@dataclass(frozen=True, eq=False)
class ParsedExchange:
    """One exchange of a rollout. Equality is identity, so that exchanges can be hashed.

    `recorded` is the exchange as recorded, `before` the one before it; `imported` exchanges are
    recorded traffic.
    """

    api: Api
    index: int
    recorded: Exchange
    before: ParsedExchange | None = None
    imported: bool = False

    @cached_property
    def reply(self) -> Reply | None:
        """The reply; None if there is no readable reply."""
        return self._read if isinstance(self._read, Reply) else None

    @property
    def unreadable(self) -> str | None:
        """Why a complete 2xx response has no readable reply."""
        return self._read if isinstance(self._read, str) else None

    @cached_property
    def _read(self) -> Reply | str | None:
        if not self.delivered:
            return None
        try:
            return DIALECTS[self.api].read(self.recorded, lambda: self.events)
        except UnreadableReplyError as error:
            return str(error)

    @cached_property
    def prompt(self) -> str:
        """The request as text, because the model may repeat parts of it.

        The parts of earlier replies that the client sends back are left out, because they may show
        the same defects.
        """
        body = self.recorded.request.body or {}
        earlier = self.before.prompt if self.before and body.get("previous_response_id") else ""
        return earlier + _prompt(body)

    @property
    def status(self) -> int | None:
        """The HTTP status; None if no response arrived."""
        response = self.recorded.response
        return None if response is None else response.status

    @property
    def good_status(self) -> bool:
        """Whether a response with a good status arrived, complete or not."""
        response = self.recorded.response
        return response is not None and response.good_status

    @property
    def received(self) -> Received:
        """What the request got."""
        response = self.recorded.response
        if response is None or self.recorded.failure is not None or not response.complete:
            return "no reply"
        if (said := meaning(response)) is not None:
            if fails_to_render(response):
                return "unrendered"
            return "refused" if said == "refusal" else "failed"
        if self.error_events and self.text_times:
            return "interrupted"
        if self.error_events or (self.body or {}).get("status") == "failed":
            return "failed"
        return "differs" if self.unreadable is None else "unreadable"

    @property
    def delivered(self) -> bool:
        """Whether a complete response with a 2xx status arrived."""
        response, failure = self.recorded.response, self.recorded.failure
        good = response is not None and response.good_status and response.complete
        return good and failure is None

    @property
    def truncated(self) -> bool:
        """Whether a token limit cut the reply."""
        return self.reply is not None and self.reply.finish == "length"

    @property
    def at_limit(self) -> bool:
        """Whether the reply has exactly as many tokens as its request allows."""
        limit = self.request.limit if self.request.choices == 1 else None
        return limit is not None and self.reply is not None and self.reply.output_tokens == limit

    @cached_property
    def events(self) -> tuple[StreamEvent, ...]:
        """The events of a stream; empty if the response was not streamed."""
        return tuple(events_of(self.recorded))

    @property
    def error_events(self) -> Sequence[StreamEvent]:
        """The events that report a failure."""
        return [event for event in self.events if event.is_error or event.type == "response.failed"]

    @cached_property
    def text_times(self) -> Sequence[float]:
        """When each event with generated text arrived, in seconds since the request was sent."""
        return [event.at for event in self.events if carries_text(event)]

    @cached_property
    def request(self) -> ParsedRequest:
        """The request, with its options, tools and limit read by the rules of its API."""
        return ParsedRequest(self.api, self.recorded.request.body or {})

    @cached_property
    def known_events(self) -> tuple[StreamEvent, ...]:
        """The Responses events that clients act on, without keep-alives and unknown events."""
        return tuple(
            event for event in self.events if event.is_error or event_model(event.type) is not None
        )

    @cached_property
    def violations(self) -> tuple[Violation, ...]:
        """Every violation of the stream grammar of the API."""
        if self.api == "chat":
            return chat_grammar.violations(self.events)
        truncated = self.reply is None or self.truncated
        return responses_grammar.violations(self.known_events, truncated=truncated)

    @cached_property
    def simulated(self) -> bool:
        """Whether a Responses stream lacks sequence numbers and has each text in one delta."""
        if self.api == "chat" or self.reply is None or not self.known_events:
            return False
        if not self.reply.generated.strip():
            return False
        deltas = [event for event in self.known_events if event.type.endswith(".delta")]
        places = {(event.type, repr((event.data or {}).get("output_index"))) for event in deltas}
        numbered = any("sequence_number" in (event.data or {}) for event in self.known_events)
        return not numbered and len(places) == len(deltas)

    @property
    def content_type(self) -> str:
        """The media type of the response without parameters, or ''; of differing ones, all."""
        values = re.sub('"[^"]*"', "", self.header("content-type")).lower().split(",")
        return ", ".join(dict.fromkeys(value.partition(";")[0].strip() for value in values))

    def header(self, name: str) -> str:
        """A header of the response by its name in lower case, or ''."""
        response = self.recorded.response
        headers = {} if response is None else response.headers
        return next((value for key, value in headers.items() if key.lower() == name), "")

    @cached_property
    def body(self) -> Mapping[str, Any] | None:
        """The JSON object of a non-streaming response; None for any other body."""
        if self.reply is not None and not self.events:
            return self.reply.raw
        response = self.recorded.response
        text = None if response is None else response.body
        return None if text is None else json_object(text)

    @cached_property
    def bodies(self) -> Sequence[Mapping[str, Any]]:
        """The JSON bodies of the response: one, or those of all its events."""
        if self.events:
            return [event.data for event in self.events if event.data is not None]
        return [] if self.body is None else [self.body]

    @cached_property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """Every message and delta of a Chat reply."""
        return [
            choice[key]
            for body in self.bodies
            for choice in objects(body.get("choices"))
            for key in ("message", "delta")
            if isinstance(choice.get(key), dict)
        ]

    @cached_property
    def mismatches(self) -> tuple[tuple[int | None, Mismatch], ...]:
        """Differences from the SDK's types with event numbers; equal ones only once."""
        return tuple(_mismatches(self))


@dataclass(frozen=True)
class ParsedRollout:
    """A rollout and its parsed exchanges."""

    rollout: Rollout
    exchanges: tuple[ParsedExchange, ...]
    under_load: bool = False  # whether it failed for the load: alone, such a request is served

    @property
    def mode(self) -> Mode:
        """`streaming` if the requests set `stream`."""
        return "streaming" if self.rollout.condition.streaming else "non-streaming"

    @cached_property
    def delivered(self) -> Sequence[ParsedExchange]:
        """The exchanges with a complete 2xx response."""
        return [exchange for exchange in self.exchanges if exchange.delivered]

    @property
    def final(self) -> ParsedRollout:
        """The rollout without truncated replies that were requested again with a larger limit."""
        kept = [exchange for exchange in self.exchanges[:-1] if not exchange.truncated]
        every = (*kept, *self.exchanges[-1:])
        return self if len(every) == len(self.exchanges) else replace(self, exchanges=every)

    @cached_property
    def replies(self) -> Sequence[tuple[ParsedExchange, Reply]]:
        """The exchanges with a readable reply, each with its reply."""
        return [
            (exchange, exchange.reply) for exchange in self.exchanges if exchange.reply is not None
        ]


def parse_rollout(rollout: Rollout) -> ParsedRollout:
    """Parse a recorded rollout."""
    parsed: list[ParsedExchange] = []
    for index, exchange in enumerate(rollout.exchanges):
        before = parsed[-1] if parsed else None
        imported = rollout.recording is not None
        parsed.append(ParsedExchange(rollout.api, index, exchange, before, imported))
    return ParsedRollout(rollout, tuple(parsed))


def _prompt(body: Mapping[str, Any]) -> str:
    """A request as text, without the parts of earlier replies that it sends back."""
    kept = {
        key: [turn for turn in value if not _of_model(turn)] if isinstance(value, list) else value
        for key, value in body.items()
    }
    return orjson.dumps(kept).decode()


def _of_model(turn: object) -> bool:
    kinds = ("reasoning", "function_call")
    return isinstance(turn, dict) and (turn.get("role") == "assistant" or turn.get("type") in kinds)


def _mismatches(exchange: ParsedExchange) -> Iterator[tuple[int | None, Mismatch]]:
    judged: set[object] = set()
    for event in exchange.events:
        if event.data is None and event.is_done:
            break  # Clients stop reading here.
        model = chunk_model() if exchange.api == "chat" else event_model(event.type)
        if event.data is None or model is None or event.is_error or exchange.simulated:
            continue
        if exchange.api == "chat" and not event.data.keys() & {"choices", "object"}:
            message = "should be a chat.completion.chunk"
            yield event.number, Mismatch("$", message, event.text, minor=False)
            continue
        for miss in mismatches(model, event.text, event.data, judged):
            # Gateways add their own chunks, in which only usage matters.
            added = exchange.api == "chat" and event.data.get("choices") == []
            if not added or miss.path.startswith("$.usage"):
                yield event.number, miss
    response, body = exchange.recorded.response, exchange.body
    text = response and response.body
    if exchange.delivered and text and body and _is_reply(exchange.api, body, text):
        for miss in mismatches(reply_model(exchange.api), text, body, judged):
            yield None, miss


def _is_reply(api: Api, body: Mapping[str, Any], text: str) -> bool:
    """Whether a body is a reply of its API, rather than an error or another object."""
    if api == "responses":
        return "output" in body
    return "choices" in body and not reported_error(body, text)
