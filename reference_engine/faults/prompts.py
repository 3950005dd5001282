"""A rendered prompt as messages that faults can edit. Unchanged messages keep their tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harmony.parse import MESSAGE, START, messages_in
from harmony.vocabulary import encode, harmony_encoding


@dataclass(frozen=True)
class Message:
    """`<|start|>header<|message|>content` and an end token; the last header has neither."""

    header: str
    content: str | None = None
    end: str = ""

    @property
    def role(self) -> str:
        """The role in the header."""
        return self.header.partition("<|channel|>")[0].partition(" to=")[0]


def edit_messages(tokens: list[int], change: Callable[[Message], Iterable[Message]]) -> list[int]:
    """Return the prompt with each message replaced by the result of `change`."""
    out: list[int] = []
    for original in messages_in(tokens):
        message = _message(original)
        for changed in change(message):
            out += original if changed == message else _encoded(changed)
    return out


def _encoded(message: Message) -> list[int]:
    """Return the tokens of a message. Special tokens in its content stay plain text."""
    tokens = [START, *encode(message.header)]
    if message.content is None:
        return tokens
    content = harmony_encoding().encode(message.content, disallowed_special=())
    return [*tokens, MESSAGE, *content, *encode(message.end)]


def _message(given: Sequence[int]) -> Message:
    encoding, tokens = harmony_encoding(), list(given)
    if MESSAGE not in tokens:
        return Message(encoding.decode(tokens[1:]))
    middle = tokens.index(MESSAGE)
    header = encoding.decode(tokens[1:middle])
    return Message(header, encoding.decode(tokens[middle + 1 : -1]), encoding.decode(tokens[-1:]))
