"""A rendered prompt as messages that faults can rewrite, and back.

Messages that stay as they are keep their tokens, so a fault changes nothing but what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harmony.parse import MESSAGE, START
from harmony.vocabulary import harmony_encoding


@dataclass(frozen=True)
class Message:
    """`<|start|>header<|message|>content` and a marker; the last header has neither of the two."""

    header: str
    content: str | None = None
    end: str = ""

    @property
    def role(self) -> str:
        """Who speaks."""
        return self.header.partition("<|channel|>")[0].partition(" to=")[0]


def rewritten(tokens: list[int], change: Callable[[Message], Iterable[Message]]) -> list[int]:
    """The prompt with each message replaced by those that `change` makes of it."""
    out: list[int] = []
    for begin, end in _spans(tokens):
        message = _message(tokens[begin:end])
        for made in change(message):
            out += tokens[begin:end] if made == message else encoded(made)
    return out


def encoded(message: Message) -> list[int]:
    """The tokens of a message; its content is text, whatever it looks like."""
    encoding = harmony_encoding()
    tokens = [START, *encoding.encode(message.header, allowed_special="all")]
    if message.content is None:
        return tokens
    content = encoding.encode(message.content, disallowed_special=())
    return [*tokens, MESSAGE, *content, *encoding.encode(message.end, allowed_special="all")]


def _spans(tokens: list[int]) -> Iterable[tuple[int, int]]:
    starts = [at for at, token in enumerate(tokens) if token == START]
    return zip(starts, [*starts[1:], len(tokens)], strict=True)


def _message(tokens: list[int]) -> Message:
    encoding = harmony_encoding()
    if MESSAGE not in tokens:
        return Message(encoding.decode(tokens[1:]))
    middle = tokens.index(MESSAGE)
    header = encoding.decode(tokens[1:middle])
    return Message(header, encoding.decode(tokens[middle + 1 : -1]), encoding.decode(tokens[-1:]))
