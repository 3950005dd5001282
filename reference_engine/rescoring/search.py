"""The spelling of a reply that the reader finds most probable.

The canonical spelling comes first. Where the reader would have written another token, the spellings
of the same texts with other tokens in that place are read too, and the most probable one is kept,
until none is better. What is improbable in all spellings, the model did not write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harmony.spelling import (
    HIDDEN,
    Spelling,
    WrittenReply,
    alternatives,
    canonical,
    with_hidden,
)
from reference_engine.rescoring.reading import CURIOUS, Ask, Passage, Reader, ReadToken

_BRANCHES = 3  # spellings of one place that are read: an escape has two or three
_TIED = 1.0  # nats below the best token within which a greedy choice may fall in another format
_LEAST = -8.0
"""Nats, relative to the best token, below which a model does not spell a text with another one."""
_STEPS = 48  # spellings of one reply that are continued
_PATIENCE = 4  # of these, one after the other, that find no better one
_ODD = 5.0  # nats: a place with a larger gap is not what the model wrote, if it is another spelling


@dataclass(frozen=True)
class Sample:
    """A reply, the prompt that it answers, and the settings of its request."""

    prompt: tuple[int, ...]
    reply: WrittenReply
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Read:
    """The most probable spelling of a reply, and what the reader found of its tokens."""

    spelling: Spelling
    tokens: Sequence[ReadToken]

    @property
    def logprob(self) -> float:
        """The logprob of the whole reply in nats."""
        return sum(token.logprob for token in self.tokens)


@dataclass(frozen=True)
class _Step:
    """A spelling that was read, and its first place that other spellings may explain."""

    read: Read
    place: int

    @property
    def explained(self) -> float:
        """The logprob of the tokens before that place."""
        return sum(token.logprob for token in self.read.tokens[: self.place])


@dataclass
class _Search:
    """The search for the spelling of one sample: first from where the least is unexplained."""

    sample: Sample
    waiting: list[tuple[Spelling, Sequence[ReadToken]]]  # with what is known of its first tokens
    best: Read | None = None
    why: str | None = None  # why it cannot be read
    open: list[_Step] = field(default_factory=list)
    tried: set[tuple[int, ...]] = field(default_factory=set)
    steps: int = 0
    in_vain: int = 0  # steps since the best spelling was found

    def take(
        self, spelling: Spelling, known: Sequence[ReadToken], tokens: Sequence[ReadToken] | str
    ) -> None:
        """Take what the reader found of one spelling, after what was known of it."""
        if isinstance(tokens, str):
            self.why = tokens
            return
        found = Read(spelling, [*known, *tokens])
        if self.best is None or found.logprob > self.best.logprob:
            self.best, self.in_vain = found, 0
        odd = (at for at, token in enumerate(found.tokens) if token.gap > CURIOUS and token.others)
        self.open += [_Step(found, place) for place in odd][:1]

    def expand(self) -> None:
        """Choose which spellings to read next; none if the best one has no odd place."""
        if self.best is None or all(token.gap <= CURIOUS for token in self.best.tokens):
            return
        while self.open and not self.waiting:
            if self.steps == _STEPS or self.in_vain == _PATIENCE:
                return
            step = max(self.open, key=lambda step: step.explained)
            self.open.remove(step)
            self.steps += 1
            self.in_vain += 1
            self._continue(step)

    def _continue(self, step: _Step) -> None:
        """Try the most probable other tokens in the place of a step, then in its next odd one."""
        spelling, tokens = step.read.spelling, step.read.tokens
        token = tokens[step.place]
        best = token.logprob + token.gap
        least = best - _TIED if not self.sample.temperature else max(token.logprob, best + _LEAST)
        better = sorted((-value, other) for other, value in token.others.items() if value > least)
        firsts = [other for _, other in better[:_BRANCHES]]
        for other in _with_tokens(spelling, step.place, firsts):
            if other.ids not in self.tried:
                self.waiting.append((other, tokens[: step.place]))
        later = (
            at
            for at in range(step.place + 1, len(tokens))
            if tokens[at].gap > CURIOUS and tokens[at].others
        )
        if token.gap <= _ODD or not firsts:  # the model may have written this token itself
            self.open += [_Step(step.read, place) for place in later][:1]


def most_probable(reader: Reader, samples: Sequence[Sample]) -> Sequence[Read | str]:
    """Return the most probable spelling of each sample, or why it could not be read.

    Raises RenderError if a text cannot be spelled.
    """
    searches = [_Search(sample, [(canonical(sample.reply), ())]) for sample in samples]
    while True:
        work = [(search, *waiting) for search in searches for waiting in search.waiting]
        if not work:
            break
        passages = []
        for search, spelling, known in work:
            search.tried.add(spelling.ids)
            search.waiting = []
            sample = search.sample
            passages.append(
                Passage(sample.prompt, spelling.ids, sample.temperature, sample.top_p, len(known))
            )
        spellings = [spelling for _, spelling, _ in work]
        read = reader.read(passages, _others(spellings))
        for (search, spelling, known), tokens in zip(work, read, strict=True):
            search.take(spelling, known, tokens)
        for search in {id(search): search for search, *_ in work}.values():
            search.expand()
    return [search.best if search.best else (search.why or "") for search in searches]


def _others(spellings: Sequence[Spelling]) -> Ask:
    def ask(passage: int, token: int) -> Sequence[int]:
        """Return the tokens with which other spellings go on in a place."""
        spelling = spellings[passage]
        others = [other.ids[token] for other in alternatives(spelling, token)]
        hidden = sorted(HIDDEN) if with_hidden(spelling, token, min(HIDDEN)) else ()
        return list(dict.fromkeys((*others, *hidden)))

    return ask


def _with_tokens(spelling: Spelling, place: int, tokens: Sequence[int]) -> Iterator[Spelling]:
    """Yield the first spelling with each of these tokens in a place."""
    for hidden in HIDDEN.intersection(tokens):
        if (other := with_hidden(spelling, place, hidden)) is not None:
            yield other
    left = set(tokens)
    for other in alternatives(spelling, place):
        if other.ids[place] in left:
            left.remove(other.ids[place])
            yield other
