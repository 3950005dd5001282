"""The grammar of a Responses stream: items contain parts, parts contain text.

A walker tracks what is open and records every violation. It accepts the events of OpenAI's guide
(`response.reasoning_text.*` in `response.content_part.*`), of Open Responses
(`response.reasoning.*`) and of vLLM (`response.reasoning_part.*`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.api.fields import nested
from harness.api.responses import FINAL_EVENTS
from harness.api.sse import StreamEvent
from harness.api.stream_events import Violation
from harness.text import differ_in_space, shared_beginning

ITEMS = "items"
ITEMS_INDEX = "items.index"
ITEMS_REPEATED = "items.repeated"
ITEMS_ID = "items.id"
ITEMS_CHANGED = "items.changed"
PARTS = "parts"
REASONING_PARTS = "reasoning_parts"
DONE_TEXT = "done_text"
MISSING_DONE = "done_missing"
ITEM_TEXT = "item_text"
ITEM_STATUS = "item_status"
CALL = "call"
CALL_DELTAS = "call.deltas"
SEQUENCE = "sequence"
CREATED = "created"
TERMINAL = "terminal"
ID = "id"
EVENT_NAME = "event_name"

_ITEM_SEQUENCE = "output_item.added, deltas, output_item.done, all with the same item id"
_PART_SEQUENCE = "part added, deltas, text done, part done"
_CONTEXT = 40


@dataclass(frozen=True)
class _Text:
    """A kind of streamed text: the items that contain it, and the field of the complete text."""

    items: frozenset[str]
    full: str = "text"
    index: str | None = "content_index"


_REASONING, _CALLS = frozenset({"reasoning"}), frozenset({"function_call"})
_PROGRAMS, _MCP_CALLS = frozenset({"code_interpreter_call"}), frozenset({"mcp_call"})
_TEXTS: Mapping[str, _Text] = {
    "response.output_text": _Text(frozenset({"message"})),
    "response.refusal": _Text(frozenset({"message"}), full="refusal"),
    "response.reasoning_text": _Text(_REASONING),
    "response.reasoning": _Text(_REASONING),
    "response.reasoning_summary_text": _Text(_REASONING, index="summary_index"),
    "response.function_call_arguments": _Text(_CALLS, full="arguments", index=None),
    "response.code_interpreter_call_code": _Text(_PROGRAMS, full="code", index=None),
    "response.mcp_call_arguments": _Text(_MCP_CALLS, full="arguments", index=None),
}
_PART_INDEX = {
    "response.content_part": "content_index",
    "response.reasoning_part": "content_index",
    "response.reasoning_summary_part": "summary_index",
}


@dataclass
class _ContentPart:
    declared: bool
    begun: bool = False  # whether it had text when it was added
    texts: list[str] = field(default_factory=list)
    text_done: bool = False
    closed: bool = False

    @property
    def text(self) -> str:
        return "".join(self.texts)


@dataclass
class _Item:
    id: object
    kind: str
    opened: Mapping[str, Any]
    done: bool = False
    parts: dict[tuple[str | None, str], _ContentPart] = field(default_factory=dict)

    def count(self, index_key: str | None) -> int:
        return sum(key == index_key for key, _ in self.parts)


def violations(events: Iterable[StreamEvent], *, truncated: bool) -> tuple[Violation, ...]:
    """Every violation in the events of known types; in a `truncated` reply, items may stay open."""
    walker = _ResponsesWalker(truncated=truncated)
    for event in events:
        walker.read(event)
    walker.end()
    return tuple(walker.found)


class _ResponsesWalker:
    def __init__(self, *, truncated: bool) -> None:
        self.found: list[Violation] = []
        self._items: dict[str, _Item] = {}
        self._truncated = truncated
        self._number = -1
        self._id: object = None
        self._failed = False
        self._last: StreamEvent | None = None
        self._ends: list[StreamEvent] = []
        self._misnumbered = False

    def read(self, event: StreamEvent) -> None:
        """Read the next event."""
        stem, _, step = event.type.rpartition(".")
        data = event.data or {}
        self._any(event, data)
        if event.type in ("response.created", "response.in_progress"):
            self._begin(event, nested(data, "response", "status"))
        elif event.type == "response.output_item.added":
            self._open_item(event, data)
        elif event.type == "response.output_item.done":
            self._close_item(event, data)
        elif stem in _PART_INDEX:
            self._part(event, data, _PART_INDEX[stem], step)
        elif stem in _TEXTS:
            self._text(event, data, _TEXTS[stem], step)
        elif "output_index" in data:
            self._live(event, data, data.get("item_id"))

    def end(self) -> None:
        """Record what is still open at the end."""
        left = [index for index, item in self._items.items() if not item.done]
        if left and not self._truncated:
            message = "An item was added but never closed with output_item.done."
            got = f"output_index {left[0]}"
            self.found.append(Violation(ITEMS, message, "output_item.done", got))
        last = self._last
        if last is not None and not last.is_error and self._ends != [last]:
            message = f"The stream ends with {last.type}, without a terminal event."
            if self._ends:
                message = f"The stream goes on after {self._ends[0].type}."
            expected = "one response.completed, response.incomplete or response.failed at the end"
            self._report(TERMINAL, last, message, expected, last.text)

    def _report(
        self,
        rule: str,
        event: StreamEvent,
        message: str,
        expected: str,
        got: str = "",
        path: str | None = None,
    ) -> None:
        self.found.append(Violation(rule, message, expected, got or event.text, path, event.number))

    def _any(self, event: StreamEvent, data: Mapping[str, Any]) -> None:
        """Check what holds for events of all types, up to the first that reports a failure."""
        first, self._last = self._last is None, event
        self._failed = self._failed or event.is_error
        if event.type in FINAL_EVENTS:
            self._ends.append(event)
        if event.name != event.type:
            differs = "The `event:` line of an event differs from its type."
            message = differs if event.name else "An event has no `event:` line."
            self._report(EVENT_NAME, event, message, event.type, event.name or "no event: line")
        if isinstance(data.get("response"), dict):
            given = data["response"].get("id")
            self._id = self._id or given
            if given != self._id:
                message = f"{event.type} has a different response id than the events before it."
                self._report(ID, event, message, repr(self._id), repr(given), "$.response.id")
        if self._failed:
            return
        number = data.get("sequence_number")
        if not isinstance(number, int) or number <= self._number:
            why = "does not increase" if isinstance(number, int) else "is not an integer"
            message = f"sequence_number {why} in {event.type}."
            expected = f"more than {self._number}"
            self._report(SEQUENCE, event, message, expected, repr(number), "$.sequence_number")
        else:
            self._number = number
        if (event.type == "response.created") is not first:
            message = "The stream does not begin with exactly one response.created event."
            expected = "response.created" if first else "no second response.created"
            self._report(CREATED, event, message, expected, event.type)

    def _differ(
        self, rule: str, event: StreamEvent, message: str, deltas: str, final: object
    ) -> None:
        """Record two texts that must agree; which one is wrong is unknown."""
        text = final if isinstance(final, str) else repr(final)
        if differ_in_space(deltas, text):
            message = f"{message} Only white space differs."
        at = shared_beginning(deltas, text)
        start = max(0, at - _CONTEXT)
        ours, theirs = (repr(side[start : at + _CONTEXT]) for side in (deltas, text))
        got = (
            f"they differ after {at} characters: …{ours} in the deltas, …{theirs} in the final text"
        )
        self._report(rule, event, message, "the same text in both", got)

    def _begin(self, event: StreamEvent, status: object) -> None:
        if status in FINAL_EVENTS.values():
            message = f"The response already has its final status in {event.type}."
            self._report(ITEM_STATUS, event, message, "in_progress", repr(status))

    def _open_item(self, event: StreamEvent, data: Mapping[str, Any]) -> None:
        index, item = repr(data.get("output_index")), data.get("item")
        opened = item if isinstance(item, dict) else {}
        known = self._items.get(index)
        if known is not None and known.id == opened.get("id"):
            message = "output_item.added was sent twice for one item."
            self._report(ITEMS, event, message, _ITEM_SEQUENCE)
            return
        if index != str(len(self._items)):
            rule, message = ITEMS_INDEX, "output_index does not increase by one from 0."
            if known is not None and "output_index" in data:
                rule, message = ITEMS_REPEATED, "Two items have the same output_index."
            self._report(rule, event, message, str(len(self._items)), index)
            self._misnumbered = True
        if known is not None:
            return
        self._items[index] = _Item(opened.get("id"), str(opened.get("type")), opened)
        if opened.get("status") == "completed":
            message = "An item already has status completed when it is added."
            self._report(ITEM_STATUS, event, message, "in_progress", "completed")
        # A model may write a header without a name (calls.name.polluted).
        named = opened.get("call_id") and opened.get("name") is not None
        if opened.get("type") == "function_call" and not named:
            message = "A function_call item was added without call_id or name."
            self._report(CALL, event, message, "call_id and name")

    def _close_item(self, event: StreamEvent, data: Mapping[str, Any]) -> None:
        raw_item = data.get("item")
        final = raw_item if isinstance(raw_item, dict) else {}
        item = self._live(event, data, final.get("id"))
        if item is None:
            return
        item.done = True
        if final.get("status") == "in_progress":
            message = "An item still has status in_progress in output_item.done."
            self._report(ITEM_STATUS, event, message, "completed", "in_progress")
        for key in ("call_id", "name"):
            if item.kind == "function_call" and final.get(key) != item.opened.get(key):
                message = f"The {key} of a function call changes during the stream."
                self._report(CALL, event, message, repr(item.opened.get(key)), repr(final.get(key)))
        if not self._truncated:
            self._unclosed(event, item)
        self._compare(event, item, final)

    def _unclosed(self, event: StreamEvent, item: _Item) -> None:
        if any(part.declared and not part.closed for part in item.parts.values()):
            message = "An item was closed before its content part."
            rule = REASONING_PARTS if item.kind in _REASONING else PARTS
            self._report(rule, event, message, _PART_SEQUENCE)
        texts = [part for part in item.parts.values() if part.texts or item.kind in _CALLS]
        if any(not part.text_done for part in texts) or (item.kind in _CALLS and not texts):
            message = "An item was closed without a done event for its text."
            self._report(MISSING_DONE, event, message, "a done event with the complete text")

    def _compare(self, event: StreamEvent, item: _Item, final: Mapping[str, Any]) -> None:
        streamed = _in_order({key: part.text for key, part in item.parts.items()})
        kinds: set[str | None] = {index_key for index_key, _ in streamed}
        if item.kind == "message":
            kinds.add("content_index")
        texts = _in_order(_item_texts(final))
        final_texts = {key: text for key, text in texts.items() if key[0] in kinds}
        if streamed != final_texts:
            message = "The deltas of an item do not add up to its final text."
            self._differ(ITEM_TEXT, event, message, _by_index(streamed), _by_index(final_texts))

    def _part(self, event: StreamEvent, data: Mapping[str, Any], index_key: str, step: str) -> None:
        item = self._live(event, data, data.get("item_id"))
        if item is None:
            return
        if item.kind in _REASONING and nested(data, "part", "type") == "output_text":
            message, expected = "A part of the CoT has the type of an answer.", "reasoning_text"
            self._report(REASONING_PARTS, event, message, expected, "output_text")
        place = (index_key, repr(data.get(index_key, 0)))  # The schema requires the index.
        part = item.parts.get(place)
        if step == "added":
            if part is not None:
                self._report(PARTS, event, "A content part was added twice.", _PART_SEQUENCE)
            elif place[1] != str(item.count(index_key)):
                expected = str(item.count(index_key))
                message = f"{index_key} does not increase by one from 0."
                self._report(PARTS, event, message, expected, place[1])
            begun = bool(nested(data, "part", "text"))
            item.parts.setdefault(place, _ContentPart(declared=True, begun=begun))
        elif part is None or not part.declared or part.closed:
            message = "A content part was closed that is not open."
            self._report(PARTS, event, message, _PART_SEQUENCE)
        else:
            part.closed = True
            text = nested(data, "part", "text") or nested(data, "part", "refusal") or ""
            if part.texts and part.begun:
                message = "A content part had text when it was added, to which clients add deltas."
                self._report(ITEM_TEXT, event, message, "no text in content_part.added")
            elif part.texts and text != part.text:
                message = "The final text of a content part differs from its deltas."
                self._differ(ITEM_TEXT, event, message, part.text, text)

    def _text(self, event: StreamEvent, data: Mapping[str, Any], kind: _Text, step: str) -> None:
        item = self._live(event, data, data.get("item_id"))
        if item is None:
            return
        if item.kind not in kind.items:
            message = f"{event.type} refers to an item of type {item.kind}."
            self._report(ITEMS, event, message, f"an item of type {', '.join(kind.items)}")
            return
        part = self._part_of(event, data, kind, item)
        if part.closed:
            message = f"{event.type} was sent after its part was closed."
            self._report(PARTS, event, message, _PART_SEQUENCE)
        elif part.text_done:
            message = f"{event.type} was sent after the done event of the text."
            self._report(DONE_TEXT, event, message, "no further deltas")
        elif step == "delta":
            delta = data.get("delta")
            part.texts += [delta] if isinstance(delta, str) else []
        elif step == "done":
            part.text_done = True
            if kind.items == _CALLS and data.get(kind.full) and not part.texts:
                message = "The arguments of a call are in the done event only."
                self._report(CALL_DELTAS, event, message, "deltas before the done event")
            elif data.get(kind.full) != part.text:
                message = f"{event.type} differs from the preceding deltas."
                if not part.texts:
                    message = f"No delta precedes {event.type}, which has a text."
                self._differ(DONE_TEXT, event, message, part.text, data.get(kind.full))

    def _part_of(
        self, event: StreamEvent, data: Mapping[str, Any], kind: _Text, item: _Item
    ) -> _ContentPart:
        place = (kind.index, repr(data.get(kind.index, 0)) if kind.index else "")
        if place in item.parts:
            return item.parts[place]
        if kind.index is not None:
            declared = any(part.declared for part in item.parts.values())
            rule = REASONING_PARTS if item.kind in _REASONING and not declared else PARTS
            message = f"{event.type} was sent before its part was added."
            self._report(rule, event, message, _PART_SEQUENCE)
        return item.parts.setdefault(place, _ContentPart(declared=False))

    def _live(self, event: StreamEvent, data: Mapping[str, Any], item_id: object) -> _Item | None:
        """The open item that an event refers to; None, with a violation, without such an item."""
        index = repr(data.get("output_index"))
        item = self._items.get(index)
        if item_id is not None and (item is None or item.id != item_id):
            added = (at for at, each in self._items.items() if each.id == item_id)
            if (named := next(added, None)) is not None:
                message = f"{event.type} has a different output_index than output_item.added."
                self._report(ITEMS_INDEX, event, message, named, index, "$.output_index")
                item = self._items[named]
        rule, reason, path = ITEMS, None, None
        if item is None:
            reason = f"{event.type} was sent before its item was added."
        elif item.done:
            reason = f"{event.type} was sent after its item was closed."
        elif item_id != item.id:
            rule = ITEMS_CHANGED if event.type == "response.output_item.done" else ITEMS_ID
            reason = f"{event.type} has a different item id than output_item.added."
            path = "$.item.id" if item.id is None else "$.item_id"
        if reason is not None and not self._misnumbered:  # a wrong index names a wrong item
            self._report(rule, event, reason, _ITEM_SEQUENCE, path=path)
        return None if reason is not None and rule == ITEMS else item


def _item_texts(item: Mapping[str, Any]) -> dict[tuple[str | None, str], str]:
    if item.get("type") in ("function_call", "mcp_call"):
        return {(None, ""): str(item.get("arguments") or "")}
    if item.get("type") == "code_interpreter_call":
        return {(None, ""): str(item.get("code") or "")}
    texts: dict[tuple[str | None, str], str] = {}
    for key, index_key in (("content", "content_index"), ("summary", "summary_index")):
        parts = item.get(key)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                texts[index_key, repr(index)] = str(part.get("text") or part.get("refusal") or "")
    return texts


def _in_order(
    texts: Mapping[tuple[str | None, str], str],
) -> dict[tuple[str | None, str], str]:
    """Return the texts that are not empty, numbered as they come: `PARTS` judges their indices."""
    kinds: Counter[str | None] = Counter()
    numbered = {}
    for (index_key, index), text in texts.items():
        if text:
            numbered[index_key, repr(kinds[index_key]) if index_key else index] = text
            kinds[index_key] += 1
    return numbered


def _by_index(texts: Mapping[tuple[str | None, str], str]) -> str:
    return ", ".join(
        f"{key or 'arguments'} {index}: {text!r}" for (key, index), text in texts.items()
    )
