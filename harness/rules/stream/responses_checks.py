"""Responses streams: their grammar, and the final response compared with the streamed items."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.api import responses_grammar as grammar
from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedExchange
from harness.api.responses import FINAL_EVENTS
from harness.api.sse import StreamEvent
from harness.rules.check import Family
from harness.rules.evidence.subjects import delivered, streams
from harness.rules.rule import RESPONSES_STREAM, Problem
from harness.rules.stream.checks import Grammar, grammar_checks

family = Family("stream", RESPONSES_STREAM, component="events")

_OF_EVENTS = ("output_index", "sequence_number")
_ASSEMBLY = "Clients assemble the response from these events."
_AGREEMENT = "Clients that show deltas and clients that read final texts must see the same text."

grammar_checks(
    family,
    "responses.stream",
    {
        grammar.ITEMS: Grammar(
            "error",
            "The events of an item follow the order added, deltas, done, with nothing before or "
            f"after. {_ASSEMBLY}",
            fix="Announce every item, and use its id in all of its events.",
        ),
        grammar.PARTS: Grammar(
            "error",
            "A content part is added, filled and closed, and content_index increases by one. The "
            "stream helper of OpenAI's SDK raises an error on an index of no part.",
            fix="Send content_part events around the deltas of every part.",
        ),
        grammar.REASONING_PARTS: Grammar(
            "warning",
            "The CoT is streamed inside a part that is added before and closed after it. Clients "
            "cope because they collect the CoT by item.",
            only=lambda reply: reply.reasoning,
        ),
        grammar.DONE_TEXT: Grammar(
            "error",
            f"The text in a done event equals its concatenated deltas. {_AGREEMENT}",
        ),
        grammar.MISSING_DONE: Grammar(
            "warning",
            "A done event with the complete text closes every streamed text. Clients cope because "
            "output_item.done still follows.",
        ),
        grammar.ITEM_TEXT: Grammar(
            "error",
            f"The text of a closed item or part equals its concatenated deltas. {_AGREEMENT}",
        ),
        grammar.ITEM_STATUS: Grammar(
            "warning",
            "An item is in_progress when it is added, but not when it is done; the response is "
            "in_progress in its first events. Few clients read the status.",
        ),
        grammar.CALL: Grammar(
            "error",
            "A streamed function call has its call_id and name from the start and keeps them. "
            "Clients need both to send the result back.",
            only=lambda reply: reply.calls,
        ),
        grammar.CALL_DELTAS: Grammar(
            "warning",
            "The arguments of a streamed function call are sent in deltas. One of OpenAI's models "
            "sends them in the done event only, and clients that read deltas call the tool without "
            "arguments.",
            only=lambda reply: reply.calls,
        ),
    },
)


@family.check("responses.stream.simulated", delivered, lambda exchange: exchange.events)
def _simulated(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream is sent while the reply is generated, with sequence numbers.

    Some gateways make the stream from a complete reply, with each text in a single delta. Users
    wait for the complete reply, and clients cannot resume. Other checks do not judge the stream.
    """
    if exchange.simulated:
        message = (
            "The stream has no sequence numbers, and one delta per text, as if it was made from a "
            "complete reply."
        )
        got = ", ".join(event.type for event in exchange.known_events)
        yield Problem(exchange, message, "numbered events with deltas during generation", got)


@family.check("responses.stream.sequence", streams, fix="Number the events of a stream from 0.")
def _sequence(exchange: ParsedExchange) -> Iterator[Problem]:
    """sequence_number increases from event to event.

    Clients use it to order events and to resume streams.
    """
    last = -1
    for event in exchange.known_events:
        if event.is_error:
            return
        number = (event.data or {}).get("sequence_number")
        if not isinstance(number, int) or number <= last:
            wrong = "does not increase" if isinstance(number, int) else "is not an integer"
            message = f"sequence_number {wrong}."
            expected, path = f"more than {last}", "$.sequence_number"
            yield Problem(exchange, message, expected, repr(number), path, event.number)
            return
        last = number


@family.check(
    "responses.stream.created",
    streams,
    text=f"response.created is the first event and is sent once. {_ASSEMBLY}",
)
def _created(exchange: ParsedExchange) -> Iterator[Problem]:
    for position, event in enumerate(exchange.known_events):
        if event.is_error:
            return
        if (event.type == "response.created") is not (position == 0):
            message = "The stream does not begin with exactly one response.created event."
            expected = "response.created" if position == 0 else "no second response.created"
            yield Problem(exchange, message, expected, event.type, event=event.number)
            return


@family.check(
    "responses.stream.terminal",
    streams,
    example=(
        "A Responses stream ends without response.completed.",
        "https://github.com/vllm-project/vllm/pull/25719",
    ),
)
def _terminal(exchange: ParsedExchange) -> Iterator[Problem]:
    """Only the last event is response.completed, response.incomplete or response.failed.

    Clients wait for this event; it contains the final response.
    """
    events = exchange.known_events
    ends = [event for event in events if event.type in FINAL_EVENTS]
    if events and not events[-1].is_error and (len(ends) != 1 or events[-1] is not ends[0]):
        message = "The stream does not end with exactly one terminal event."
        got = f"{[event.type for event in ends]}, last event: {events[-1].type}"
        yield Problem(exchange, message, "response.completed", got, event=events[-1].number)


def _other_ends(exchange: ParsedExchange) -> bool:
    """Whether a stream does not end as completed: servers that ignore the end always say so."""
    ends = [
        (event, response) for event, response in _responses(exchange) if event.type in FINAL_EVENTS
    ]
    whole = ("completed", "completed")
    return any(
        (FINAL_EVENTS[event.type], response.get("status")) != whole for event, response in ends
    )


@family.check(
    "responses.stream.status",
    streams,
    _other_ends,
    fix="End a truncated stream with response.incomplete, others with response.completed.",
)
def _status(exchange: ParsedExchange) -> Iterator[Problem]:
    """The status of the final response matches the name of its event.

    Clients use either of them to decide whether they can use the answer.
    """
    for event, response in _responses(exchange):
        expected = FINAL_EVENTS.get(event.type)
        if expected is not None and response.get("status") != expected:
            message = f"The response in {event.type} has a different status."
            got, path = repr(response.get("status")), "$.response.status"
            yield Problem(exchange, message, expected, got, path, event.number)


@family.check("responses.stream.id", streams)
def _same_id(exchange: ParsedExchange) -> Iterator[Problem]:
    """The response has the same id in all events.

    Clients send the id back as previous_response_id.
    """
    first: object = None
    for event, response in _responses(exchange):
        found = response.get("id")
        first = first or found
        if found != first:
            message, path = "The id of the response changes during the stream.", "$.response.id"
            yield Problem(exchange, message, repr(first), repr(found), path, event.number)
            return


@family.check(
    "responses.stream.event_name",
    streams,
    severity="warning",
    fix="Name every event by its type.",
    reads=("framing",),
)
def _event_name(exchange: ParsedExchange) -> Iterator[Problem]:
    """The `event:` line of each event equals its type. Most clients read the type from the data."""
    wrong = next((event for event in exchange.known_events if event.name != event.type), None)
    if wrong is not None:
        message = "The `event:` line of an event differs from its type."
        message = message if wrong.name else "An event has no `event:` line."
        got = wrong.name or "no event: line"
        yield Problem(exchange, message, wrong.type, got, event=wrong.number)


@family.check(
    "responses.stream.final",
    streams,
    text=f"The final response contains exactly the streamed items. {_AGREEMENT}",
)
def _final(exchange: ParsedExchange) -> Iterator[Problem]:
    streamed: dict[int, Mapping[str, Any]] = {}
    for event in exchange.known_events:
        data = event.data or {}
        if event.type == "response.output_item.done" and isinstance(data.get("item"), dict):
            index = data.get("output_index")
            streamed[index if isinstance(index, int) else len(streamed)] = data["item"]
    for event, response in _responses(exchange):
        if event.type in FINAL_EVENTS:
            output = response.get("output")
            final = output if isinstance(output, list) else []
            yield from _compare(exchange, event, streamed, final)


@family.check(
    "responses.stream.item_fields",
    streams,
    severity="info",
    fix="Put output_index and sequence_number into events, not into their items.",
)
def _item_fields(exchange: ParsedExchange) -> Iterator[Problem]:
    """An item has no fields of the event that contains it.

    Most clients ignore them; those that copy all fields of an item send them back.
    """
    for event in exchange.known_events:
        found = (event.data or {}).get("item")
        item = found if isinstance(found, dict) else {}
        wrong = [f"{name} {item[name]!r}" for name in _OF_EVENTS if name in item]
        if wrong:
            message = "An item has fields of its event."
            got = ", ".join(wrong)
            yield Problem(exchange, message, "fields of an item", got, "$.item", event.number)
            return


def _compare(
    exchange: ParsedExchange,
    event: StreamEvent,
    streamed: Mapping[int, Mapping[str, Any]],
    final: list[object],
) -> Iterator[Problem]:
    if event.type == "response.completed" and set(streamed) != set(range(len(final))):
        message = "The final response and the stream have different items."
        expected, got = f"output_index {sorted(streamed)}", f"{len(final)} items"
        yield Problem(exchange, message, expected, got, "$.response.output", event.number)
        return
    for index, item in enumerate(final):
        done = streamed.get(index)
        if done is None:
            continue
        sent, kept = _essence(done), _essence(item) if isinstance(item, dict) else {}
        other = [key for key in sent if key not in kept or sent[key] != kept[key]]
        if other:
            message = "An item of the final response differs from the streamed item."
            path = f"$.response.output[{index}]"
            expected = repr({key: sent[key] for key in other})
            got = repr({key: kept[key] for key in other} if kept else item)
            yield Problem(exchange, message, expected, got, path, event.number)


def _essence(item: Mapping[str, Any]) -> Mapping[str, object]:
    """Return the fields of an item that must agree; null equals absent, and empty equals absent."""
    parts = [(part.get("type"), part.get("text")) for part in objects(item.get("content"))]
    keys = ("type", "id", "call_id", "name", "arguments")
    return {**{key: item.get(key) for key in keys}, "content": parts}


def _responses(exchange: ParsedExchange) -> Iterator[tuple[StreamEvent, Mapping[str, Any]]]:
    """Yield the events that contain a response object, with the object."""
    for event in exchange.known_events:
        response = (event.data or {}).get("response")
        if isinstance(response, dict):
            yield event, response
