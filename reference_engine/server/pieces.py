"""The pieces of an answer: stop strings, and the tokens and log probabilities of each piece."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harmony.parse import Delta, Ended, Kind, Started
from harmony.vocabulary import bytes_of
from reference_engine.generation.sampling import Token


def logprob(token: Token) -> dict[str, Any]:
    """A token with its logprob and the most probable alternatives, as both APIs return it."""
    alternatives = [_named(other, value) for other, value in token.top]
    return _named(token.id, token.logprob) | {"top_logprobs": alternatives}


def _named(token: int, value: float | None) -> dict[str, Any]:
    data = bytes_of(token)
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": value}


class StopStrings:
    """Ends a text before a stop string (`hit`), and holds back text that may start one."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.hit = False
        self._strings = tuple(strings)
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that can be sent now."""
        if not self._strings:
            return text
        self._held += text
        found = [at for string in self._strings if (at := self._held.find(string)) >= 0]
        if found:
            self.hit = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = max(self._overlap(string) for string in self._strings)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def flush(self) -> str:
        """The text held back, at the end of the message."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, string: str) -> int:
        """The length of the longest suffix of the held-back text that is a prefix of the string."""
        longest = min(len(self._held), len(string) - 1)
        return next((n for n in range(longest, 0, -1) if self._held.endswith(string[:n])), 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a message, with its tokens if the request asks for logprobs."""

    kind: Kind
    text: str
    tokens: tuple[Token, ...] = ()


Part = Started | Piece | Ended


class VisibleText:
    """The text for clients, up to a stop string; `tokens` are those whose text is held back."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        self.tokens: list[Token] = []
        self._strings = strings
        self._stops = StopStrings(())
        self._waiting: deque[tuple[int, Token]] = deque()
        self._received = 0
        self._sent = 0

    @property
    def hit(self) -> bool:
        """Whether a stop string ended the answer."""
        return self._stops.hit

    def start(self, message: Started) -> None:
        """Start a message."""
        self.tokens.clear()
        self._waiting.clear()
        self._received = self._sent = 0
        self._stops = StopStrings(self._strings if message.kind == "answer" else ())

    def add(self, delta: Delta) -> list[Part]:
        """The piece that can be sent after this text, if any."""
        self._received += len(delta.text)
        self._waiting.extend((self._received, token) for token in self.tokens)
        self.tokens.clear()
        return self._piece(delta.kind, self._stops.feed(delta.text))

    def flush(self, message: Ended) -> list[Part]:
        """The piece held back, if any."""
        return self._piece(message.kind, self._stops.flush())

    def _piece(self, kind: Kind, text: str) -> list[Part]:
        self._sent += len(text)
        tokens = []
        while self._waiting and self._waiting[0][0] <= self._sent:
            tokens.append(self._waiting.popleft()[1])
        return [Piece(kind, text, tuple(tokens))] if text else []
