"""The parts of an answer, and how much of its text may be shown when."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from harmony.parse import Delta, Ended, Kind, Started
from reference_engine.generation.sampling import Token
from reference_engine.server.stops import StopStrings


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a message, with the tokens that made it where logprobs were asked for."""

    kind: Kind
    text: str
    tokens: tuple[Token, ...] = ()


Part = Started | Piece | Ended


class ShownText:
    """What the user sees: stop strings act on answers, and each piece knows its tokens.

    Attributes:
        tokens: The tokens whose text has not come yet.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self.tokens: list[Token] = []
        self._strings = strings
        self._stops = StopStrings(())
        self._waiting: deque[tuple[int, Token]] = deque()
        self._came = 0
        self._went = 0

    @property
    def hit(self) -> bool:
        """A stop string ended the answer."""
        return self._stops.hit

    def start(self, message: Started) -> None:
        """Begin another message."""
        self.tokens.clear()
        self._waiting.clear()
        self._came = self._went = 0
        self._stops = StopStrings(self._strings if message.kind == "answer" else ())

    def add(self, delta: Delta) -> list[Part]:
        """The piece that may be shown after this text, if any."""
        self._came += len(delta.text)
        self._waiting.extend((self._came, token) for token in self.tokens)
        self.tokens.clear()
        return self._piece(delta.kind, self._stops.feed(delta.text))

    def flush(self, message: Ended) -> list[Part]:
        """The piece that was held back, if any."""
        return self._piece(message.kind, self._stops.flush())

    def _piece(self, kind: Kind, text: str) -> list[Part]:
        self._went += len(text)
        tokens = []
        while self._waiting and self._waiting[0][0] <= self._went:
            tokens.append(self._waiting.popleft()[1])
        return [Piece(kind, text, tuple(tokens))] if text else []
