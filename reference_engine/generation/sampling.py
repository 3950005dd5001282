"""Samples tokens from logits.

A token is drawn by inverting the cumulative distribution at one uniform number. That number depends
only on the request's seed and on how many tokens the request has drawn before. The sums use a fixed
order over fixed chunks of the vocabulary, so a draw does not depend on the rest of the batch.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.kernels.chunk_sums import CHUNK, ChunkSums, chunk_sums

ROWS_AT_ONCE = 4
"""Rows per call on a CPU. With few rows, the float32 copies are small and the allocator reuses
their memory. Fresh pages for the whole batch would cost more than the arithmetic."""
CANDIDATES = 1024
"""Number of most probable tokens that a GPU sorts for top_p; if not enough, it sorts all tokens."""
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
    seed: int | None = None  # seed of the random draws; random if None
    stop_token_ids: frozenset[int] = frozenset()  # tokens that end the generation
    top_logprobs: int | None = None
    """Number of alternatives to report with the logprob of each token. 0 reports only the token's
    own logprob, None reports no logprobs."""
    grammar: Grammar | None = None  # restricts the completion

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}.")
        if self.top_logprobs is not None and self.top_logprobs < 0:
            raise ValueError(f"top_logprobs must be 0 or more, not {self.top_logprobs}.")

    @property
    def needs_all_logits(self) -> bool:
        """Whether the draw needs the logits of the whole vocabulary, not only of a shortlist.

        Above temperature 1, improbable tokens become more probable.
        """
        return self.top_logprobs is not None or self.grammar is not None or self.temperature > 1


@dataclass(frozen=True)
class Token:
    """A generated token.

    `logprob` and `top` are logprobs of the unmodified distribution, before temperature, top_p and
    grammar. They are set only if the request enabled logprobs.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    reused: int = field(default=0, compare=False)
    """For the first token of a request, the number of its prompt tokens found in the cache."""


@dataclass(frozen=True)
class Draw:
    """One row to sample: its settings, its seed, and the number of tokens drawn before.

    A draw with a constraint passes it the drawn token, so it must not be repeated.
    """

    params: SamplingParams
    seed: int
    step: int
    constraint: Constraint | None = None


Sampler = Callable[[Tensor, Sequence[Draw]], list[Token | None]]  # the signature of `sample`


def seed_of(params: SamplingParams) -> int:
    """Return the request's seed, or a random one."""
    return secrets.randbits(64) if params.seed is None else params.seed


def uniform(seed: int, step: int) -> float:
    """Return a number in [0, 1) with 53 random bits: the `step`-th of the stream of `seed`."""
    return (_mix(_mix(seed & _MASK) + step) >> 11) / 2**53


def sample(logits: Tensor, draws: Sequence[Draw]) -> list[Token | None]:
    """Draw a token for each row of `logits` (rows, vocabulary); None if they are not finite."""
    if logits.is_cuda:
        return sample_together(logits, draws)
    if logits.device.type == "mps":  # MPS has no float64.
        logits = logits.cpu()
    tokens: list[Token | None] = []
    for first in range(0, len(draws), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        tokens += _sample(logits[rows].float(), draws[rows])
    return tokens


def sample_together(logits: Tensor, draws: Sequence[Draw]) -> list[Token | None]:
    """Draw the same tokens as `sample`, for GPUs: all rows together, one copy each way."""
    logits = logits.float()
    candidates = CANDIDATES if is_nucleus(draws) else 0
    drawn = draw_tokens(logits, _settings(draws, logits), candidates)
    return read_tokens(logits, drawn, draws)


def is_nucleus(draws: Sequence[Draw]) -> bool:
    """Return whether a row draws only from the most probable tokens."""
    return any(_top_p(draw.params) < 1 for draw in draws)


def settings_of(draws: Sequence[Draw]) -> list[tuple[float, float, float, float]]:
    """Return the settings of each row: divisor, uniform number, top_p and temperature."""
    return [
        (
            _divisor(draw.params),
            uniform(draw.seed, draw.step),
            _top_p(draw.params),
            draw.params.temperature,
        )
        for draw in draws
    ]


def draw_tokens(
    logits: Tensor, settings: Tensor, candidates: int, chunk_sums: ChunkSums = chunk_sums
) -> Tensor:
    """Draw a token for each row and read nothing back, so a CUDA graph can record it.

    The first stage reads all logits once (`chunk_sums`); the second one draws a chunk, and then a
    token of this chunk.

    Args:
        logits: (rows, vocabulary) in float32.
        settings: (rows, 4) in float64, see `settings_of`.
        candidates: Number of most probable tokens among which rows with a top_p draw; 0 if no row
            has one.
        chunk_sums: The implementation of the first stage.

    Returns:
        (rows,), int64: a token, `NO_TOKEN` if the logits are not finite, or `UNDECIDED` if the
        candidates do not suffice for the top_p.
    """
    divisor, target, top_p, temperature = settings[..., None].unbind(1)
    divisor = divisor.float()
    largest, sums = chunk_sums(logits, divisor[:, 0])
    best = largest.amax(-1, keepdim=True)
    weights = sums * ((largest - best) / divisor).exp()
    total = weights.sum(-1, keepdim=True)
    unusable = ~(best + total).isfinite()
    chunk, rest = _invert(weights, target)
    greedy = temperature == 0
    chunk = torch.where(greedy, largest.argmax(-1, keepdim=True), chunk)
    spare = -logits.shape[1] % CHUNK
    padded = F.pad(logits, (0, spare), value=-math.inf) if spare else logits
    chunks = padded.reshape(len(logits), -1, CHUNK)
    within = chunks[torch.arange(len(logits), device=logits.device), chunk[:, 0]]
    powers = ((within - best) / divisor).exp()
    inner, _ = _invert(powers, rest)
    chosen = chunk * CHUNK + torch.where(greedy, within.argmax(-1, keepdim=True), inner)
    if candidates:
        found = logits.topk(min(candidates, logits.shape[1]))
        probable = ((found.values - best) / divisor).exp() / total
        drawn, certain = _draw_top_p_together(
            probable, found.indices, top_p, target, complete=candidates >= logits.shape[1]
        )
        chosen = torch.where(top_p < 1, drawn.masked_fill(~certain, UNDECIDED), chosen)
    return chosen.masked_fill(unusable, NO_TOKEN)[:, 0]


def read_tokens(logits: Tensor, drawn: Tensor, draws: Sequence[Draw]) -> list[Token | None]:
    """Return the tokens that `draw_tokens` drew; `logits` are for undecided rows and logprobs."""
    chosen: list[int] = drawn.tolist()
    if rows := [row for row, token in enumerate(chosen) if token == UNDECIDED]:
        undecided, again = logits[rows], [draws[row] for row in rows]
        exact = draw_tokens(undecided, _settings(again, undecided), undecided.shape[1])
        for row, token in zip(rows, exact.tolist(), strict=True):
            chosen[row] = token
    return _tokens(logits, chosen, draws)


def _settings(draws: Sequence[Draw], logits: Tensor) -> Tensor:
    pinned = logits.is_cuda
    settings = torch.tensor(settings_of(draws), dtype=torch.float64, pin_memory=pinned)
    return settings.to(logits.device, non_blocking=True)


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


def _tokens(logits: Tensor, chosen: list[int], draws: Sequence[Draw]) -> list[Token | None]:
    """Return the tokens with the requested logprobs; None for `NO_TOKEN`.

    The tokens are the chosen ones, or others if a constraint does not allow those.
    """
    for row, draw in enumerate(draws):
        rule = draw.constraint
        if rule is not None and chosen[row] != NO_TOKEN and not rule.take(chosen[row]):
            chosen[row] = _draw_allowed(logits[row], draw, rule.allowed())
            rule.take(chosen[row])
    tokens = [None if each == NO_TOKEN else Token(each) for each in chosen]
    wanted = [
        row
        for row, draw in enumerate(draws)
        if tokens[row] and draw.params.top_logprobs is not None
    ]
    if wanted:
        tops = [draws[row].params.top_logprobs or 0 for row in wanted]
        own = torch.tensor([chosen[row] for row in wanted], device=logits.device)
        for row, token in zip(wanted, logprobs_of(logits[wanted], own, tops), strict=True):
            tokens[row] = token
    return tokens


def _draw_allowed(logits: Tensor, draw: Draw, allowed: Tensor) -> int:
    """Draw from the allowed tokens, after the draw from all tokens chose one that is not allowed.

    The random number of the second draw is independent of the first. The two draws together
    therefore follow the distribution of the allowed tokens (exactly, if there is no top_p).
    """
    masked = logits.masked_fill(~allowed.to(logits.device), -math.inf)[None]
    settings = _settings([replace(draw, seed=~draw.seed)], masked)
    return int(draw_tokens(masked, settings, masked.shape[1] if is_nucleus([draw]) else 0))


def _sample(logits: Tensor, draws: Sequence[Draw]) -> list[Token | None]:
    unusable = ~logits.amax(-1, keepdim=True).isfinite()
    if unusable.any():
        logits = logits.masked_fill(unusable, 0.0)
    divisors = [_divisor(draw.params) for draw in draws]
    scaled = logits
    if any(divisor != 1.0 for divisor in divisors):
        scaled = logits / torch.tensor(divisors, device=logits.device)[:, None]
    uniforms = [uniform(draw.seed, draw.step) for draw in draws]
    target = torch.tensor(uniforms, dtype=torch.float64, device=logits.device)[:, None]
    chosen = _draw(scaled, target)[:, 0]
    for row, draw in enumerate(draws):
        if draw.params.temperature == 0:
            chosen[row] = logits[row].argmax()
        elif draw.params.top_p < 1:
            chosen[row] = _draw_top_p(scaled[row], draw)
    return _tokens(logits, chosen.masked_fill(unusable[:, 0], NO_TOKEN).tolist(), draws)


def _divisor(params: SamplingParams) -> float:
    """Return the divisor of the logits; temperature 0 needs no division."""
    return max(params.temperature, _MIN_TEMPERATURE) if params.temperature else 1.0


def _top_p(params: SamplingParams) -> float:
    """Return the effective top_p; temperature 0 needs none."""
    return params.top_p if params.temperature else 1.0


def _draw(scaled: Tensor, target: Tensor) -> Tensor:
    """Invert the cumulative distribution, by chunks; `target` and the tokens are (rows, 1)."""
    rows, vocabulary = scaled.shape
    probability = scaled.softmax(-1)
    if vocabulary % CHUNK:
        probability = F.pad(probability, (0, -vocabulary % CHUNK))
    chunks = probability.view(rows, -1, CHUNK)
    chunk, rest = _invert(chunks.sum(-1), target)
    within = chunks[torch.arange(rows, device=scaled.device), chunk[:, 0]]
    inner, _ = _invert(within, rest)
    return chunk * CHUNK + inner


def _draw_top_p_together(
    probable: Tensor, indices: Tensor, top_p: Tensor, target: Tensor, *, complete: bool
) -> tuple[Tensor, Tensor]:
    """Do the same as `_draw_top_p` for all rows among their most probable tokens.

    `probable` and `indices` are these tokens' probabilities and numbers, (rows, n), all tokens if
    `complete`. `top_p` and `target` are (rows, 1), as are the results: the tokens, and whether each
    would be the same if drawn from all tokens. This is the case if every token that the top_p keeps
    is more probable than the last candidate, because then no other token is kept.
    """
    by_index = indices.sort(-1)  # Equally probable tokens keep this order.
    order = probable.gather(1, by_index.indices).sort(descending=True, stable=True)
    kept = order.values.double().cumsum(-1) - order.values < top_p
    index, _ = _invert(order.values * kept, target)
    last_kept = (kept.sum(-1, keepdim=True) - 1).clamp(min=0)
    place = order.indices.gather(1, index.minimum(last_kept))
    last = order.values[:, -1:]
    certain = (order.values > last).logical_or_(~kept).all(-1, keepdim=True)
    return by_index.values.gather(1, place), certain | complete


def _invert(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index whose share of (0, 1) contains `target`, and the position in that share."""
    cumulative = weights.double().cumsum(-1)
    reach = target * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, reach, right=True).clamp(max=weights.shape[-1] - 1)
    share = weights.double().gather(1, index)
    rest = (reach - (cumulative.gather(1, index) - share)) / share
    return index, rest.clamp(0, 1 - 2**-53)


def _draw_top_p(scaled: Tensor, draw: Draw) -> int:
    """Draw from the most probable tokens without sorting the very improbable ones.

    All tokens below (1 - top_p) / vocabulary together have a probability below 1 - top_p, so the
    remaining tokens reach top_p.
    """
    probability = scaled.softmax(-1)
    bound = (1 - draw.params.top_p) / len(probability)
    candidates = torch.nonzero(probability >= bound)[:, 0]
    order = probability[candidates].sort(descending=True, stable=True)
    before = order.values.double().cumsum(0) - order.values
    kept = order.values[before < draw.params.top_p]
    target = torch.tensor([[uniform(draw.seed, draw.step)]], dtype=torch.float64).to(scaled.device)
    index, _ = _invert(kept[None], target)
    return int(candidates[order.indices[index[0, 0]]])


def _mix(value: int) -> int:
    """Mix 64 bits (the finalizer of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
