"""Streams of Responses: the rules of their grammar, and the final response against the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.checks.base import RESPONSES_STREAM, Family, Problem
from harness.checks.streams import Rule, rules
from harness.checks.subjects import streams
from harness.parsing import responses_grammar as grammar
from harness.parsing.events import Event, objects
from harness.parsing.responses_grammar import TERMINAL
from harness.parsing.rollout import ParsedExchange
from harness.records.scores import Severity

family = Family("stream")

_GATHER_WHY = "Clients put the response together from these events."
_AGREE_WHY = "Clients that show deltas and clients that read whole texts must see the same."

Judge = Callable[[ParsedExchange], Iterable[Problem]]

_RULES = (
    Rule(
        grammar.ITEMS,
        "error",
        "An item is added, then filled, then done; nothing about it comes before or after.",
        _GATHER_WHY,
    ),
    Rule(
        grammar.PARTS,
        "error",
        "A content part is added, then filled, then done, and content_index counts up.",
        "Typed clients keep a list of parts and fail on an index that is not in it.",
    ),
    Rule(
        grammar.REASONING_PARTS,
        "warning",
        "The CoT is streamed within a part that was added.",
        "Clients survive: they gather the CoT by item.",
    ),
    Rule(
        grammar.DONE_TEXT,
        "error",
        "The text in a done event is the deltas joined.",
        _AGREE_WHY,
    ),
    Rule(
        grammar.MISSING_DONE,
        "warning",
        "A streamed text is closed by an event that repeats it whole.",
        "Clients survive: the item is done all the same.",
    ),
    Rule(
        grammar.ITEM_TEXT,
        "error",
        "The text of an item or part that is done is its deltas joined.",
        _AGREE_WHY,
    ),
    Rule(
        grammar.ITEM_STATUS,
        "warning",
        "An item is in progress when it is added, and no longer when it is done.",
        "Few clients read it.",
    ),
    Rule(
        grammar.CALL,
        "error",
        "A streamed function call has its call_id and name from the start, and keeps them.",
        "Its result is sent back by them.",
    ),
)

rules(family, "responses", RESPONSES_STREAM, _RULES)


def _check(
    check_id: str, summary: str, why: str, *, severity: Severity = "error"
) -> Callable[[Judge], Judge]:
    """Register a check of streamed Responses."""
    return family.check(
        check_id,
        over=streams,
        severity=severity,
        summary=summary,
        why=why,
        source=RESPONSES_STREAM,
        apis=("responses",),
        modes=("streaming",),
    )


@_check(
    "responses.stream.sequence",
    "sequence_number grows from event to event.",
    "Clients order and resume streams by it.",
)
def _sequence(turn: ParsedExchange) -> Iterator[Problem]:
    last = -1
    for event in turn.known_events:
        number = (event.data or {}).get("sequence_number")
        if not isinstance(number, int) or number <= last:
            message = "sequence_number does not grow."
            expected, path = f"more than {last}", "$.sequence_number"
            yield Problem(turn, message, expected, repr(number), path, event.number)
            return
        last = number


@_check(
    "responses.stream.created",
    "response.created is the first event, and comes once.",
    _GATHER_WHY,
)
def _created(turn: ParsedExchange) -> Iterator[Problem]:
    for position, event in enumerate(turn.known_events):
        if (event.type == "response.created") is not (position == 0):
            message = "The stream does not begin with response.created, once."
            expected = "response.created" if position == 0 else "no second response.created"
            yield Problem(turn, message, expected, event.type, event=event.number)
            return


@_check(
    "responses.stream.terminal",
    "The last event, and no other, is response.completed, .incomplete or .failed.",
    "Clients wait for it; it carries the final response.",
)
def _terminal(turn: ParsedExchange) -> Iterator[Problem]:
    events = turn.known_events
    ends = [event for event in events if event.type in TERMINAL]
    if events and not events[-1].is_error and (len(ends) != 1 or events[-1] is not ends[0]):
        message = "The stream does not end with exactly one terminal event."
        got = f"{[event.type for event in ends]}, last event: {events[-1].type}"
        yield Problem(turn, message, "response.completed", got, event=events[-1].number)


@_check(
    "responses.stream.status",
    "The status of the final response is the one its event is named after.",
    "Clients decide by either whether the answer can be used.",
)
def _status(turn: ParsedExchange) -> Iterator[Problem]:
    for event, response in _responses(turn):
        expected = TERMINAL.get(event.type)
        if expected is not None and response.get("status") != expected:
            message = f"{event.type} carries a response of another status."
            got, path = repr(response.get("status")), "$.response.status"
            yield Problem(turn, message, expected, got, path, event.number)


@_check(
    "responses.stream.id",
    "The response has the same id in all events.",
    "Clients send it back as previous_response_id.",
)
def _same_id(turn: ParsedExchange) -> Iterator[Problem]:
    first: object = None
    for event, response in _responses(turn):
        found = response.get("id")
        first = first or found
        if found != first:
            message = "The id of the response changes within the stream."
            yield Problem(turn, message, repr(first), repr(found), "$.response.id", event.number)
            return


@_check(
    "responses.stream.event_name",
    "The event: line of each event names its type.",
    "Most clients read the type from the data.",
    severity="warning",
)
def _event_name(turn: ParsedExchange) -> Iterator[Problem]:
    wrong = next((event for event in turn.known_events if event.name != event.type), None)
    if wrong is not None:
        message = "An event: line does not name the event's type."
        got = wrong.name or "no event: line"
        yield Problem(turn, message, wrong.type, got, event=wrong.number)


@_check(
    "responses.stream.final",
    "The final response holds the very items that were streamed.",
    _AGREE_WHY,
)
def _final(turn: ParsedExchange) -> Iterator[Problem]:
    streamed: dict[int, Mapping[str, Any]] = {}
    for event in turn.known_events:
        data = event.data or {}
        if event.type == "response.output_item.done" and isinstance(data.get("item"), dict):
            index = data.get("output_index")
            streamed[index if isinstance(index, int) else -1] = data["item"]
    for event, response in _responses(turn):
        if event.type in TERMINAL:
            output = response.get("output")
            yield from _compare(turn, event, streamed, output if isinstance(output, list) else [])


def _compare(
    turn: ParsedExchange,
    event: Event,
    streamed: Mapping[int, Mapping[str, Any]],
    final: list[object],
) -> Iterator[Problem]:
    if event.type == "response.completed" and set(streamed) != set(range(len(final))):
        message = "The final response does not have the items that were streamed."
        expected = f"output_index {sorted(streamed)}"
        got = f"{len(final)} items"
        yield Problem(turn, message, expected, got, "$.response.output", event.number)
        return
    for index, item in enumerate(final):
        done = streamed.get(index)
        if done is not None and (not isinstance(item, dict) or _essence(item) != _essence(done)):
            message = "An item of the final response is not the one that was streamed."
            path = f"$.response.output[{index}]"
            yield Problem(turn, message, repr(done), repr(item), path, event.number)


def _essence(item: Mapping[str, Any]) -> tuple[object, ...]:
    """What of an item must not change; null and absent, empty and absent are the same."""
    parts = [(part.get("type"), part.get("text")) for part in objects(item.get("content"))]
    keys = ("type", "id", "call_id", "name", "arguments")
    return (*(item.get(key) for key in keys), parts)


def _responses(turn: ParsedExchange) -> Iterator[tuple[Event, Mapping[str, Any]]]:
    """The events that carry a response object, each with it."""
    for event in turn.known_events:
        response = (event.data or {}).get("response")
        if isinstance(response, dict):
            yield event, response
