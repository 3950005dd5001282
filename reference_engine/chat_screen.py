"""What the terminal chat shows: the chain of thought dimmed, calls and results marked."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TextIO

from harmony.parse import FIRST_SPECIAL, Delta, Ended, Event, Started
from harmony.vocabulary import harmony_encoding, token_bytes

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_ALLOWED = "\n\t"


class Screen:
    """Writes to a terminal, or plain text to anything else.

    Args:
        out: Where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def note(self, text: str) -> None:
        """A line of ours, not of the model."""
        self._write(self._styled(text.rstrip(), _DIM) + "\n")

    def result(self, name: str, output: str) -> None:
        """What a tool returned."""
        self.note(f"{name} → {output}")

    def event(self, _: int, events: Sequence[Event]) -> None:
        """The next part of an answer; a message begins on a line of its own."""
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
        """A token as it is, markers included; half a character waits for its other half."""
        if token < FIRST_SPECIAL:
            self._write(_safe(self._characters.decode(token_bytes()[token])))
        else:
            self._write(self._styled(harmony_encoding().decode([token]), _BOLD))

    def prompt(self, tokens: Sequence[int]) -> None:
        """What the model is given to read."""
        self.note(_safe(harmony_encoding().decode(list(tokens))))

    def end(self) -> None:
        """The answer is over."""
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
    """Without control characters: what a model writes must not steer the terminal."""
    return "".join(each for each in text if each.isprintable() or each in _ALLOWED)
