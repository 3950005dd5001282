"""Samples tokens from logits.

A token is drawn by inverting the cumulative distribution at one uniform number. That number depends
only on the request's seed and on how many tokens the request has drawn before. The first stage
draws a chunk of the vocabulary (`model.logits`), the second a token of this chunk. All sums have a
fixed order, so a draw does not depend on the rest of the batch.
"""

import math
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.model.logits import AllLogits, Logits

CANDIDATES = 1024
"""Number of most probable tokens that are sorted for top_p and top_k; if not enough, all are."""
NO_TOKEN, UNDECIDED = -1, -2  # results of `draw_tokens` that are not tokens
_MASK = 2**64 - 1
_MIN_TEMPERATURE = 1e-20
"""Lower temperatures give the same result, because logits that differ do so by more, but dividing
the logits by less could overflow: on a GPU, an index from sums that are not numbers is fatal."""

UNLIMITED = 2**31  # more tokens than any context has


class Constraint(Protocol):
    """The allowed next tokens of one request, given the tokens so far."""

    def take(self, token: int) -> bool:
        """Take the next token if it is allowed; return whether it is allowed."""
        ...

    def allowed(self) -> Tensor:
        """Return whether each token may be the next one, (vocabulary,)."""
        ...


class Grammar(Protocol):
    """The constraints on a completion. Grammars are hashable."""

    def start(self, prompt: Sequence[int]) -> Constraint:
        """Return the constraint of a new completion of a prompt."""
        ...


@dataclass(frozen=True)
class SamplingParams:
    """The sampling settings of a request."""

    max_tokens: int = UNLIMITED  # maximum number of generated tokens, including the stop token
    temperature: float = 1.0  # divisor of the logits; 0 selects the most probable token
    top_p: float = 1.0
    """Sample only from the most probable tokens whose total probability reaches this."""
    top_k: int = 0
    """Sample only from this many most probable tokens, 0 from all; top_p is a share of these."""
    seed: int | None = None  # seed of the random draws; random if None
    stop_token_ids: frozenset[int] = frozenset()  # tokens that end the generation
    top_logprobs: int | None = None
    """Number of alternatives to report with the logprob of each token. 0 reports only the token's
    own logprob, None reports no logprobs."""
    grammar: Grammar | None = None  # restricts the completion
    frequency_penalty: float = 0.0  # lowers a token's logit by this for each time it was generated
    presence_penalty: float = 0.0  # lowers the logits of generated tokens by this

    @property
    def penalizes(self) -> bool:
        """Whether the generated tokens change the logits."""
        return bool(self.frequency_penalty or self.presence_penalty)

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}.")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 or more, not {self.top_k}.")
        if self.top_logprobs is not None and self.top_logprobs < 0:
            raise ValueError(f"top_logprobs must be 0 or more, not {self.top_logprobs}.")


@dataclass(frozen=True)
class Token:
    """A generated token.

    `logprob` and `top` are logprobs of the unmodified distribution, before penalties, temperature,
    top_p, top_k and grammar. They are set only if the request enabled logprobs.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    reused: int = field(default=0, compare=False)
    """For the first token of a request, the number of its prompt tokens found in the cache."""


@dataclass(frozen=True)
class Draw:
    """One row to sample: its settings, its seed, and the number of tokens drawn before.

    A draw with a constraint passes it the drawn token, so it must not be repeated. `generated` are
    the tokens so far, if the settings penalize them.
    """

    params: SamplingParams
    seed: int
    step: int
    constraint: Constraint | None = None
    generated: Sequence[int] = ()


Sampler = Callable[[Logits, Sequence[Draw]], list[Token | None]]  # the signature of `sample`


def seed_of(params: SamplingParams) -> int:
    """Return the request's seed, or a random one."""
    return secrets.randbits(64) if params.seed is None else params.seed


def uniform(seed: int, step: int) -> float:
    """Return a number in [0, 1) with 53 random bits: the `step`-th of the stream of `seed`."""
    return (_mix(_mix(seed & _MASK) + step) >> 11) / 2**53


def sample(logits: Logits, draws: Sequence[Draw]) -> list[Token | None]:
    """Draw a token for each row; None if its logits are not finite."""
    settings = _settings(draws, logits.device)
    limited = _limited(settings[:, 2], settings[:, 3])
    drawn = draw_tokens(logits, settings, 0).masked_fill_(limited, UNDECIDED)
    return read_tokens(logits, drawn, draws)


def is_nucleus(draws: Sequence[Draw]) -> bool:
    """Return whether a row draws only from the most probable tokens, by its top_p or top_k."""
    return any(
        each.params.temperature and (each.params.top_p < 1 or each.params.top_k) for each in draws
    )


def settings_of(draws: Sequence[Draw]) -> list[tuple[float, float, float, float, float]]:
    """Return the settings of each row: divisor, uniform number, top_p, top_k and temperature.

    A row without a limit has top_p 1 and an infinite top_k. Temperature 0 needs none, and the
    smallest divisor saves it the sums of all chunks but the best.
    """
    rows = []
    for draw in draws:
        given, drawn = draw.params, uniform(draw.seed, draw.step)
        if given.temperature:
            divisor = max(given.temperature, _MIN_TEMPERATURE)
            rows.append((divisor, drawn, given.top_p, given.top_k or math.inf, given.temperature))
        else:
            rows.append((_MIN_TEMPERATURE, drawn, 1.0, math.inf, 0.0))
    return rows


def draw_tokens(logits: Logits, settings: Tensor, candidates: int) -> Tensor:
    """Draw a token for each row and read nothing back, so a CUDA graph can record it.

    Args:
        logits: The logits of the rows.
        settings: (rows, 5) in float64, see `settings_of`.
        candidates: Number of most probable tokens among which rows with a top_p or top_k draw; with
            0, they draw from all tokens, and no more logits are needed than for the others.

    Returns:
        (rows,), int64: a token, `NO_TOKEN` if the logits are not finite, or `UNDECIDED` if the
        candidates do not cover the top_p or top_k.
    """
    divisor, target, top_p, top_k, temperature = settings[..., None].unbind(1)
    divisor = divisor.float()
    largest, sums = logits.chunk_sums(divisor[:, 0])
    best = largest.amax(-1, keepdim=True)
    weights = sums * ((largest - best) / divisor).exp()
    total = weights.sum(-1, keepdim=True)
    unusable = ~(best + total).isfinite()
    chunk, rest = _invert(weights, target)
    greedy = temperature == 0
    tokens, within = logits.chunk(torch.where(greedy, largest.argmax(-1, keepdim=True), chunk))
    place, _ = _invert(((within - best) / divisor).exp(), rest)
    chosen = tokens.gather(1, torch.where(greedy, within.argmax(-1, keepdim=True), place))
    if candidates:
        every = logits.of()
        found = every.topk(min(candidates, every.shape[1]))
        probable = ((found.values - best) / divisor).exp() / total
        complete = candidates >= every.shape[1]
        drawn, certain = _draw_limited(
            probable, found.indices, top_p, top_k, target, complete=complete
        )
        drawn = drawn.masked_fill(~certain, UNDECIDED)
        chosen = torch.where(_limited(top_p, top_k), drawn, chosen)
    return chosen.masked_fill(unusable, NO_TOKEN)[:, 0]


def read_tokens(logits: Logits, drawn: Tensor, draws: Sequence[Draw]) -> list[Token | None]:
    """Return the tokens that `draw_tokens` drew, or others after penalties and constraints.

    `logits` are for undecided rows, penalties, constraints and the requested logprobs.
    """
    chosen: list[int] = drawn.tolist()
    candidates = CANDIDATES
    while rows := [row for row, token in enumerate(chosen) if token == UNDECIDED]:
        undecided = AllLogits(logits.of(rows))
        settings = _settings([draws[row] for row in rows], logits.device)
        exact = draw_tokens(undecided, settings, candidates)
        for row, token in zip(rows, exact.tolist(), strict=True):
            chosen[row] = token
        candidates = undecided.values.shape[1]
    for row, draw in enumerate(draws):
        if chosen[row] == NO_TOKEN:
            continue
        if draw.generated:
            chosen[row] = _draw_from(_penalized(logits.of([row]), draw), draw)
        rule = draw.constraint
        if rule is not None and not rule.take(chosen[row]):
            # The number of this draw is independent of the first. The two draws together follow the
            # distribution of the allowed tokens (exactly, if there is no top_p or top_k).
            forbidden = ~rule.allowed().to(logits.device)
            allowed = _penalized(logits.of([row]), draw).masked_fill(forbidden, -math.inf)
            chosen[row] = _draw_from(allowed, replace(draw, seed=~draw.seed))
            rule.take(chosen[row])
    tokens = [None if token == NO_TOKEN else Token(token) for token in chosen]
    tops = {
        row: draw.params.top_logprobs
        for row, draw in enumerate(draws)
        if tokens[row] and draw.params.top_logprobs is not None
    }
    if tops:
        own = torch.tensor([chosen[row] for row in tops], device=logits.device)
        found = logprobs_of(logits.of(list(tops)), own, list(tops.values()))
        for row, token in zip(tops, found, strict=True):
            tokens[row] = token
    return tokens


def logprobs_of(logits: Tensor, chosen: Tensor, tops: Sequence[int]) -> list[Token]:
    """Return the chosen tokens (rows,), each with its logprob and its number of alternatives."""
    logprobs = logits.log_softmax(-1)
    best = logprobs.topk(max(tops))
    own = logprobs.gather(1, chosen[:, None])[:, 0]
    columns = (chosen, own, best.indices, best.values)
    return [
        Token(token, logprob, tuple(zip(ids[:top], values[:top], strict=True)))
        for token, logprob, ids, values, top in zip(
            *(column.tolist() for column in columns), tops, strict=True
        )
    ]


def _settings(draws: Sequence[Draw], device: torch.device) -> Tensor:
    pinned = device.type == "cuda"
    settings = torch.tensor(settings_of(draws), dtype=torch.float64, pin_memory=pinned)
    return settings.to(device, non_blocking=True)


def _draw_from(logits: Tensor, draw: Draw) -> int:
    """Draw from the changed logits of one row, (1, vocabulary)."""
    return int(draw_tokens(AllLogits(logits), _settings([draw], logits.device), logits.shape[1]))


def _penalized(logits: Tensor, draw: Draw) -> Tensor:
    """Return the logits of one row, (1, vocabulary), after the penalties for generated tokens.

    The logit of a token that was generated c > 0 times is lowered by c times the frequency penalty
    and by the presence penalty, as OpenAI's API reference defines them ("Advanced usage: frequency
    and presence penalties"). Tokens of the prompt do not count, as in vLLM.
    """
    counts = Counter(draw.generated)
    given = draw.params
    lowered = [given.presence_penalty + given.frequency_penalty * n for n in counts.values()]
    tokens = torch.tensor([list(counts)], dtype=torch.int64, device=logits.device)
    penalties = torch.tensor([lowered], dtype=logits.dtype, device=logits.device)
    return logits.scatter_add(1, tokens, -penalties)


def _limited(top_p: Tensor, top_k: Tensor) -> Tensor:
    """Return whether rows with these settings draw only from the most probable tokens."""
    return (top_p < 1).logical_or(top_k.isfinite())


def _draw_limited(
    probable: Tensor,
    indices: Tensor,
    top_p: Tensor,
    top_k: Tensor,
    target: Tensor,
    *,
    complete: bool,
) -> tuple[Tensor, Tensor]:
    """Draw from the top_k most probable tokens, or from those whose share of them reaches top_p.

    This is vLLM's order (v1/sample/ops/topk_topp_sampler.py, 0.32); of equally probable tokens,
    vLLM keeps more than top_k. `probable` and `indices` are the candidates' probabilities and
    numbers, (rows, n), all tokens if `complete`. `top_p`, `top_k` and `target` are (rows, 1), as
    are the results: the tokens, and whether each would be the same if drawn from all tokens. This
    is the case if every kept token is more probable than the last candidate, because then no other
    token is kept, and if a top_k does not reach beyond the candidates.
    """
    by_index = indices.sort(-1)  # Equally probable tokens keep this order.
    order = probable.gather(1, by_index.indices).sort(descending=True, stable=True)
    values, count = order.values.double(), order.values.shape[1]
    first = torch.arange(count, device=values.device) < top_k
    share = (values * first).sum(-1, keepdim=True).masked_fill(top_k.isinf(), 1)
    kept = (values.cumsum(-1) - values < top_p * share).logical_and(first)
    index, _ = _invert(order.values * kept, target)
    last_kept = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)
    place = order.indices.gather(1, index.minimum(last_kept))
    last = order.values[:, -1:]
    certain = (order.values > last).logical_or_(~kept).all(-1, keepdim=True)
    certain = certain.logical_and_((top_k <= count).logical_or_(top_k.isinf()))
    return by_index.values.gather(1, place), certain | complete


def _invert(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index whose share of (0, 1) contains `target`, and the position in that share."""
    cumulative = weights.double().cumsum(-1)
    reach = target * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, reach, right=True).clamp(max=weights.shape[-1] - 1)
    share = weights.double().gather(1, index)
    rest = (reach - (cumulative.gather(1, index) - share)) / share
    return index, rest.clamp(0, 1 - 2**-53)


def _mix(value: int) -> int:
    """Mix 64 bits (the finalizer of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
