"""How a stream arrived: its pauses, its silence before its end, and how long it stayed open."""

from itertools import pairwise
from weakref import WeakKeyDictionary

from harness.api.fields import nested, objects
from harness.api.ledger import SLACK, ledger
from harness.api.parsed_rollout import ParsedExchange
from harness.api.sse import StreamEvent
from harness.api.stream_events import carries_text
from harness.records.replies import Arrivals

PAUSE = 2.0  # seconds; no known server takes as long for one token of a stream that it has begun
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_CALLS = frozenset({"response.function_call_arguments.done", "response.output_item.added"})
"""Events of Responses that servers send when they know a call, with or without pieces before."""
_TEXTS = frozenset({"message", "reasoning"})


_ARRIVALS: WeakKeyDictionary[ParsedExchange, Arrivals | None] = WeakKeyDictionary()


def arrivals_of(exchange: ParsedExchange) -> Arrivals | None:
    """Return how a stream arrived; None without text, and if its events report an error."""
    if exchange not in _ARRIVALS:  # several rules ask, and the events are many
        _ARRIVALS[exchange] = _arrived(exchange)
    return _ARRIVALS[exchange]


def _arrived(exchange: ParsedExchange) -> Arrivals | None:
    events = exchange.events
    texts = [event for event in events if _has_text(event)]
    if not texts or exchange.error_events:
        return None
    first, last = texts[0].at, texts[-1].at
    finish = next(
        (
            event.at
            for event in events
            if event.type in _TERMINAL
            or any(one.get("finish_reason") for one in objects(nested(event.data, "choices")))
        ),
        None,
    )
    end = max(exchange.recorded.elapsed, events[-1].at)
    times = sorted({event.at for event in events if first <= event.at <= last})
    waits = [later - earlier for earlier, later in pairwise(times)]
    counted = None if exchange.reply is None else ledger(exchange)
    return Arrivals(
        waits=len(waits),
        pauses=sum(wait >= PAUSE for wait in waits),
        longest=max(waits, default=0.0),
        silence=max(0.0, (events[-1].at if finish is None else finish) - last),
        finished=finish is not None,
        open=max(0.0, end - (events[-1].at if finish is None else finish)),
        # Tokens that are missing in the text would take time unseen.
        whole=counted is None or counted.difference <= SLACK,
    )


def _has_text(event: StreamEvent) -> bool:
    if event.type == "response.output_item.done":
        return nested(event.data, "item", "type") not in _TEXTS
    return carries_text(event) or event.type in _CALLS
