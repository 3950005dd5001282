"""The spelling of a reply that the reader finds most probable.

The canonical spelling comes first. Where the reader would have written another token, the spellings
of the same texts with other tokens in that place are read too, and the most probable one is kept,
until none is better. What is improbable in all spellings, the model did not write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harmony.spelling import Spelling, WrittenReply, alternatives, canonical
from reference_engine.rescoring.reading import CURIOUS, Ask, Passage, Reader, ReadToken

_BRANCHES = 3  # spellings of one place that are read: an escape has two or three
_ROUNDS = 48  # changes of a spelling until it is left as it is


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


@dataclass
class _Search:
    """The search for the spelling of one sample."""

    sample: Sample
    waiting: list[tuple[Spelling, Sequence[ReadToken]]]  # with what is known of its first tokens
    best: Read | None = None
    why: str | None = None  # why it cannot be read
    tried: set[tuple[int, ...]] = field(default_factory=set)

    def take(
        self, spelling: Spelling, known: Sequence[ReadToken], tokens: Sequence[ReadToken] | str
    ) -> None:
        """Take what the reader found of one spelling, after what was known of it."""
        if isinstance(tokens, str):
            self.why = tokens
            return
        found = Read(spelling, [*known, *tokens])
        if self.best is None or found.logprob > self.best.logprob:
            self.best = found

    def expand(self) -> None:
        """Choose which spellings to read next: those with another token in the first odd place."""
        if self.best is None:
            return
        spelling, tokens = self.best.spelling, self.best.tokens
        for place, token in enumerate(tokens):
            if token.gap <= CURIOUS or not token.others:
                continue
            better = sorted(
                (-logprob, other)
                for other, logprob in token.others.items()
                if logprob > token.logprob - CURIOUS
            )
            firsts = [other for _, other in better[:_BRANCHES]]
            for other in _with_tokens(spelling, place, firsts):
                if other.ids not in self.tried:
                    self.waiting.append((other, tokens[:place]))
            if self.waiting:
                return


def most_probable(reader: Reader, samples: Sequence[Sample]) -> Sequence[Read | str]:
    """Return the most probable spelling of each sample, or why it could not be read.

    Raises RenderError if a text cannot be spelled.
    """
    searches = [_Search(sample, [(canonical(sample.reply), ())]) for sample in samples]
    for _ in range(_ROUNDS):
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
        for one, tokens in zip(work, reader.read(passages, _others(spellings)), strict=True):
            search, *spelled = one
            search.take(*spelled, tokens)
        for search in {id(search): search for search, *_ in work}.values():
            search.expand()
    return [search.best if search.best else (search.why or "") for search in searches]


def _others(spellings: Sequence[Spelling]) -> Ask:
    def ask(passage: int, token: int) -> Sequence[int]:
        """Return the tokens with which other spellings go on in a place."""
        others = alternatives(spellings[passage], token)
        return list(dict.fromkeys(other.ids[token] for other in others))

    return ask


def _with_tokens(spelling: Spelling, place: int, tokens: Sequence[int]) -> Iterator[Spelling]:
    """Yield the first spelling with each of these tokens in a place."""
    left = set(tokens)
    for other in alternatives(spelling, place):
        if other.ids[place] in left:
            left.remove(other.ids[place])
            yield other
