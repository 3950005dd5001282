"""The text that clients receive: up to a stop string, with the log probabilities of its tokens."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.parse import Delta, Ended, Event, Kind, Started, item_of
from harmony.vocabulary import bytes_of
from reference_engine.generation.sampling import Token


class StopStrings:
    """Ends a text before a stop string (`hit`), and holds back text that may start one."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.hit = False
        self._strings = tuple(strings)
        self._held = ""

    def feed(self, text: str) -> str:
        """Return the text that can be sent now."""
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
        """Return the text held back, at the end of the message."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, string: str) -> int:
        """Measure the longest suffix of the held-back text that is a prefix of the string."""
        longest = min(len(self._held), len(string) - 1)
        return next((n for n in range(longest, 0, -1) if self._held.endswith(string[:n])), 0)


class VisibleText:
    """Converts the parser's events to those for clients.

    A stop string ends the answer (`hit`). `tokens` are the sampled tokens with logprobs whose text
    is held back, and `items` are the messages as clients receive them.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self.tokens: list[Token] = []
        self.items: list[Reasoning | Preamble | Answer | Call] = []
        self._strings = strings
        self._stops = StopStrings(())
        self._message = Started("answer")
        self._texts: list[str] = []  # the text of the message that was sent so far
        self._sent = 0  # the number of its characters
        self._received = 0  # the number of characters received so far
        self._waiting: deque[tuple[int, Token]] = deque()

    @property
    def hit(self) -> bool:
        """Whether a stop string ended the answer."""
        return self._stops.hit

    def read(self, event: Event) -> list[Event]:
        """Return the events that can be sent after one more event of the parser."""
        if self.hit:
            return []
        match event:
            case Started(kind):
                self._message, self._texts = event, []
                self._sent = self._received = 0
                self._stops = StopStrings(self._strings if kind == "answer" else ())
                self.tokens.clear()
                self._waiting.clear()
                return [event]
            case Delta("answer" | "preamble" as kind, text):
                self._received += len(text)
                self._waiting.extend((self._received, token) for token in self.tokens)
                self.tokens.clear()
                sent = self._send(kind, self._stops.feed(text))
                return [*sent, *self._end(Ended(kind))] if self.hit else sent
            case Delta(_, text):
                self._texts.append(text)
                return [event]
            case Ended(kind):
                return [*self._send(kind, self._stops.flush()), *self._end(event)]

    def _send(self, kind: Kind, text: str) -> list[Event]:
        self._texts.append(text)
        self._sent += len(text)
        logprobs = []
        while self._waiting and self._waiting[0][0] <= self._sent:
            _, token = self._waiting.popleft()
            alternatives = [_named(other, value) for other, value in token.top]
            logprobs.append(_named(token.id, token.logprob) | {"top_logprobs": alternatives})
        return [Delta(kind, text, tuple(logprobs))] if text else []

    def _end(self, event: Ended) -> list[Event]:
        self.items.append(item_of(self._message, "".join(self._texts)))
        return [event]


def _named(token: int, value: float | None) -> dict[str, Any]:
    data = bytes_of(token)
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": value}
