"""The search finds the spelling in which a model wrote a reply, and leaves damage as it is."""

from collections.abc import Sequence

import pytest

from harmony.parse import parse_completion
from harmony.spelling import WrittenMessage, WrittenReply
from harmony.vocabulary import encode, token_ids
from reference_engine.rescoring.reading import Ask, Passage, ReadToken
from reference_engine.rescoring.search import Sample, most_probable

_SURE, _NEVER = -0.01, -40.0


class _Writer:
    """A reader whose model writes one completion, and finds every other token improbable."""

    def __init__(self, written: Sequence[int]) -> None:
        self.written = tuple(written)
        self.passages = 0

    def read(self, passages: Sequence[Passage], ask: Ask) -> list[list[ReadToken]]:
        self.passages += len(passages)
        return [self._read(number, passage, ask) for number, passage in enumerate(passages)]

    def _read(self, number: int, passage: Passage, ask: Ask) -> list[ReadToken]:
        made = []
        for place, token in enumerate(passage.completion):
            on_its_way = self.written[:place] == passage.completion[:place]
            best = self.written[place] if on_its_way and place < len(self.written) else 0
            own = _SURE if token == best else _NEVER
            others = {}
            if own < _SURE:
                others = {each: _SURE if each == best else _NEVER for each in ask(number, place)}
            if place >= passage.known:
                made.append(ReadToken(own, best, _SURE - own, -own, own, (), others))
        return made


def _spelled(*pieces: str) -> list[int]:
    """Tokens of texts, piece by piece; special tokens by their names."""
    known = token_ids()
    return [
        token
        for piece in pieces
        for token in ([known[piece.encode()]] if piece.encode() in known else encode(piece))
    ]


_COT = ("<|channel|>", "analysis", "<|message|>")
_CALL = (" to=functions.", "get", "_it", "<|channel|>", "commentary json", "<|message|>")
_NEXT = ("<|end|>", "<|start|>", "assistant")
_FINAL = ("<|start|>", "assistant", "<|channel|>", "final", "<|message|>")


@pytest.mark.parametrize(
    "written",
    [
        _spelled(*_COT, "Lis", "bon", "<|end|>", *_FINAL, "Low", ".", "<|return|>"),
        _spelled(*_COT, "L", "is", "b", "on", "<|end|>", *_FINAL, "L", "ow", ".", "<|return|>"),
        _spelled(
            *_COT,
            "One",
            ".",
            "<|end|>",
            "<|start|>",
            "assistant",
            *_COT,
            "Two",
            "<|end|>",
            *_FINAL,
            "3",
            "<|return|>",
        ),
        _spelled(
            *_COT,
            "x",
            "<|end|>",
            "<|start|>",
            "assistant",
            " to=functions.",
            "get",
            "_it",
            "<|channel|>",
            "commentary json",
            "<|message|>",
            "{",
            "}",
            "<|call|>",
        ),
        _spelled(*_COT, "x", "<|return|>"),
        [*_spelled(*_COT, "Lis"), 200_280, *_spelled("bon", "<|return|>")],
    ],
)
def test_the_spelling_that_the_model_wrote_is_found(written) -> None:
    items = parse_completion(written).items
    messages: list[WrittenMessage] = []
    for item in items:
        kind = type(item).__name__.lower()
        texts = [getattr(item, "arguments", None) or getattr(item, "text", "")]
        if messages and kind == messages[-1].kind == "reasoning":  # as an API joins them
            texts = [f"{messages.pop().text}\n\n{texts[0]}"]
        messages.append(WrittenMessage(kind, texts[0], getattr(item, "name", "")))
    reader = _Writer(written)
    read = most_probable(reader, [Sample((1, 2), WrittenReply(tuple(messages)), 0.0)])[0]
    assert not isinstance(read, str)
    assert list(read.spelling.ids) == written
    assert read.logprob == pytest.approx(_SURE * len(written))


def test_a_damaged_text_stays_improbable_and_costs_few_passages() -> None:
    written = _spelled(*_COT, "Lis", "bon", "<|end|>", *_FINAL, "Low", ".", "<|return|>")
    damaged = WrittenReply((WrittenMessage("reasoning", "Lisbo"), WrittenMessage("answer", "Low.")))
    reader = _Writer(written)
    read = most_probable(reader, [Sample((1, 2), damaged, 0.0)])[0]
    assert min(token.logprob for token in read.tokens) == _NEVER
    assert reader.passages < 30


def test_what_cannot_be_read_has_its_reason() -> None:
    class Refusing:
        def read(self, passages, ask):
            return ["no logprobs" for _ in passages]

    sample = Sample((1,), WrittenReply((WrittenMessage("answer", "x"),)))
    assert most_probable(Refusing(), [sample]) == ["no logprobs"]
