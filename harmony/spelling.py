"""How a model may have spelled a reply: the tokens of the messages that an API returned as texts.

An API returns texts. A text has many spellings in tokens, and a header has several legal forms. A
`Spelling` is one of them; the canonical one has the tokens of the tokenizer. `alternatives` lists
those that have another token in one place, for a search that asks the model which one it wrote.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate
from typing import Literal

from harmony.parse import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    FIRST_SPECIAL,
    MESSAGE,
    RETURN,
    START,
    STOP_TOKENS,
    HarmonyParser,
    Kind,
)
from harmony.render import text_tokens
from harmony.vocabulary import bytes_of, encode, token_ids

_WITH_MEANING = STOP_TOKENS.union((START, CHANNEL, CONSTRAIN, MESSAGE, END))
HIDDEN = frozenset(range(FIRST_SPECIAL, 201_088)) - _WITH_MEANING
"""Special tokens without a meaning, which an API does not show. Where a model is unsure of
every token, it samples one of these now and then."""
_START = "<|start|>assistant"
_LONGEST_TOKEN = 128  # bytes
_HEADERS: dict[Kind, tuple[str, ...]] = {
    "reasoning": ("<|channel|>analysis<|message|>", "<|channel|>analysis "),
    "preamble": ("<|channel|>commentary<|message|>", "<|channel|>final<|message|>"),
    "answer": (
        "<|channel|>final<|message|>",
        "<|channel|>commentary<|message|>",
        "<|channel|>final ",
    ),
    "call": tuple(
        form
        for kind in (" <|constrain|>json<|message|>", " json<|message|>", "<|message|>", " ")
        for channel in ("commentary", "analysis")
        for form in (
            f" to=functions.{{name}}<|channel|>{channel}{kind}",
            f"<|channel|>{channel} to=functions.{{name}}{kind}",
        )
    ),
}
"""The forms of headers that gpt-oss writes, the usual one first (openai/harmony `docs/format.md`,
and issue 91 for the content types of calls). The last ones lack `<|message|>`: servers take what
follows such a header as the text."""
_ENDS: dict[Kind, tuple[int, ...]] = {
    "reasoning": (END, RETURN),
    "preamble": (END, RETURN),
    "answer": (RETURN, END),
    "call": (CALL, END, RETURN),
}
_JOINTS = ("\n\n", "\n", "")
"""What an API may put between two messages that it returns as one text."""


@dataclass(frozen=True)
class WrittenMessage:
    """A message of a reply as an API returned it.

    `spelled` are the tokens of its text, if the reply has them. With `given`, the server and not
    the model may have chosen its header (a forced call, or a refused one); with `bound`, a grammar
    limited its text.
    """

    kind: Kind
    text: str
    name: str = ""
    spelled: tuple[int, ...] | None = None
    given: bool = False
    bound: bool = False


@dataclass(frozen=True)
class WrittenReply:
    """The messages of a reply in order.

    `complete` is False if a limit or a stop string ended it. `exact` are all tokens of the
    completion, if the reply has them: then there is nothing to spell.
    """

    messages: tuple[WrittenMessage, ...]
    complete: bool = True
    exact: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Place:
    """What a token of a spelling belongs to: the number of its message, and a part of that.

    `at` is the number of bytes of the message before the token; special tokens have those of their
    names. A token that is not `judged` was not the model's free choice.
    """

    message: int
    part: Literal["header", "text", "end"]
    at: int = 0
    judged: bool = True


@dataclass(frozen=True)
class _SpelledMessage:
    """A message with the form of its header, its end token, and the tokens with which it begins."""

    written: WrittenMessage
    form: int = 0
    ending: int = 0
    begun: tuple[int, ...] = ()
    first: bool = False  # whether the end of the prompt is the beginning of its header
    last: bool = False  # whether the reply is complete with it

    @property
    def headers(self) -> tuple[str, ...]:
        """The forms of its header."""
        start = "" if self.first else _START
        forms = _HEADERS[self.written.kind]
        return tuple(start + form.replace("{name}", self.written.name) for form in forms)

    @property
    def header(self) -> str:
        """Its header."""
        return self.headers[self.form]

    @property
    def shown(self) -> int:
        """The bytes of its header up to the end of what an API shows: the kind, and the name.

        What follows may be malformed in a few percent of the replies of a real model.
        """
        header = self.header
        name = header.find(self.written.name) + len(self.written.name) if self.written.name else 0
        return len(header[:name].encode()) if name else len(header.encode())

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that may end it; after the `<|end|>` of a CoT or preamble, a model goes on."""
        ends = _ENDS[self.written.kind]
        goes_on = self.written.kind in ("reasoning", "preamble")
        return tuple(end for end in ends if end in STOP_TOKENS) if self.last and goes_on else ends

    @property
    def data(self) -> bytes:
        """Its header and its text in bytes."""
        return self.header.encode() + self.written.text.encode()

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The tokens of its header and its text. Raises RenderError."""
        begun = sum(map(_shown_bytes, self.begun))
        header, text = self.header.encode(), self.written.text.encode()
        left = _encoded(header[begun:].decode("utf-8", "replace"))
        used = max(0, begun - len(header))  # bytes of the text
        if self.written.spelled is None:
            return (*self.begun, *left, *_tokens_of(text[used:]))
        sizes = accumulate((len(bytes_of(token)) for token in self.written.spelled), initial=0)
        rest = self.written.spelled[list(sizes).index(used) :]
        return (*self.begun, *left, *rest)


@dataclass(frozen=True)
class Spelling:
    """One spelling of a reply, after `<|start|>assistant`. Its properties raise RenderError."""

    reply: WrittenReply
    messages: tuple[_SpelledMessage, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Its tokens."""
        return self._layout[0]

    @property
    def places(self) -> tuple[Place, ...]:
        """The place of each token."""
        return self._layout[1]

    @cached_property
    def _layout(self) -> tuple[tuple[int, ...], tuple[Place, ...]]:
        if self.reply.exact is not None:
            return self.reply.exact, tuple(_places_of(self.reply, self.reply.exact))
        ids: list[int] = []
        places: list[Place] = []
        for number, spelled in enumerate(self.messages):
            written, at, header = spelled.written, 0, len(spelled.header.encode())
            shown = spelled.shown
            for token in spelled.ids:
                ids.append(token)
                if at < header:
                    free = not written.given and at < shown
                    places.append(Place(number, "header", at, judged=free))
                else:
                    places.append(Place(number, "text", at, judged=not written.bound))
                at += _shown_bytes(token)
            if self.reply.complete or number < len(self.messages) - 1:
                ids.append(spelled.ends[spelled.ending])
                places.append(Place(number, "end", at, judged=not written.bound))
        return tuple(ids), tuple(places)


def canonical(reply: WrittenReply) -> Spelling:
    """Return the spelling with the tokens of the tokenizer and the usual headers."""
    last = len(reply.messages) - 1
    messages = (
        _SpelledMessage(message, first=not at, last=reply.complete and at == last)
        for at, message in enumerate(reply.messages)
    )
    return Spelling(reply, tuple(messages))


def alternatives(spelling: Spelling, token: int) -> Iterator[Spelling]:
    """Yield the spellings that are equal up to a token and have another one in its place.

    There are none where the reply itself has its tokens. Raises RenderError.
    """
    if spelling.reply.exact is not None:
        return
    at = spelling.places[token].message
    for parts in _changed(spelling, token):
        messages = (*spelling.messages[:at], *parts, *spelling.messages[at + 1 :])
        other = Spelling(spelling.reply, messages)
        alike = other.ids[:token] == spelling.ids[:token]
        if alike and other.ids[token:] and other.ids[token] != spelling.ids[token]:
            yield other


def with_hidden(spelling: Spelling, token: int, hidden: int) -> Spelling | None:
    """Return the spelling with one of the `HIDDEN` tokens before a token of a text, or its end.

    None where the reply itself has its tokens, and in headers.
    """
    place = spelling.places[token]
    spelled = spelling.messages[place.message]
    exact = spelling.reply.exact is not None or spelled.written.spelled is not None
    if exact or place.part == "header":
        return None
    spelled = replace(spelled, begun=(*_own(spelling, token), hidden))
    at = place.message
    messages = (*spelling.messages[:at], spelled, *spelling.messages[at + 1 :])
    return Spelling(spelling.reply, messages)


def _own(spelling: Spelling, token: int) -> tuple[int, ...]:
    """Return the tokens before a token that belong to the same message."""
    message = spelling.places[token].message
    first = token - sum(place.message == message for place in spelling.places[:token])
    return spelling.ids[first:token]


def _changed(spelling: Spelling, token: int) -> Iterator[tuple[_SpelledMessage, ...]]:
    """Yield what may stand in place of the message of a token."""
    place = spelling.places[token]
    spelled = spelling.messages[place.message]
    spelled = replace(spelled, begun=_own(spelling, token))
    if place.part == "header":
        for form, header in enumerate(spelled.headers):
            if header.encode()[: place.at] == spelled.data[: place.at]:
                other = replace(spelled, form=form)
                yield (other,)
                yield from ((each,) for each in _continued(other, place.at))
        return
    if place.part == "end":
        last = place.message == len(spelling.messages) - 1
        for ending, end in enumerate(spelled.ends):
            if last or end not in STOP_TOKENS:
                yield (replace(spelled, ending=ending),)
    if spelled.written.spelled is None:
        yield from ((each,) for each in _continued(spelled, place.at))
        if spelled.written.kind != "call" and place.part == "text":
            yield from _split(spelled, place.at - len(spelled.header.encode()))


def _continued(spelled: _SpelledMessage, at: int) -> Iterator[_SpelledMessage]:
    """Yield the message with each token that can follow its first `at` bytes, which are begun."""
    rest, known = spelled.data[at : at + _LONGEST_TOKEN], token_ids()
    left = spelled.header.encode()[at:]
    if b"<|" in left or spelled.written.spelled is not None:
        rest = left.partition(b"<|")[0]
    for size in range(1, len(rest) + 1):
        if (other := known.get(rest[:size])) is not None:
            yield replace(spelled, begun=(*spelled.begun, other))


def _split(spelled: _SpelledMessage, at: int) -> Iterator[tuple[_SpelledMessage, ...]]:
    """Yield the message as two, which an API joined after this number of bytes of its text."""
    kind, data = spelled.written.kind, spelled.written.text.encode()
    for joint in map(str.encode, _JOINTS):
        if at and data.startswith(joint, at) and len(data) > at + len(joint):
            texts = (
                part.decode("utf-8", "replace") for part in (data[:at], data[at + len(joint) :])
            )
            first, second = (replace(spelled.written, text=text) for text in texts)
            first = replace(first, kind="preamble" if kind == "answer" else kind)
            before = replace(spelled, written=first, last=False)
            yield before, _SpelledMessage(second, last=spelled.last)


def _places_of(reply: WrittenReply, ids: tuple[int, ...]) -> Iterator[Place]:
    """Yield the places of the tokens of a completion, by the parser."""
    parser, number, at = HarmonyParser(), 0, 0
    for token in ids:
        before = parser.open
        parser.feed(token)
        written = reply.messages[number] if number < len(reply.messages) else None
        free = written is None or not written.bound
        if before is None:
            yield Place(number, "header", judged=written is None or not written.given)
        elif before is parser.open and token < FIRST_SPECIAL:
            yield Place(number, "text", at, judged=free)
            at += len(bytes_of(token))
        else:
            yield Place(number, "end", at, judged=free)
            number, at = number + 1, 0


def _shown_bytes(token: int) -> int:
    """Return how many bytes of its message a token is."""
    return 0 if token in HIDDEN else len(bytes_of(token))


@cache
def _encoded(header: str) -> tuple[int, ...]:
    return tuple(encode(header))


def _tokens_of(data: bytes) -> tuple[int, ...]:
    """Return the tokens of bytes that may begin within a character. Raises RenderError."""
    head = next((at for at, byte in enumerate(data) if byte & 0xC0 != 0x80), len(data))
    alone = (token_ids()[data[at : at + 1]] for at in range(head))
    return (*alone, *text_tokens(data[head:].decode("utf-8", "replace")))
