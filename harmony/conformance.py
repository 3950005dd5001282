"""Feeds a harmony parser the same tokens in every chunking, and says which results are wrong.

Engines hand several tokens at once to their parser (speculative decoding, `--stream-interval`), and
no client can make them do so. Parsers that are tested one token at a time then lose or split calls.
`conformance.jsonl` has tokens as a model writes them after `<|start|>assistant`, and the messages
that an API may make of them:

    import pytest
    from harmony.conformance import FIXTURES, require

    @pytest.mark.parametrize("fixture", FIXTURES, ids=str)
    def test_parser(fixture):
        require(parse, fixture)

`parse` takes the chunks of one reply, each a list of token ids, and returns its messages.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby, pairwise

from harmony.conversation import Answer, Call, Preamble, Reasoning

Message = Reasoning | Preamble | Answer | Call
Chunks = Sequence[Sequence[int]]
Parser = Callable[[Chunks], Sequence[Message]]

_KINDS: dict[str, type[Reasoning | Preamble | Answer]] = {
    "reasoning": Reasoning,
    "preamble": Preamble,
    "answer": Answer,
}
_JOINTS = ("", "\n", "\n\n")  # vLLM 0.32 joins messages by line breaks, and its streams by nothing.
_FEW_TOKENS = 10


@dataclass(frozen=True)
class Fixture:
    """The tokens of a reply and its acceptable results.

    `text` is for readers: the tokens with special tokens by name. `source` is `rendered`, `format`
    (openai/harmony's `docs/format.md`), `truncated`, or the public report of the output. A
    malformed or truncated reply has several results that a user can work with; in all others, there
    is one.
    """

    name: str
    source: str
    text: str
    tokens: tuple[int, ...]
    results: tuple[tuple[Message, ...], ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Failure:
    """A wrong result: what the parser returned, or the error that it raised, and for which chunks.

    `sizes` are the tokens in each chunk of the first chunking with this result, `count` the number
    of such chunkings among `chunkings`. `varies` is True if the result is acceptable but differs
    from that of single tokens.
    """

    fixture: Fixture
    got: str
    sizes: tuple[int, ...]
    count: int
    chunkings: int
    varies: bool = False

    def __repr__(self) -> str:
        wanted = " or ".join(_shown(_reply(result)) for result in self.fixture.results)
        if self.varies:
            wanted = "the same result as from single tokens"
        return (
            f"{self.fixture}: {self.count} of {self.chunkings} chunkings, such as "
            f"{self._chunks()}, give {self.got}; expected {wanted}. Tokens: {self.fixture.text}"
        )

    def _chunks(self) -> str:
        if len(self.sizes) < 2:
            return "all tokens in one chunk"
        runs = [(size, len(list(run))) for size, run in groupby(self.sizes)]
        return "chunks of " + ", ".join(f"{n} × {size}" if n > 1 else f"{size}" for size, n in runs)


@dataclass(frozen=True)
class _Reply:
    """What an API makes of messages: the forms that parsers of deltas and of messages share."""

    reasoning: tuple[str, ...]
    content: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]

    def like(self, other: "_Reply") -> bool:
        return (
            _same_text(self.reasoning, other.reasoning)
            and _same_text(self.content, other.content)
            and self.calls == other.calls
        )


def failures(parse: Parser, fixture: Fixture) -> list[Failure]:
    """Return the wrong results of a parser for a fixture, one `Failure` per result; else nothing.

    The parser gets each chunking as a fresh reply. An exception is a wrong result: a model may
    write anything. Texts of several messages may be joined by line breaks, a preamble may be
    content, and the arguments of calls are compared as JSON.
    """
    accepted = [_reply(result) for result in fixture.results]
    chunkings = list(_chunkings(len(fixture.tokens)))
    single: _Reply | None = None
    found: dict[tuple[str, bool], list[tuple[int, ...]]] = {}
    for sizes in chunkings:
        try:
            reply = _reply(parse(_chunks(fixture.tokens, sizes)))
        except Exception as error:  # noqa: BLE001 - of somebody else's parser
            found.setdefault((f"{type(error).__name__}: {error}", False), []).append(sizes)
            continue
        acceptable = any(reply.like(one) for one in accepted)
        if acceptable and sizes == chunkings[0]:
            single = reply
        if not acceptable or (single and not reply.like(single)):
            found.setdefault((_shown(reply), acceptable), []).append(sizes)
    return [
        Failure(fixture, shown, examples[0], len(examples), len(chunkings), varies)
        for (shown, varies), examples in found.items()
    ]


def require(parse: Parser, fixture: Fixture) -> None:
    """Raise AssertionError with all wrong results of a parser for a fixture, if there are any."""
    wrong = failures(parse, fixture)
    if wrong:
        raise AssertionError("\n".join(map(repr, wrong)))


def _chunkings(length: int) -> Iterator[tuple[int, ...]]:
    """The sizes of chunks: single tokens first, then every chunk that a chunking can have.

    A parser is in some state before a chunk. Each possible chunk occurs after single tokens and
    before single tokens, so that an error in it shows by itself: n² / 2 chunkings instead of 2ⁿ⁻¹.
    Up to ten tokens, there are all; longer replies are also cut in two, and into equal parts.
    """
    single = list(range(1, length))
    if length <= _FEW_TOKENS:
        cuts = [[at for at in single if mask >> at & 1] for mask in range(0, 2**length, 2)]
    else:
        cuts = [[], *([at] for at in single)]
        cuts += [list(range(size, length, size)) for size in range(2, length)]
        for start in range(length):
            for end in range(start + 2, length + 1):
                cuts.append([*range(1, start + 1), *range(end, length)])
    edges = ([0, *cut, length] for cut in [single, *cuts])
    yield from dict.fromkeys(tuple(end - start for start, end in pairwise(edge)) for edge in edges)


def _chunks(tokens: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    rest = iter(tokens)
    return [[next(rest) for _ in range(size)] for size in sizes]


def _reply(messages: Sequence[Message]) -> _Reply:
    calls = [message for message in messages if isinstance(message, Call)]
    return _Reply(
        tuple(m.text for m in messages if isinstance(m, Reasoning) and m.text),
        tuple(m.text for m in messages if isinstance(m, Preamble | Answer) and m.text),
        tuple((call.name.removeprefix("functions."), _written(call.arguments)) for call in calls),
    )


def _written(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except ValueError:
        return arguments


def _same_text(texts: Sequence[str], others: Sequence[str]) -> bool:
    return any(one.join(texts) == two.join(others) for one in _JOINTS for two in _JOINTS)


def _shown(reply: _Reply) -> str:
    parts = [f"reasoning {text!r}" for text in reply.reasoning]
    parts += [f"content {text!r}" for text in reply.content]
    parts += [f"call {name}({arguments})" for name, arguments in reply.calls]
    return ", ".join(parts) or "nothing"


def _message(kind: str, *texts: str) -> Message:
    return Call(*texts) if kind == "call" else _KINDS[kind](*texts)


def _fixtures() -> Iterator[Fixture]:
    lines = files("harmony").joinpath("conformance.jsonl").read_text(encoding="utf-8")
    for line in lines.splitlines():
        row = json.loads(line)
        results = tuple(tuple(_message(*one) for one in result) for result in row["results"])
        yield Fixture(row["name"], row["source"], row["text"], tuple(row["tokens"]), results)


FIXTURES: tuple[Fixture, ...] = tuple(_fixtures())
"""Well-formed, truncated and malformed replies, from `conformance.jsonl`."""
