"""Responses kept in memory, for `previous_response_id` and for GET."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from harmony.conversation import Call, ConversationItem, Result


@dataclass(frozen=True)
class Stored:
    """A response and the conversation it belongs to.

    Attributes:
        id: The id of the response.
        response: The response as the client got it, encoded.
        turns: All turns up to and including its own output, without `instructions`.
        items: The turn of each of its output items, with the call id of calls.
        calls: The calls in it that still need an output, name by call id.
        input: The items of its own input, encoded as they are listed.
    """

    id: str
    response: bytes
    turns: tuple[ConversationItem, ...]
    items: dict[str, tuple[ConversationItem, str | None]] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)
    input: bytes = b"[]"

    @property
    def size(self) -> int:
        """About how many bytes it takes; texts shared with other responses count again."""
        texts = sum(len(_text(turn)) for turn in self.turns)
        return texts + 100 * len(self.turns) + len(self.response) + len(self.input)


class ResponseStore:
    """Keeps the responses used last, within a number and a size."""

    def __init__(self, max_responses: int, max_bytes: int) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._bytes = 0
        self._stored: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._items: dict[str, str] = {}

    def put(self, stored: Stored) -> None:
        """Keep a response, and forget those unused for longest where it gets too much.

        One that is too large by itself is not kept, so that it cannot push out all others.
        """
        size = stored.size
        if size > self._max_bytes:
            return
        self._stored[stored.id] = (stored, size)
        self._bytes += size
        self._items |= dict.fromkeys(stored.items, stored.id)
        while len(self._stored) > self._max_responses or self._bytes > self._max_bytes:
            self.delete(next(iter(self._stored)))

    def get(self, response_id: str) -> Stored | None:
        """A response, now the one used last."""
        if response_id not in self._stored:
            return None
        self._stored.move_to_end(response_id)
        return self._stored[response_id][0]

    def item(self, item_id: str) -> tuple[ConversationItem, str | None] | None:
        """The turn of an output item, with its call id if it is a call."""
        stored = self.get(self._items.get(item_id, ""))
        return stored.items[item_id] if stored else None

    def delete(self, response_id: str) -> bool:
        """Forget a response; False if there is none of this id."""
        if response_id not in self._stored:
            return False
        stored, size = self._stored.pop(response_id)
        self._bytes -= size
        for item_id in stored.items:
            del self._items[item_id]
        return True


@dataclass(frozen=True)
class Memory:
    """What a request can go back to: the server's store, and the one of its connection."""

    shared: ResponseStore
    own: ResponseStore | None = None

    def put(self, stored: Stored, *, share: bool) -> None:
        """Keep a response for the connection and, if it may, for everybody."""
        for store in self._stores if share else self._stores[:-1]:
            store.put(stored)

    def get(self, response_id: str) -> Stored | None:
        """A response, wherever it is kept."""
        found = (store.get(response_id) for store in self._stores)
        return next(filter(None, found), None)

    def item(self, item_id: str) -> tuple[ConversationItem, str | None] | None:
        """The turn of an output item, with its call id if it is a call."""
        found = (store.item(item_id) for store in self._stores)
        return next(filter(None, found), None)

    @property
    def _stores(self) -> tuple[ResponseStore, ...]:
        return (self.shared,) if self.own is None else (self.own, self.shared)


def _text(turn: ConversationItem) -> str:
    match turn:
        case Call(_, text) | Result(_, text):
            return text
        case _:
            return turn.text
