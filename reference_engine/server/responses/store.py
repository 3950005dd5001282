"""Responses stored in memory, for `previous_response_id` and GET, and pages of their input."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from harmony.conversation import ConversationItem, texts_of
from reference_engine.server.api_error import invalid

T = TypeVar("T")
_LIMIT: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=100)])
_ORDER: TypeAdapter[str] = TypeAdapter(Literal["asc", "desc"])
_DEFAULTS = {"limit": "20", "order": "desc"}


@dataclass(frozen=True)
class Stored:
    """A response and its conversation."""

    id: str
    response: bytes  # the encoded response
    history: tuple[ConversationItem, ...]
    """The conversation up to and including its output, without `instructions`."""
    items: dict[str, tuple[tuple[ConversationItem, ...], str | None]] = field(default_factory=dict)
    """The conversation items of each output item and, for a call, the call id."""
    calls: dict[str, str] = field(default_factory=dict)
    """The names of calls without a result, by call id."""
    input: bytes = b"[]"  # the encoded list of its input items

    @property
    def size(self) -> int:
        """The approximate size in bytes. Texts shared with other responses are counted again."""
        texts = sum(len(text) for entry in self.history for text in texts_of(entry))
        return texts + 100 * len(self.history) + len(self.response) + len(self.input)


class ResponseStore:
    """Stores the most recently used responses, up to a number and a size."""

    def __init__(self, max_responses: int, max_bytes: int) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._bytes = 0
        self._stored: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._items: dict[str, str] = {}

    def put(self, stored: Stored) -> None:
        """Store a response unless it is too large, removing the least recently used ones."""
        size = stored.size
        if size > self._max_bytes:
            return
        self._stored[stored.id] = (stored, size)
        self._bytes += size
        self._items |= dict.fromkeys(stored.items, stored.id)
        while len(self._stored) > self._max_responses or self._bytes > self._max_bytes:
            self.delete(next(iter(self._stored)))

    def get(self, response_id: str) -> Stored | None:
        """A response, which becomes the most recently used one."""
        if response_id not in self._stored:
            return None
        self._stored.move_to_end(response_id)
        return self._stored[response_id][0]

    def item(self, item_id: str) -> tuple[tuple[ConversationItem, ...], str | None] | None:
        """The conversation items of an output item, with the call id of a call."""
        stored = self.get(self._items.get(item_id, ""))
        return stored.items[item_id] if stored else None

    def delete(self, response_id: str) -> None:
        """Delete a response if it is stored."""
        if response_id not in self._stored:
            return
        stored, size = self._stored.pop(response_id)
        self._bytes -= size
        for item_id in stored.items:
            del self._items[item_id]


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """The part of the list selected by `limit`, `order` and `after`. Raises ApiError."""
    options = _DEFAULTS | dict(query)
    limit = _checked(_LIMIT, "limit", options)
    in_order = list(items if _checked(_ORDER, "order", options) == "asc" else reversed(items))
    if after := options.get("after"):
        places = [at for at, item in enumerate(in_order) if item["id"] == after]
        if not places:
            raise invalid("after", f"'after' is '{after}', but no input item has this id.")
        in_order = in_order[places[0] + 1 :]
    shown = in_order[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(in_order) > limit,
    }


def _checked(adapter: TypeAdapter[T], name: str, options: Mapping[str, str]) -> T:
    try:
        return adapter.validate_python(options[name])
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"]
        raise invalid(name, f"Invalid value for '{name}': {reason}.") from error
