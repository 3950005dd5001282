"""The spelling of a reply that the reader finds most probable.

The canonical spelling comes first. Where the reader would have written another token, the spellings
of the same texts with other tokens in that place are read too, and the most probable one is kept,
until none is better. What is improbable in all spellings, the model did not write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harmony.spelling import Spelling, WrittenReply, alternatives, canonical
from reference_engine.rescoring.reading import CURIOUS, Passage, Reader, ReadToken

_BRANCHES = 3  # spellings of one place that are read: an escape has two or three
_ROUNDS = 48  # changes of a spelling until it is left as it is
_NEAR = 12.0  # nats below the best spelling from which on one is not continued


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
    waiting: list[Spelling]
    best: Read | None = None
    why: str | None = None  # why it cannot be read
    tried: set[tuple[int, ...]] = field(default_factory=set)

    def take(self, spelling: Spelling, tokens: Sequence[ReadToken] | str) -> None:
        """Take what the reader found of one spelling."""
        if isinstance(tokens, str):
            self.why = tokens
            return
        found = Read(spelling, tokens)
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
                    self.waiting.append(other)
            if self.waiting:
                return


def most_probable(reader: Reader, samples: Sequence[Sample]) -> Sequence[Read | str]:
    """Return the most probable spelling of each sample, or why it could not be read.

    Raises RenderError if a text cannot be spelled.
    """
    searches = [_Search(sample, [canonical(sample.reply)]) for sample in samples]
    for _ in range(_ROUNDS):
        work = [(search, spelling) for search in searches for spelling in search.waiting]
        if not work:
            break
        for search, spelling in work:
            search.tried.add(spelling.ids)
            search.waiting = []
        passages = [
            Passage(
                search.sample.prompt, spelling.ids, search.sample.temperature, search.sample.top_p
            )
            for search, spelling in work
        ]

        def others(passage: int, token: int, work: Sequence[tuple[_Search, Spelling]] = work) -> Sequence[int]:
            spelled = alternatives(work[passage][1], token)
            return list(dict.fromkeys(other.ids[token] for other in spelled))

        for (search, spelling), tokens in zip(work, reader.read(passages, others), strict=True):
            search.take(spelling, tokens)
        for search in {id(search): search for search, _ in work}.values():
            search.expand()
    return [search.best if search.best else (search.why or "") for search in searches]


def _with_tokens(spelling: Spelling, place: int, tokens: Sequence[int]) -> Iterator[Spelling]:
    """Yield the first spelling with each of these tokens in a place."""
    left = set(tokens)
    for other in alternatives(spelling, place):
        if other.ids[place] in left:
            left.remove(other.ids[place])
            yield other
