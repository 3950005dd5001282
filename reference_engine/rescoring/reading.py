"""What is read, and what is known of each of its tokens afterwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

CURIOUS = 0.7
"""Nats below the most probable token at which other spellings are asked for: a token that is about
half as probable as another one may be a spelling that the model did not choose."""
MOST_ALTERNATIVES = 20
"""Most probable tokens that are kept of an uncertain place; also the most that vLLM gives."""
CERTAIN = 0.999
"""Probability of a token from which on its place says nothing about number formats or sampling."""


@dataclass(frozen=True)
class Passage:
    """A prompt and its completion in tokens, and the settings with which that was sampled.

    The first `known` tokens of the completion were read before; only the others are asked for.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    known: int = 0


@dataclass(frozen=True, slots=True)
class ReadToken:
    """One token of a completion, as the reader finds it. Logprobs are in nats.

    Attributes:
        logprob: Of the token, before temperature and top_p; at temperature 0 minus the gap, because
            nothing but the best token is a sample then.
        best: The most probable token.
        gap: How much more probable that one is, in nats; 0 if it is the token.
        surprise: Minus the logarithm of the probability that a sample is as improbable as this
            token or more, with the temperature of the passage. 0 at temperature 0.
        own: The logprob of the token with this temperature and top_p; -inf if they exclude it.
        probable: The logprobs of the most probable tokens of an uncertain place with these
            settings; the rest of the probability is on others. Empty at other places.
        others: The logprobs of the tokens that were asked for.
    """

    logprob: float
    best: int
    gap: float
    surprise: float
    own: float
    probable: tuple[float, ...] = ()
    others: Mapping[int, float] = field(default_factory=dict)


Ask = Callable[[int, int], Sequence[int]]
"""Returns which other tokens could stand in a place: of the passage and the token with these
numbers. It is asked only where the model finds another token more probable by `CURIOUS`."""


class Reader(Protocol):
    """Whoever reads passages: a model in this process, or a server."""

    def read(self, passages: Sequence[Passage], ask: Ask) -> Sequence[Sequence[ReadToken] | str]:
        """Return what is found of the asked tokens of each passage, or why it cannot be read."""
        ...
