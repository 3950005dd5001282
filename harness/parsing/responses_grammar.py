"""The grammar of a Responses stream: items hold parts, parts hold texts, each opened and closed.

A walk over the events keeps what is open, and notes every place where an event does not fit. It
knows the events of the guide's dialect (`response.reasoning_text.*` in `response.content_part.*`),
of Open Responses (`response.reasoning.*`) and of vLLM (`response.reasoning_part.*`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.parsing.events import Breach, Event

TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
ITEMS = "responses.stream.items"
PARTS = "responses.stream.parts"
REASONING_PARTS = "responses.stream.reasoning_parts"
DONE_TEXT = "responses.stream.done_text"
MISSING_DONE = "responses.stream.done_missing"
ITEM_TEXT = "responses.stream.item_text"
ITEM_STATUS = "responses.stream.item_status"
CALL = "responses.stream.call"

_WHOLE_ITEM = "output_item.added, deltas, output_item.done, all with one item id"
_WHOLE_PART = "the part added, its deltas, its text done, the part done"


@dataclass(frozen=True)
class _Text:
    """A kind of streamed text: in what items it may stand, where its whole stands when done."""

    items: frozenset[str]
    whole: str = "text"
    index: str | None = "content_index"
    reasoning: bool = False


_REASONING = frozenset({"reasoning"})
_TEXTS: Mapping[str, _Text] = {
    "response.output_text": _Text(frozenset({"message"})),
    "response.refusal": _Text(frozenset({"message"}), whole="refusal"),
    "response.reasoning_text": _Text(_REASONING, reasoning=True),
    "response.reasoning": _Text(_REASONING, reasoning=True),
    "response.reasoning_summary_text": _Text(_REASONING, index="summary_index"),
    "response.function_call_arguments": _Text(
        frozenset({"function_call"}), whole="arguments", index=None
    ),
}
_PART_INDEX = {
    "response.content_part": "content_index",
    "response.reasoning_part": "content_index",
    "response.reasoning_summary_part": "summary_index",
}


@dataclass
class _Part:
    declared: bool
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
    parts: dict[tuple[str | None, str], _Part] = field(default_factory=dict)

    def count(self, index_key: str | None) -> int:
        return sum(key == index_key for key, _ in self.parts)


def breaches(events: Iterable[Event], *, cut_short: bool) -> tuple[Breach, ...]:
    """Where the items of a stream break its grammar.

    Args:
        events: The events of a known type.
        cut_short: The response ended at a limit, so that not everything need be closed.
    """
    walk = _Walk(cut_short=cut_short)
    for event in events:
        walk.read(event)
    walk.end()
    return tuple(walk.found)


class _Walk:
    def __init__(self, *, cut_short: bool) -> None:
        self.found: list[Breach] = []
        self._items: dict[str, _Item] = {}
        self._cut_short = cut_short

    def read(self, event: Event) -> None:
        """Take the next event."""
        stem, _, step = event.type.rpartition(".")
        data = event.data or {}
        if event.type == "response.output_item.added":
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
        """Note what was left open."""
        left = [index for index, item in self._items.items() if not item.done]
        if left and not self._cut_short:
            message = "An item was added and never done."
            got = f"output_index {left[0]}"
            self.found.append(Breach(ITEMS, message, "output_item.done", got))

    def _note(self, rule: str, event: Event, message: str, expected: str, got: str = "") -> None:
        self.found.append(Breach(rule, message, expected, got or event.text, event=event.number))

    def _open_item(self, event: Event, data: Mapping[str, Any]) -> None:
        index, item = repr(data.get("output_index")), data.get("item")
        opened = item if isinstance(item, dict) else {}
        if index in self._items:
            self._note(ITEMS, event, "An item is added twice.", _WHOLE_ITEM)
            return
        if index != str(len(self._items)):
            message = "output_index does not count up from 0."
            self._note(ITEMS, event, message, str(len(self._items)), index)
        self._items[index] = _Item(opened.get("id"), str(opened.get("type")), opened)
        if opened.get("status") == "completed":
            message = "An item is completed when it is added."
            self._note(ITEM_STATUS, event, message, "in_progress", "completed")
        if opened.get("type") == "function_call" and not (
            opened.get("call_id") and opened.get("name")
        ):
            message = "A function call is added without its call_id or name."
            self._note(CALL, event, message, "call_id and name")

    def _close_item(self, event: Event, data: Mapping[str, Any]) -> None:
        named = data.get("item")
        whole = named if isinstance(named, dict) else {}
        item = self._live(event, data, whole.get("id"))
        if item is None:
            return
        item.done = True
        if whole.get("status") == "in_progress":
            message = "An item that is done is still in progress."
            self._note(ITEM_STATUS, event, message, "completed", "in_progress")
        for key in ("call_id", "name"):
            if item.kind == "function_call" and whole.get(key) != item.opened.get(key):
                message = f"The {key} of a function call changes."
                self._note(CALL, event, message, repr(item.opened.get(key)), repr(whole.get(key)))
        if not self._cut_short:
            self._unclosed(event, item)
        self._compare(event, item, whole)

    def _unclosed(self, event: Event, item: _Item) -> None:
        if any(part.declared and not part.closed for part in item.parts.values()):
            self._note(PARTS, event, "An item is done before its part is.", _WHOLE_PART)
        if any(part.texts and not part.text_done for part in item.parts.values()):
            message = "An item is done, yet no event says so of its text."
            self._note(MISSING_DONE, event, message, "a done event with the whole text")

    def _compare(self, event: Event, item: _Item, whole: Mapping[str, Any]) -> None:
        streamed = {key: part.text for key, part in item.parts.items() if part.text}
        kinds: set[str | None] = {index_key for index_key, _ in streamed}
        if item.kind == "message":
            kinds.add("content_index")
        texts = _item_texts(whole).items()
        final = {key: text for key, text in texts if text and key[0] in kinds}
        if streamed != final:
            message = "The deltas of an item are not its text."
            self._note(ITEM_TEXT, event, message, _by_index(streamed), _by_index(final))

    def _part(self, event: Event, data: Mapping[str, Any], index_key: str, step: str) -> None:
        item = self._live(event, data, data.get("item_id"))
        if item is None:
            return
        place = (index_key, repr(data.get(index_key)))
        part = item.parts.get(place)
        if step == "added":
            if part is not None:
                self._note(PARTS, event, "A part is added twice.", _WHOLE_PART)
            elif place[1] != str(item.count(index_key)):
                expected = str(item.count(index_key))
                message = f"{index_key} does not count up from 0."
                self._note(PARTS, event, message, expected, place[1])
            item.parts.setdefault(place, _Part(declared=True))
        elif part is None or not part.declared or part.closed:
            self._note(PARTS, event, "A part is done that is not open.", _WHOLE_PART)
        else:
            part.closed = True
            said = data.get("part")
            text = (said.get("text") or said.get("refusal")) if isinstance(said, dict) else None
            if part.texts and (text or "") != part.text:
                message = "The text of a part that is done is not its deltas."
                self._note(ITEM_TEXT, event, message, repr(part.text), repr(text))

    def _text(self, event: Event, data: Mapping[str, Any], kind: _Text, step: str) -> None:
        item = self._live(event, data, data.get("item_id"))
        if item is None:
            return
        if item.kind not in kind.items:
            message = f"{event.type} is about an item of type {item.kind}."
            self._note(ITEMS, event, message, f"an item of type {', '.join(kind.items)}")
            return
        part = self._part_of(event, data, kind, item)
        if part.closed:
            self._note(PARTS, event, f"{event.type} comes after its part was done.", _WHOLE_PART)
        elif part.text_done:
            message = f"{event.type} comes after the text was done."
            self._note(DONE_TEXT, event, message, "nothing more")
        elif step == "delta":
            delta = data.get("delta")
            part.texts += [delta] if isinstance(delta, str) else []
        elif step == "done":
            part.text_done = True
            if data.get(kind.whole) != part.text:
                message = f"{event.type} differs from the deltas before it."
                self._note(DONE_TEXT, event, message, repr(part.text), repr(data.get(kind.whole)))

    def _part_of(self, event: Event, data: Mapping[str, Any], kind: _Text, item: _Item) -> _Part:
        place = (kind.index, repr(data.get(kind.index)) if kind.index else "")
        if place in item.parts:
            return item.parts[place]
        if kind.index is not None:
            declared = any(part.declared for part in item.parts.values())
            rule = REASONING_PARTS if kind.reasoning and not declared else PARTS
            message = f"{event.type} comes before its part was added."
            self._note(rule, event, message, _WHOLE_PART)
        return item.parts.setdefault(place, _Part(declared=False))

    def _live(self, event: Event, data: Mapping[str, Any], item_id: object) -> _Item | None:
        """The open item that an event is about; None, with a breach, where there is none."""
        item = self._items.get(repr(data.get("output_index")))
        reason = None
        if item is None:
            reason = f"{event.type} comes before its item was added."
        elif item.done:
            reason = f"{event.type} comes after its item was done."
        elif item_id != item.id:
            reason = f"{event.type} names another item id than the item was added with."
        if reason is not None:
            self._note(ITEMS, event, reason, _WHOLE_ITEM)
            return None
        return item


def _item_texts(item: Mapping[str, Any]) -> dict[tuple[str | None, str], str]:
    """The texts of an item by the place in which they are streamed."""
    if item.get("type") == "function_call":
        return {(None, ""): str(item.get("arguments") or "")}
    texts: dict[tuple[str | None, str], str] = {}
    for key, index_key in (("content", "content_index"), ("summary", "summary_index")):
        parts = item.get(key)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                text = part.get("text") or part.get("refusal") or ""
                texts[index_key, repr(index)] = str(text)
    return texts


def _by_index(texts: Mapping[tuple[str | None, str], str]) -> str:
    return ", ".join(
        f"{key or 'arguments'} {index}: {text!r}" for (key, index), text in texts.items()
    )
