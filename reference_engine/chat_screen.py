"""The display of the terminal chat: the chain of thought is dim, calls are bold."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TextIO

from harmony.parse import FIRST_SPECIAL, Delta, Ended, Event, Started
from harmony.vocabulary import harmony_encoding, token_bytes

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_ALLOWED = "\n\t"


class Screen:
    """Writes styled text to a terminal, and plain text to other outputs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def note(self, text: str) -> None:
        """Write a line that is not part of the answer."""
        self._write(self._styled(text.rstrip(), _DIM) + "\n")

    def result(self, name: str, output: str) -> None:
        """Show the result of a tool."""
        self.note(f"{name} → {output}")

    def event(self, _: int, events: Sequence[Event]) -> None:
        """Show the next part of an answer. Each message starts on a new line."""
        for event in events:
            match event:
                case Started("reasoning" | "preamble"):
                    self._begin(_DIM)
                case Started("call", name):
                    self._begin(_BOLD)
                    self._write(f"{name} ")
                case Started():
                    self._begin("")
                case Delta(_, text):
                    self._write(_safe(text))
                case Ended():
                    self._begin("")
                    self._write("\n")

    def raw(self, token: int, _: Sequence[Event]) -> None:
        """Show a raw token. An incomplete character waits for its remaining bytes."""
        if token < FIRST_SPECIAL:
            self._write(_safe(self._characters.decode(token_bytes()[token])))
        else:
            self._write(self._styled(harmony_encoding().decode([token]), _BOLD))

    def prompt(self, tokens: Sequence[int]) -> None:
        """Show the prompt."""
        self.note(_safe(harmony_encoding().decode(list(tokens))))

    def end(self) -> None:
        """End the answer."""
        self._characters.reset()
        self._write((_PLAIN if self._colours else "") + "\n")

    def _begin(self, style: str) -> None:
        if self._colours:
            self._write(_PLAIN + style)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _safe(text: str) -> str:
    """The text without control characters, which could control the terminal."""
    return "".join(each for each in text if each.isprintable() or each in _ALLOWED)
