"""Streams of both APIs: how they are declared, how they arrive, how they break off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from harness.checks.base import CHAT_STREAM, GUIDE, SERVER_SENT_EVENTS, Family, Problem
from harness.checks.subjects import delivered, exchanges, good_statuses, streams, timed_streams
from harness.parsing.events import speaks
from harness.parsing.rollout import ParsedExchange
from harness.records.conditions import Api
from harness.records.scores import Severity

family = Family("stream")

# Faster than any server is known to decode one reply, in tokens per second.
_TOO_FAST = 20_000
# A stream arrives in a burst if it keeps its reader waiting for this share of its time, and this
# long at least.
_WAITING_SHARE, _WAITING_SECONDS = 0.9, 1.0


class Rule(NamedTuple):
    """A rule of a stream's grammar: the id of its check and what is said of it."""

    id: str
    severity: Severity
    summary: str
    why: str


def rules(to: Family, api: Api, source: str, table: Iterable[Rule]) -> None:
    """Make a check of each rule: it finds the first place where a stream breaks it."""
    for rule in table:
        to.check(
            rule.id,
            over=streams,
            severity=rule.severity,
            summary=rule.summary,
            why=rule.why,
            source=source,
            apis=(api,),
            modes=("streaming",),
        )(_first_breach(rule.id))


def _first_breach(rule: str) -> Callable[[ParsedExchange], Iterator[Problem]]:
    def judge(turn: ParsedExchange) -> Iterator[Problem]:
        first = next((breach for breach in turn.breaches if breach.rule == rule), None)
        if first is not None:
            yield Problem.of(turn, first)

    return judge


@family.check(
    "stream.content_type",
    over=delivered,
    severity="error",
    summary="A streamed reply has the media type text/event-stream.",
    why="Clients choose their parser by it; browsers refuse anything else.",
    source=SERVER_SENT_EVENTS,
    modes=("streaming",),
)
def _content_type(turn: ParsedExchange) -> Iterator[Problem]:
    if turn.content_type != "text/event-stream":
        message = "The request asked for a stream; the reply is not declared as one."
        yield Problem(turn, message, "text/event-stream", turn.content_type or "no content-type")


@family.check(
    "stream.json",
    over=exchanges,
    severity="error",
    summary="Every event's data is a JSON object (or Chat's closing [DONE]).",
    why="Clients parse each event as JSON and stop at one that is not.",
    source=CHAT_STREAM,
    modes=("streaming",),
)
def _event_json(turn: ParsedExchange) -> Iterator[Problem]:
    for event in turn.events:
        if event.data is None and not event.is_done:
            message = "An event's data is not a JSON object."
            yield Problem(turn, message, "a JSON object", event.text, event=event.number)


@family.check(
    "stream.error_event",
    over=exchanges,
    severity="error",
    summary="No error is sent inside a stream that began with status 200.",
    why="Many clients see an answer that just stops.",
    source=CHAT_STREAM,
    modes=("streaming",),
)
def _error_event(turn: ParsedExchange) -> Iterator[Problem]:
    for event in turn.events:
        if event.is_error or event.type == "response.failed":
            message = "The stream carries an error."
            yield Problem(turn, message, "an answer", event.text, event=event.number)


@family.check(
    "stream.cut",
    over=good_statuses,
    severity="error",
    summary="A stream that began is sent to its end.",
    why="A line may break now and then; more often it is a server that failed half way.",
    source=GUIDE,
    modes=("streaming",),
    tolerated=0.02,
)
def _cut(turn: ParsedExchange) -> Iterator[Problem]:
    response, failure = turn.exchange.response, turn.exchange.failure
    cut = failure is not None and failure.kind == "cut"
    if response is not None and (cut or not response.complete):
        message = "The connection closed in the middle of the stream."
        last = turn.events[-1].text if turn.events else "no event"
        yield Problem(turn, message, "the rest of the stream", last)


@family.check(
    "stream.burst",
    over=timed_streams,
    severity="warning",
    summary="A stream arrives while it is made, not in one burst at its end.",
    why="Users wait for the whole answer: something on the way holds the stream back.",
    source=SERVER_SENT_EVENTS,
    modes=("streaming",),
)
def _burst(turn: ParsedExchange) -> Iterator[Problem]:
    """Bursts are told by the rate of tokens between first and last text: no server decodes so fast.

    One piece of text alone is a burst, too; replies too short or too quick for anyone to notice
    are no subject of this check.
    """
    times = [event.at for event in turn.events if speaks(event)]
    usage = turn.reply.usage if turn.reply else None
    tokens = (usage.output_tokens or 0) if usage else 0
    if not times or times[0] < max(_WAITING_SECONDS, _WAITING_SHARE * times[-1]):
        return
    if times[-1] - times[0] < tokens / _TOO_FAST:
        message = "The whole text of the stream came at once."
        got = f"{tokens} tokens within {times[-1] - times[0]:.4f} s, after {times[0]:.1f} s"
        yield Problem(turn, message, "text from early on", got)


@family.check(
    "reply.content_type",
    over=delivered,
    severity="warning",
    summary="A reply that was not streamed has the media type application/json.",
    why="Most clients parse it whatever it says.",
    source=CHAT_STREAM,
    modes=("non-streaming",),
)
def _json_content_type(turn: ParsedExchange) -> Iterator[Problem]:
    if turn.content_type != "application/json":
        message = "The reply is not declared as JSON."
        yield Problem(turn, message, "application/json", turn.content_type or "no content-type")
