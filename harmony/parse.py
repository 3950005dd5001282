"""Parses harmony tokens incrementally: takes token ids, returns typed events, never raises.

The grammar is that of openai/harmony's `docs/format.md`:

    <|start|>{role}[ to={recipient}]<|channel|>{channel}[ to={recipient}][ <|constrain|>{type}]
    <|message|>{content}<|end|>        (<|return|> after a final answer, <|call|> after a call)

A sampled answer starts after `<|start|>assistant`. A model can write anything, so every token has a
meaning in every state:

- Special tokens are never text. `<|start|>` starts a new header, as does `<|channel|>` in content.
- A header without `<|message|>` still starts a message. Its content is the rest of the header
  without role, channel, recipient and type.
- An unknown channel is reasoning, because it is not meant for the user. A message without a channel
  is an answer. A message to a tool is a call in any channel.
- A message to the assistant itself is one without a recipient.
- The answer ends at `<|return|>`, `<|call|>` or `<|endoftext|>`, at any end token of a final answer
  or a call, and at a header of another role. Later tokens are ignored.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harmony.conversation import Answer, Call, Preamble, Reasoning
from harmony.vocabulary import token_bytes

FIRST_SPECIAL = 199998
END_OF_TEXT = 199999
RETURN = 200002
CONSTRAIN = 200003
CHANNEL = 200005
START = 200006
END = 200007
MESSAGE = 200008
CALL = 200012
STOP_TOKENS = frozenset({RETURN, CALL, END_OF_TEXT})

_LONGEST_HEADER = 128
_FUNCTIONS = "functions."
_NOT_A_TOOL = frozenset({"", "assistant", "user", "all"})

Kind = Literal["reasoning", "preamble", "answer", "call"]
_KIND_OF_CHANNEL: dict[str, Kind] = {
    "analysis": "reasoning",
    "commentary": "preamble",
    "final": "answer",
}
_CHANNEL_NAME = re.compile(r"(analysis|commentary|final)")
_RECIPIENT = re.compile(r"(?:^|(?<=\s))\s*to=(\S*)")
_BEGUN_RECIPIENTS = frozenset({"t", "to"})  # of ` to=RECIPIENT`
_CONTENT_TYPE = re.compile(r"^(json|code|text)\b\s*")
_AFTER_CONSTRAIN = re.compile(r"^\s*\w*\s*")


@dataclass(frozen=True, slots=True)
class Started:
    """A message starts; `name` is the function of a call, without its `functions.` prefix."""

    kind: Kind
    name: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """Text of the message: not empty, complete characters, no special tokens.

    A server that returns logprobs adds an entry for each token; the parser does not know them.
    """

    kind: Kind
    text: str
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The message ends; `complete` is False if the tokens ended in the middle of it."""

    kind: Kind
    complete: bool = True


Event = Started | Delta | Ended


def item_of(message: Started, text: str) -> Reasoning | Preamble | Answer | Call:
    """Return the conversation item of a message and its complete text."""
    match message.kind:
        case "reasoning":
            return Reasoning(text)
        case "preamble":
            return Preamble(text)
        case "answer":
            return Answer(text)
        case "call":
            return Call(message.name, text)


@dataclass(frozen=True)
class Completion:
    """A complete or truncated answer: its messages, and its tokens up to the one that ends it."""

    items: tuple[Reasoning | Preamble | Answer | Call, ...]
    tokens: tuple[int, ...]


def parse_completion(tokens: Iterable[int]) -> Completion:
    """Parse all tokens that were sampled after `<|start|>assistant`."""
    parser = HarmonyParser()
    items: list[Reasoning | Preamble | Answer | Call] = []
    read: list[int] = []
    message: Started | None = None
    text: list[str] = []
    for token in (*tokens, None):
        if parser.done:
            break
        for event in parser.finish() if token is None else parser.feed(token):
            match event:
                case Started():
                    message, text = event, []
                case Delta():
                    text.append(event.text)
                case Ended() if message:
                    items.append(item_of(message, "".join(text)))
        read += [] if token is None else [token]
    return Completion(tuple(items), tuple(read))


def parts_of(tokens: Iterable[int]) -> Iterator[str]:
    """The kind of text that each sampled token belongs to; `marker` for headers and their ends."""
    parser = HarmonyParser()
    for token in tokens:
        before = parser.open
        parser.feed(token)
        text = before is not None and before is parser.open and token < FIRST_SPECIAL
        yield before.kind if text and before else "marker"


def messages_in(tokens: Sequence[int]) -> list[Sequence[int]]:
    """Return the messages of a prompt, each from `<|start|>` to the token before the next one."""
    starts = [at for at, token in enumerate(tokens) if token == START]
    spans = zip(starts, [*starts[1:], len(tokens)], strict=True)
    return [tokens[begin:end] for begin, end in spans]


class HarmonyParser:
    """Parses one answer of the assistant."""

    def __init__(self) -> None:
        self.open: Started | None = None  # the message of the current content
        self.done = False  # whether the answer has ended; later tokens are ignored
        self._bytes = token_bytes()
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._header = _Header(continues_prompt=True)

    def feed(self, token: int) -> list[Event]:
        """Return the events of one more token."""
        if self.done:
            return []
        return self._content(token) if self.open else self._in_header(token)

    def finish(self) -> list[Event]:
        """Return the events at the end of the tokens. An incomplete character is dropped."""
        if self.done:
            return []
        events = self._end_header(cut=True) if self.open is None else []
        if self.open:
            events.append(Ended(self.open.kind, complete=False))
            self.open = None
        self.done = True
        return events

    def _content(self, token: int) -> list[Event]:
        assert self.open is not None
        if 0 <= token < len(self._bytes):
            text = self._text.decode(self._bytes[token])
            return [Delta(self.open.kind, text)] if text else []
        if token in STOP_TOKENS or token in {START, CHANNEL, END}:
            return self._end_message(token)
        return []

    def _end_message(self, token: int) -> list[Event]:
        assert self.open is not None
        kind, self.open = self.open.kind, None
        events: list[Event] = []
        if rest := self._text.decode(b"", final=True):
            events.append(Delta(kind, rest))
        events.append(Ended(kind))
        self._text.reset()
        self.done = token in STOP_TOKENS or kind in {"answer", "call"}
        self._header = _Header()
        if token == CHANNEL:
            self._header.mark(CHANNEL)
        return events

    def _in_header(self, token: int) -> list[Event]:
        header = self._header
        if 0 <= token < len(self._bytes):
            header.add(self._bytes[token])
            return self._end_header() if header.length > _LONGEST_HEADER else []
        if token in {CHANNEL, CONSTRAIN}:
            header.mark(token)
        elif token == START:
            self._header = _Header()
        elif token == MESSAGE:
            return self._start_message()
        elif token == END or token in STOP_TOKENS:
            events = self._end_header()
            if self.open:
                return events + self._end_message(token)
            self.done = self.done or token in STOP_TOKENS
            self._header = _Header()
            return events
        return []

    def _start_message(self) -> list[Event]:
        reading = self._header.read()
        if reading is None:
            self.done = True
            return []
        self.open, _ = reading
        return [self.open]

    def _end_header(self, *, cut: bool = False) -> list[Event]:
        """End a header that has no `<|message|>`: its remaining text, if any, is the content.

        The tokens may have ended within the recipient of a call: its beginning is no content.
        """
        reading = self._header.read()
        if reading is None:
            self.done = True
            return []
        started, rest = reading
        if not rest or (cut and rest in _BEGUN_RECIPIENTS):
            return []
        self.open = started
        return [started, Delta(started.kind, rest)]


class _Header:
    """Collects the parts of a header: role, then channel, then content type."""

    def __init__(self, *, continues_prompt: bool = False) -> None:
        self.length = 0
        self._continues_prompt = continues_prompt
        self._parts: dict[int, bytearray] = {START: bytearray()}
        self._part = START
        self._recipient = ""

    def add(self, data: bytes) -> None:
        self.length += 1
        self._parts[self._part] += data

    def mark(self, token: int) -> None:
        """Start a part. If a part repeats, the recipient of the first one remains."""
        _, recipient = _without_recipient(self._text(token))
        self._recipient = self._recipient or recipient
        self._part = token
        self._parts[token] = bytearray()

    def read(self) -> tuple[Started, str] | None:
        """Return the message that this header begins, and the text in it that no part explains.

        None if the header names another role than that of the model.
        """
        role, recipient = _without_recipient(self._text(START))
        if not self._continues_prompt and role and not role.startswith("assistant"):
            return None
        role = role.removeprefix("assistant").strip()
        channel, in_channel = _without_recipient(self._text(CHANNEL))
        constrain, in_constrain = _without_recipient(self._text(CONSTRAIN))
        recipient = recipient or self._recipient or in_channel or in_constrain
        if CHANNEL in self._parts:
            kind, rest = _channel_kind(channel.strip())
        elif found := _CHANNEL_NAME.match(role):
            kind, rest = _KIND_OF_CHANNEL[found[1]], role[found.end() :]
        else:
            kind, rest = "answer", role
        started = Started(kind)
        if recipient not in _NOT_A_TOOL:
            started = Started("call", recipient.removeprefix(_FUNCTIONS))
        rest = _CONTENT_TYPE.sub("", rest.strip()) + _AFTER_CONSTRAIN.sub("", constrain)
        return started, rest

    def _text(self, part: int) -> str:
        return self._parts.get(part, b"").decode("utf-8", "replace")


def _channel_kind(channel: str) -> tuple[Kind, str]:
    if found := _CHANNEL_NAME.match(channel):
        return _KIND_OF_CHANNEL[found[1]], channel[found.end() :]
    return "reasoning", channel.partition(" ")[2]


def _without_recipient(text: str) -> tuple[str, str]:
    """Remove the first ` to=RECIPIENT` from a part of a header."""
    found = _RECIPIENT.search(text)
    if not found:
        return text, ""
    return text[: found.start()] + text[found.end() :], found[1]
