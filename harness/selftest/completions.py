"""What a model wrote: the harmony messages of a recorded reply, from its texts and its count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harmony.render import CONTENT_TYPES
from harmony.vocabulary import encode, harmony_encoding
from harness.api.items import Reply
from harness.api.parsed_request import ParsedRequest

_COT = "<|channel|>analysis<|message|>"
_PREAMBLE = "<|channel|>commentary<|message|>"
FINAL = "<|channel|>final<|message|>"
_MORE = " and so on, as I said before," * 100
_CALL = "<|channel|>commentary to=functions.{name} {type}<|message|>"


@dataclass(frozen=True)
class CompletedMessage:
    """One message: its header from the channel on, its text without special tokens, its end."""

    header: str
    text: str
    end: str = "<|end|>"

    @property
    def is_cot(self) -> bool:
        """Whether it is the chain of thought."""
        return self.header == _COT

    @property
    def is_answer(self) -> bool:
        """Whether it is the final answer."""
        return self.header.startswith("<|channel|>final")

    @property
    def is_call(self) -> bool:
        """Whether it calls a function."""
        return "to=functions." in self.header

    @property
    def name(self) -> str:
        """The name of the function that it calls."""
        return self.header.partition("to=functions.")[2].partition(" ")[0].partition("<|")[0]


Completion = tuple[CompletedMessage, ...]


def cot(text: str) -> CompletedMessage:
    """A chain of thought."""
    return CompletedMessage(_COT, text)


def preamble(text: str) -> CompletedMessage:
    """A text for the user before a call."""
    return CompletedMessage(_PREAMBLE, text)


def answer(text: str) -> CompletedMessage:
    """A final answer."""
    return CompletedMessage(FINAL, text, "<|return|>")


def call(name: str, arguments: str, content_type: str = CONTENT_TYPES[-1]) -> CompletedMessage:
    """A call of a function."""
    return CompletedMessage(_CALL.format(name=name, type=content_type), arguments, "<|call|>")


def tokens_of(completion: Completion) -> list[int]:
    """Return the tokens of a completion, which begins after `<|start|>assistant`."""
    tokens: list[int] = []
    for number, message in enumerate(completion):
        tokens += encode(("<|start|>assistant" if number else "") + message.header)
        tokens += harmony_encoding().encode(message.text, disallowed_special=())
        tokens += encode(message.end)
    return tokens


def completion_of(reply: Reply, request: ParsedRequest) -> Completion:
    """Return what the model wrote, of all possible messages those with the reported count.

    A reply that its limit cut is ended here, so that the limit cuts it again.
    """
    if reply.finish == "length":
        return _ended(reply)
    possible = list(_possible(reply, request.stops))
    counted = (one for one in possible if len(tokens_of(one)) == reply.output_tokens)
    return next(counted, possible[0])


def _possible(reply: Reply, stops: Sequence[str]) -> Iterator[Completion]:
    thought = (cot(reply.reasoning),) if reply.reasoning else ()
    if reply.calls:
        before = (preamble(reply.text),) if reply.text else ()
        for kind in reversed(CONTENT_TYPES):
            calls = tuple(call(one.name, one.arguments, kind) for one in reply.calls)
            yield *thought, *before, *calls
        return
    yield *thought, answer(reply.text)
    yield from ((*thought, answer(reply.text + stop)) for stop in stops)
    if thought and not reply.text:
        yield (replace(thought[0], end="<|return|>"),)


def _ended(reply: Reply) -> Completion:
    """Return a reply that goes on beyond its cut."""
    thought = (cot(reply.reasoning),) if reply.reasoning else ()
    if reply.calls:
        return *thought, *(call(one.name, one.arguments + _MORE) for one in reply.calls)
    if reply.text or not thought:
        return *thought, answer(reply.text + _MORE)
    whole = len(tokens_of(thought)) <= (reply.output_tokens or 0)
    return (*thought, answer(_MORE)) if whole else (cot(reply.reasoning + _MORE), answer(_MORE))


def is_beginning(reply: Reply, whole: Completion) -> bool:
    """Return whether a reply may be the beginning of what the model wrote."""
    first, last = whole[0], whole[-1]
    begun = reply.calls[-1].arguments if reply.calls else reply.text
    if not begun:
        return first.is_cot and first.text.startswith(reply.reasoning)
    same = last.is_call == bool(reply.calls) and last.text.startswith(begun)
    return same and reply.reasoning == (first.text if first.is_cot else "")
