"""Parsers that faults put in place of the healthy one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

from harmony.parse import (
    FIRST_SPECIAL,
    STOP_TOKENS,
    Delta,
    Ended,
    Event,
    HarmonyParser,
    Kind,
    Started,
)
from harmony.vocabulary import harmony_encoding

Filter = Callable[[Event], Iterable[Event]]


class Filtered(HarmonyParser):
    """Another parser, with each of its events replaced by those that `change` makes of it."""

    def __init__(self, inner: HarmonyParser, change: Filter) -> None:
        super().__init__()
        self._inner = inner
        self._change = change

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about."""
        return self._changed(self._inner.feed(token))

    def finish(self) -> list[Event]:
        """The events due when no more tokens come."""
        return self._changed(self._inner.finish())

    def _changed(self, events: Iterable[Event]) -> list[Event]:
        self.open, self.done = self._inner.open, self._inner.done
        return [made for event in events for made in self._change(event)]


def recast(parser: HarmonyParser, old: Kind, new: Kind) -> HarmonyParser:
    """A parser whose messages of one kind come as another."""

    def change(event: Event) -> Iterable[Event]:
        return [replace(event, kind=new) if event.kind == old else event]

    return Filtered(parser, change)


def without(parser: HarmonyParser, kind: Kind) -> HarmonyParser:
    """A parser that loses all messages of a kind."""
    return Filtered(parser, lambda event: [] if event.kind == kind else [event])


class Unparsed(HarmonyParser):
    """Takes all tokens up to a stop token for the text of one answer."""

    def __init__(self, *, markers: bool) -> None:
        super().__init__()
        self._markers = markers

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about."""
        if self.done:
            return []
        events: list[Event] = []
        if self.open is None:
            self.open = Started("answer")
            events.append(self.open)
        if token in STOP_TOKENS:
            self.done = True
        if text := self._shown(token):
            events.append(Delta("answer", text))
        return [*events, Ended("answer")] if self.done else events

    def _shown(self, token: int) -> str:
        if token < FIRST_SPECIAL:
            return self._text.decode(self._bytes[token])
        return harmony_encoding().decode([token]) if self._markers else ""


class Endless(HarmonyParser):
    """Does not know any marker inside a message but the stop tokens."""

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about."""
        if self.open and token >= FIRST_SPECIAL and token not in STOP_TOKENS:
            return [Delta(self.open.kind, harmony_encoding().decode([token]))]
        return super().feed(token)


class Tokenwise(HarmonyParser):
    """Decodes each token by itself, so that characters of several tokens are broken."""

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about."""
        if self.open and token < FIRST_SPECIAL:
            return [Delta(self.open.kind, self._bytes[token].decode("utf-8", "replace"))]
        return super().feed(token)


class Shared(HarmonyParser):
    """Reads with the one parser of the process, which each new request starts afresh."""

    _current: ClassVar[list[HarmonyParser]] = []

    def __init__(self, inner: HarmonyParser) -> None:
        super().__init__()
        self._current[:] = [inner]

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about, whoever's message it is put into."""
        (parser,) = self._current
        events = parser.feed(token)
        self.open, self.done = parser.open, parser.done
        return events


class Unstopped(HarmonyParser):
    """Goes on after the given stop token, whoever the model then speaks for."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self._token = token

    def feed(self, token: int) -> list[Event]:
        """The events that one more token brings about."""
        events = super().feed(token)
        if token == self._token:
            self.done = False
        return events

    def _start_message(self) -> list[Event]:
        events = super()._start_message()
        if not events:
            self.done = False
            self.open = Started("answer")
            events.append(self.open)
        return events
