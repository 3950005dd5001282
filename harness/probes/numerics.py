"""Numerics: replies compared with a golden file of the reference engine on the same weights.

Greedy replies are compared token by token, with logprobs if the provider returns them. Replies
sampled at temperature 1 are compared as distributions, which needs neither logprobs nor greedy
replies, but dozens of replies, and detects only large differences.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.base import Reply
from harness.findings import HARMONY, Problem
from harness.golden.distance import (
    LEAST_ALONE,
    LEAST_VALUES,
    Compared,
    Entry,
    compare,
    distance,
    entries_of,
    shown,
)
from harness.golden.divergence import divergence
from harness.golden.records import Continuation, Distance, Golden, Token, Tolerance, drawn_text
from harness.golden.tokens import bytes_of
from harness.parsing.rollout import ParsedExchange
from harness.probes import golden_prompts
from harness.probes.base import NotVerifiableError, ProbeGroup, ProbeResponses, Trials
from harness.statistics.model_equality import p_value

GROUP = ProbeGroup("numerics", golden_prompts.greedy, HARMONY, golden=True)
DRAWN_GROUP = ProbeGroup(
    "sampling.drawn",
    golden_prompts.drawn,
    "https://arxiv.org/abs/2410.20247",
    suite="full",
    golden=True,
)
_HINT = "create one with `gpt-oss-verify golden create` and pass it with --golden"
_USES = tuple(request.name for request in golden_prompts.greedy("chat"))
_SIGNIFICANCE = 0.001
_LEAST_REPLIES = 24


@GROUP.probe("numerics.logprobs", _USES, needs="logprobs")
def _logprobs(responses: ProbeResponses) -> Trials:
    """Logprobs agree with those of the reference engine on the same weights.

    Wrong attention, experts or weights show here before any score drops. The tolerance, learned
    from healthy runs, covers number formats and batching.
    """
    golden = _reference(responses)
    compared: list[tuple[ParsedExchange, Compared]] = []
    for exchange, reply, continuation in _comparable(responses, golden):
        tokens = list(continuation.tokens())
        found = divergence(tokens, reply, ended=reply.finish != "length")
        if found is None or tokens[found.at].part not in ("reasoning", "marker"):
            compared.append((exchange, compare(*_aligned(tokens, exchange, reply))))
    together = sum((each for _, each in compared), Compared())
    values = len(together.differences)
    if values < LEAST_VALUES:
        raise NotVerifiableError(
            f"Only {values} logprobs are comparable with the golden file, and {LEAST_VALUES} are "
            "needed: the replies have no logprobs, or diverge early."
        )
    first = next(exchange for exchange, each in compared if each.differences)
    yield _exceeding(first, distance(together), golden.tolerance)
    for exchange, each in compared:
        if len(each.differences) >= LEAST_ALONE:
            yield _exceeding_alone(exchange, distance(each), golden.tolerance)


@GROUP.probe("numerics.greedy", _USES)
def _greedy(responses: ProbeResponses) -> Trials:
    """At temperature 0 the reply equals the reference's, except at near-ties between two tokens.

    A token that the reference clearly rejects means another model, other weights or a defect of
    the engine. Detecting it needs no logprobs.
    """
    golden = _reference(responses)
    for exchange, reply, continuation in _comparable(responses, golden):
        tokens = list(continuation.tokens())
        found = divergence(tokens, reply, ended=reply.finish != "length")
        if found is None or found.gap <= golden.tolerance.gap:
            yield None
            continue
        message = (
            f"The greedy reply diverges after {found.at} tokens, where the reference prefers its "
            "token by more than noise explains."
        )
        got = f"{found.got}, less probable by at least {found.gap:.1f} nats"
        limit = f"{golden.tolerance.gap:.1f} nats"
        expected = f"{found.expected}, or a token at most {limit} less probable"
        yield Problem(exchange, message, expected, got)


_DRAWN_TEXT = (
    "Replies at temperature 1 are distributed like those of the reference engine. A different "
    "temperature, a hidden top_p or other weights change the distribution, even if each reply "
    f"looks good; healthy providers fail once in {1 / _SIGNIFICANCE:,.0f} times."
)


@DRAWN_GROUP.probe(
    "sampling.distribution",
    [request.name for request in golden_prompts.drawn()],
    apis=("chat",),
    severity="warning",
    text=_DRAWN_TEXT,
)
def _distribution(responses: ProbeResponses) -> Trials:
    golden = _reference(responses)
    same = [
        (name, exchange, reply)
        for name, drawn in golden.drawn.items()
        for rollout in responses.rollouts.get(name, ())
        for exchange, reply in rollout.replies
        if reply.input_tokens == drawn.prompt_tokens
    ]
    if len(same) < _LEAST_REPLIES:
        raise NotVerifiableError(
            f"Only {len(same)} replies have prompts as long as the golden ones, and "
            f"{_LEAST_REPLIES} are needed."
        )
    if not any(reply.reasoning for _, _, reply in same):
        raise NotVerifiableError("No reply contains CoT, which the golden texts include.")
    texts: dict[str, list[str]] = {}
    for name, _, reply in same:
        texts.setdefault(name, []).append(drawn_text(reply.reasoning, reply.text))
    found = p_value({name: each.texts for name, each in golden.drawn.items()}, texts)
    message = f"{len(same)} replies at temperature 1 are distributed unlike the reference's."
    expected = f"a p-value above {_SIGNIFICANCE:g}"
    other = Problem(same[0][1], message, expected, f"p = {found:.2g}")
    yield other if found <= _SIGNIFICANCE else None


def _reference(responses: ProbeResponses) -> Golden:
    """The golden file of a run. Raises NotVerifiableError if none fits."""
    if responses.golden is None:
        raise NotVerifiableError(f"There is no golden file for this model; {_HINT}.")
    if responses.golden.requests_sha256 != golden_prompts.fingerprint():
        raise NotVerifiableError(f"The golden file belongs to another version; {_HINT}.")
    return responses.golden


def _comparable(
    responses: ProbeResponses, golden: Golden
) -> Iterator[tuple[ParsedExchange, Reply, Continuation]]:
    """The replies to prompts as long as the golden ones, with the golden continuations.

    Raises:
        NotVerifiableError: There are none; says why.
    """
    replies = [
        (exchange, reply, golden.continuations[name])
        for name in _USES
        for exchange, reply in _replies(responses, name)
    ]
    if not replies:
        responses.reply(_USES[0])
        raise NotVerifiableError("None of the requests got a reply.")
    if not any(reply.reasoning for _, reply, _ in replies):
        raise NotVerifiableError("The replies contain no CoT, which the answers depend on.")
    same = [each for each in replies if each[1].input_tokens == each[2].prompt_tokens]
    if not same:
        _, reply, continuation = replies[0]
        raise NotVerifiableError(
            f"The prompts differ: they have {reply.input_tokens or 'an unknown number of'} tokens "
            f"instead of {continuation.prompt_tokens}. If the date line is the cause, create a "
            "golden file with --current-date."
        )
    yield from same


def _replies(responses: ProbeResponses, name: str) -> Iterator[tuple[ParsedExchange, Reply]]:
    try:
        yield from responses.replies(name)
    except NotVerifiableError:
        return


def _aligned(
    tokens: list[Token], exchange: ParsedExchange, reply: Reply
) -> tuple[list[Token], list[Entry]]:
    """Golden tokens and reply tokens that start at the same place.

    Most servers return logprobs of the answer, some of all generated tokens.
    """
    found = entries_of(exchange, reply)
    if found and found[0].name == bytes_of(tokens[0].id):
        return tokens, found
    return [token for token in tokens if token.part == "answer"], found


def _exceeding(exchange: ParsedExchange, found: Distance, allowed: Tolerance) -> Problem | None:
    if allowed.allows(found):
        return None
    message = (
        "The logprobs differ from the reference's by more than those of healthy runs: "
        f"{found.values} logprobs at {found.tokens} positions, {found.agreement:.0%} of which have "
        "the same most probable token."
    )
    return Problem(exchange, message, f"at most {shown(allowed)}", shown(found))


def _exceeding_alone(
    exchange: ParsedExchange, found: Distance, allowed: Tolerance
) -> Problem | None:
    if found.p95 <= allowed.request_p95:
        return None
    message = (
        "The logprobs of this reply differ from the reference's by more than those of any reply of "
        f"healthy runs: {found.values} logprobs at {found.tokens} positions."
    )
    expected = f"95 % of |Δ logprob| within {allowed.request_p95:.3f} nats"
    got = f"95 % of |Δ logprob| within {found.p95:.3f} nats"
    return Problem(exchange, message, expected, got)
