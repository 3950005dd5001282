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

family = Family("stream", RESPONSES_STREAM, component="events", modes=("streaming",))

_NUMBERED = "Number the items of a response from 0, and use the number in all their events."
_ITEM_DONE = "response.output_item.done"
_ASSEMBLY = "Clients assemble the response from these events."
_AGREEMENT = "Clients that show deltas and clients that read final texts must see the same text."

grammar_checks(
    family,
    "responses",
    {
        grammar.ITEMS: Grammar(
            "error",
            "The events of an item follow the order added, deltas, done, with nothing before or "
            f"after. {_ASSEMBLY}",
            fix="Announce every item before its other events, and close it after them.",
        ),
        grammar.ITEMS_INDEX: Grammar(
            "error",
            "The items of a response have the output_index 0, 1, 2, and so on, in all of their "
            "events. The stream helpers of OpenAI's SDKs raise an error on an index of no item.",
            fix=_NUMBERED,
        ),
        grammar.ITEMS_REPEATED: Grammar(
            "error",
            "Each item of a response has an output_index of its own. Clients that collect items by "
            "it mix them.",
            fix=_NUMBERED,
        ),
        grammar.ITEMS_ID: Grammar(
            "error",
            "The events of an item name it by its id. Some clients collect texts by it.",
            fix="Use the id of an item in all of its events.",
        ),
        grammar.ITEMS_CHANGED: Grammar(
            "error",
            "An item is closed with the id with which it was added. The stream helper of OpenAI's "
            "SDK raises an error if it changes.",
            fix="Use the id of an item in all of its events.",
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
        grammar.SEQUENCE: Grammar(
            "error",
            "sequence_number increases from event to event. Clients use it to order events and to "
            "resume streams.",
            fix="Number the events of a stream from 0.",
        ),
        grammar.CREATED: Grammar(
            "error", f"response.created is the first event and is sent once. {_ASSEMBLY}"
        ),
        grammar.TERMINAL: Grammar(
            "error",
            "Only the last event is response.completed, response.incomplete or response.failed. "
            "Clients wait for this event; it contains the final response.",
        ),
        grammar.ID: Grammar(
            "error",
            "The response has the same id in all events. Clients send the id back as "
            "previous_response_id.",
        ),
        grammar.EVENT_NAME: Grammar(
            "warning",
            "The `event:` line of each event equals its type. Most clients read the type from the "
            "data.",
            fix="Name every event by its type.",
            reads=("framing",),
        ),
    },
)


@family.check(
    "responses.stream.simulated", delivered, lambda exchange: exchange.events, apis=("responses",)
)
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
    apis=("responses",),
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


@family.check(
    "responses.stream.final",
    streams,
    apis=("responses",),
    text=f"The final response contains exactly the streamed items, in their order. {_AGREEMENT}",
)
def _final(exchange: ParsedExchange) -> Iterator[Problem]:
    ended = [event.data or {} for event in exchange.known_events if event.type == _ITEM_DONE]
    done = [data for data in ended if isinstance(data.get("item"), dict)]
    indices = [data.get("output_index") for data in done]
    valid = sorted(at for at in indices if type(at) is int) == list(range(len(done)))
    # Other checks report wrong indices; the items came in this order.
    streamed = {
        index if valid and isinstance(index, int) else at: data["item"]
        for at, (index, data) in enumerate(zip(indices, done, strict=True))
    }
    for event, response in _responses(exchange):
        if event.type in FINAL_EVENTS:
            output = response.get("output")
            final = output if isinstance(output, list) else []
            yield from _compare(exchange, event, streamed, final)


@family.check(
    "responses.stream.output_text",
    streams,
    apis=("responses",),
    severity="warning",
    fix="Leave out `output_text`, which SDKs compute, or send the whole text in it.",
)
def _output_text(exchange: ParsedExchange) -> Iterator[Problem]:
    """The member `output_text` of a final response, if it has one, is its text.

    SDKs compute it. That of OpenAI for npm keeps what a stream sends, and its user gets no text.
    """
    for event, response in _responses(exchange):
        items = objects(response.get("output"))
        parts = [part for item in items for part in objects(item.get("content"))]
        texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
        said, whole = response.get("output_text"), "".join(map(str, texts))
        if event.type in FINAL_EVENTS and isinstance(said, str) and said != whole:
            message = "The member `output_text` of the final response is not its text."
            path = "$.response.output_text"
            yield Problem(exchange, message, repr(whole), repr(said), path, event.number)


def _compare(
    exchange: ParsedExchange,
    event: StreamEvent,
    streamed: Mapping[int, Mapping[str, Any]],
    final: list[object],
) -> Iterator[Problem]:
    differing = set(streamed) ^ set(range(len(final)))
    if event.type == "response.incomplete":  # The item that the limit cut need not be done.
        differing &= set(streamed)
    if event.type != "response.failed" and differing:
        message = "The final response and the stream have different items."
        expected, got = f"output_index {sorted(streamed)}", f"{len(final)} items"
        path = "$.response.output" if final else "$.response"
        yield Problem(exchange, message, expected, got, path, event.number)
        return
    both = (
        [_essence(streamed[at]) for at in sorted(streamed)],
        [_essence(item) for item in objects(final)],
    )
    if both[0] != both[1] and sorted(map(repr, both[0])) == sorted(map(repr, both[1])):
        message = "The final response has the items of the stream in a different order."
        expected, got = (", ".join(str(item["type"]) for item in items) for items in both)
        yield Problem(exchange, message, expected, got, "$.response.output", event.number)
        return
    for index, item in enumerate(final):
        done = streamed.get(index)
        if done is None:
            continue
        sent, kept = _essence(done), _essence(item) if isinstance(item, dict) else {}
        other = [key for key in sent if key not in kept or sent[key] != kept[key]]
        if other:
            message = f"An item of the final response differs in {other[0]} from the streamed item."
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
