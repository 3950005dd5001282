r"""What the logprobs of a server say of a token.

A server gives the logprob of the token and those of the k most probable ones, at temperature 1.
What is outside them is bounded, so that no token seems more surprising than it is. With a = 1 / T,
the known logprobs t₁ ≥ … ≥ t_k, N = vocabulary − k and r = 1 − Σ exp(tᵢ), the tokens outside have
at temperature T at most the weight

    R = Σ p^a ≤ min(N · exp(a·t_k),  N^(1−a) · r^a  if a ≤ 1,  r · exp((a−1)·t_k)  if a ≥ 1)

because each has at most the probability exp(t_k), and p^a is concave for a ≤ 1 (Jensen) and convex
for a ≥ 1 (so that the sum is largest with r concentrated on tokens of that probability). With
S = Σ exp(a·tᵢ), the probability that a sample is as improbable as a token is at most

    (Σ over tᵢ ≤ logprob of exp(a·tᵢ) + R) / (S + R)   for one of the k,
    x / (S + x),  x = min(R, N · exp(a·logprob))       for another one,

and `surprise` is minus its logarithm, a lower bound. At temperature 1 the first one is exact. A
limit of top_p only removes improbable tokens, so that the bound holds with it too.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reference_engine.rescoring.reading import (
    CERTAIN,
    CURIOUS,
    MOST_ALTERNATIVES,
    ReadToken,
)

_VOCABULARY = 201_088  # logits of gpt-oss (`vocab_size` of its config.json)
_ROUNDING = 1e-6  # error of a sum of probabilities that were float32
_ABOVE_ZERO = 1e-4  # nats by which rounding may lift a logprob above 0
_ABOVE_ONE = 1e-3  # by which rounding may lift a sum of probabilities above 1
_NOTHING = -1000.0
"""Nats that stand for a probability of 0: vLLM sends -9999, llama.cpp -3.4e38."""
_SMALL_REST = 0.01
"""Probability outside the known tokens up to which a place shows its distribution; of 1,561 sampled
tokens of the small checkpoint, 99% have less than 1e-4 outside the 20 most probable ones."""


class UnreadError(ValueError):
    """An answer has no usable logprobs of the tokens that were sent; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """The logprob of a token, and those of the most probable tokens in its place, best first."""

    logprob: float
    top: Mapping[int, float]


def place_of(logprob: float, found: Iterable[tuple[int, float]], most: int) -> Place:
    """Return the place of a token, which servers add to the `most` probable ones."""
    best = sorted(found, key=lambda pair: -pair[1])[:most]
    return Place(max(logprob, _NOTHING), {token: max(value, _NOTHING) for token, value in best})


def require_logprobs(places: Sequence[Place], tokens: Sequence[int]) -> None:
    """Raise UnreadError unless these are logprobs of exactly these tokens."""
    if len(places) != len(tokens):
        raise UnreadError(f"it returned {len(places)} values for {len(tokens)} tokens")
    for place, token in zip(places, tokens, strict=True):
        if not place.top:
            raise UnreadError("it returned no most probable tokens")
        highest = max(place.logprob, *place.top.values())
        if not highest <= _ABOVE_ZERO or math.isnan(place.logprob + sum(place.top.values())):
            raise UnreadError(f"it returned {highest:.4g}, which is no logprob")
        if sum(map(math.exp, place.top.values())) > 1 + _ABOVE_ONE:
            raise UnreadError("its probabilities sum up to more than 1")
        named = place.top.get(token)
        least = min(place.top.values()) if named is None else named
        off = place.logprob - least
        if off > _ABOVE_ZERO or (named is not None and off < -_ABOVE_ZERO):
            raise UnreadError("it returned two logprobs for one token")


def read_token(
    place: Place,
    token: int,
    temperature: float,
    top_p: float,
    ask: Callable[[], Sequence[int]],
) -> ReadToken:
    """Return what is known of a token; the module's docstring has the formula of its surprise."""
    best, best_logprob = next(iter(place.top.items()))
    gap = max(0.0, best_logprob - place.logprob)
    if not gap:
        best = token
    others = ask() if gap > CURIOUS else ()
    surprise, own = 0.0, place.logprob
    probable: tuple[float, ...] = ()
    if temperature:
        surprise, own, probable = _sampled(place, token, temperature, top_p)
    return ReadToken(
        logprob=place.logprob,
        best=best,
        gap=gap,
        surprise=surprise,
        own=own,
        probable=probable,
        others={other: place.top[other] for other in others if other in place.top},
    )


def _sampled(
    place: Place, token: int, temperature: float, top_p: float
) -> tuple[float, float, tuple[float, ...]]:
    """Return surprise, logprob and the most probable logprobs of a sampled token.

    A place without a probable choice of others, or with much probability outside the known tokens,
    has no most probable logprobs; nor has one that top_p does not allow, which number formats
    decide at the limit.
    """
    known = list(place.top.values())
    power, first = 1 / temperature, known[0]
    # Weights are relative to that of the most probable token.
    weights = [math.exp(power * (value - first)) for value in known]
    total, log_rest = sum(weights), _rest(known, power) - power * first
    rest = math.exp(log_rest)
    if token in place.top:
        own_weight = math.exp(power * (place.logprob + _ABOVE_ZERO - first))
        below = sum(weight for weight in weights if weight <= own_weight)
        surprise = math.log(total + rest) - math.log(below + rest)
    else:
        outside = math.log(_VOCABULARY - len(known))
        log_tail = min(log_rest, outside + power * (place.logprob - first))
        surprise = math.log(total + math.exp(log_tail)) - log_tail
    whole = math.log(total + rest)
    own = power * (place.logprob - first) - whole
    shares = [power * (value - first) - whole for value in known]
    if math.exp(first) >= CERTAIN or rest > _SMALL_REST * (total + rest):
        return surprise, own, ()
    if top_p < 1:
        before = 0.0
        kept = []
        for share in shares:
            if before >= top_p:
                break
            kept.append(share)
            before += math.exp(share)
        if before < top_p or own < kept[-1] - _ABOVE_ZERO:
            return surprise, own, ()
        shares = [share - math.log(before) for share in kept]
        own -= math.log(before)
    return surprise, own, tuple(shares[:MOST_ALTERNATIVES])


def _rest(known: Sequence[float], power: float) -> float:
    """Return the logarithm of R, the most that the tokens outside the known ones may weigh."""
    count = math.log(_VOCABULARY - len(known))
    left = math.log(max(1 - sum(map(math.exp, known)), _ROUNDING))
    spread = (1 - power) * count + power * left if power <= 1 else left + (power - 1) * known[-1]
    return min(spread, count + power * known[-1])
