"""Numerics: whether the model computes what the reference engine computes on the same weights.

The provider is asked what a golden file holds the answers to, and its replies are compared with
them token by token: log probabilities where it gives them, and in any case the tokens themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.base import Reply
from harness.checks.base import HARMONY, Problem
from harness.golden.distance import (
    LEAST_ALONE,
    LEAST_VALUES,
    Compared,
    Entry,
    compare,
    distance,
    shown,
)
from harness.golden.divergence import divergence
from harness.golden.entries import entries_of
from harness.golden.records import Continuation, Distance, Golden, Token, Tolerance
from harness.golden.tokens import bytes_of
from harness.parsing.rollout import ParsedExchange
from harness.probes import passages
from harness.probes.base import Answers, Bench, NotVerifiableError, Trial

BENCH = Bench("numerics", passages.asks, golden=True)
_CREATE = "`gpt-oss-verify golden create` makes one, and --golden names it"
_USES = tuple(ask.name for ask in passages.asks("chat"))


@BENCH.probe(
    "numerics.logprobs",
    uses=_USES,
    needs="logprobs",
    severity="error",
    summary="Log probabilities are those of the reference engine on the same weights.",
    why="Wrong attention, experts or weights show here before any score drops; what number formats "
    "and batches change is tolerated, as learned from healthy runs.",
    source=HARMONY,
)
def _logprobs(answers: Answers) -> Iterator[Trial]:
    golden = reference(answers)
    compared: list[tuple[ParsedExchange, Compared]] = []
    for turn, reply, continuation in _comparable(answers, golden):
        tokens = list(continuation.tokens())
        found = divergence(tokens, reply, ended=reply.finish != "length")
        if found is None or tokens[found.at].part not in ("reasoning", "marker"):
            compared.append((turn, compare(*_aligned(tokens, turn, reply))))
    together = sum((each for _, each in compared), Compared())
    values = len(together.differences)
    if values < LEAST_VALUES:
        raise NotVerifiableError(
            f"{values} log probabilities could be compared with the golden ones, and "
            f"{LEAST_VALUES} are needed: the replies have none, or go other ways."
        )
    first = next(turn for turn, each in compared if each.differences)
    yield _too_far(first, distance(together), golden.tolerance)
    for turn, each in compared:
        if len(each.differences) >= LEAST_ALONE:
            yield _one_too_far(turn, distance(each), golden.tolerance)


@BENCH.probe(
    "numerics.greedy",
    uses=_USES,
    severity="error",
    summary="At temperature 0 the reply is the reference's, but where two tokens are as good.",
    why="A token that the reference is sure not to take shows another model, other weights or a "
    "defect of the engine; it takes no log probabilities to see it.",
    source=HARMONY,
)
def _greedy(answers: Answers) -> Iterator[Trial]:
    golden = reference(answers)
    for turn, reply, continuation in _comparable(answers, golden):
        tokens = list(continuation.tokens())
        found = divergence(tokens, reply, ended=reply.finish != "length")
        if found is None or found.gap <= golden.tolerance.gap:
            yield None
            continue
        message = (
            f"After {found.at} tokens the reply goes another way, where the reference is surer "
            f"than noise explains."
        )
        got = f"{found.got}, less probable by {found.gap:.1f} nats or more"
        allowed = f"{found.expected}, or a token behind it by {golden.tolerance.gap:.1f} at most"
        yield Problem(turn, message, allowed, got)


def reference(answers: Answers) -> Golden:
    """The golden file of a run. Raises NotVerifiableError where none fits."""
    if answers.golden is None:
        raise NotVerifiableError(f"There is no golden file for this model: {_CREATE}.")
    if answers.golden.requests_sha256 != passages.fingerprint():
        raise NotVerifiableError(f"The golden file is of another version: {_CREATE}.")
    return answers.golden


def _comparable(
    answers: Answers, golden: Golden
) -> Iterator[tuple[ParsedExchange, Reply, Continuation]]:
    """The replies to prompts that were as long as the golden ones, with the golden answers.

    Raises:
        NotVerifiableError: There are none; says why.
    """
    replies = [
        (turn, reply, golden.continuations[name])
        for name in _USES
        for turn, reply in _replies(answers, name)
    ]
    if not replies:
        answers.reply(_USES[0])
        raise NotVerifiableError("None of the requests got a reply.")
    if not any(reply.reasoning for _, reply, _ in replies):
        raise NotVerifiableError("The replies come without the CoT that the answers follow.")
    same = [each for each in replies if each[1].input_tokens == each[2].prompt_tokens]
    if not same:
        _, reply, continuation = replies[0]
        raise NotVerifiableError(
            f"The prompts are others: {reply.input_tokens or 'an unknown number of'} tokens "
            f"and not {continuation.prompt_tokens}. If it is the date line, make a golden file "
            "with --current-date."
        )
    yield from same


def _replies(answers: Answers, name: str) -> Iterator[tuple[ParsedExchange, Reply]]:
    try:
        yield from answers.replies(name)
    except NotVerifiableError:
        return


def _aligned(
    tokens: list[Token], turn: ParsedExchange, reply: Reply
) -> tuple[list[Token], list[Entry]]:
    """Golden tokens and those of the reply, from the same place on.

    Most servers report the tokens of the answer, some all that the model wrote.
    """
    found = entries_of(turn, reply)
    if found and found[0].name == bytes_of(tokens[0].id):
        return tokens, found
    return [token for token in tokens if token.part == "answer"], found


def _too_far(turn: ParsedExchange, found: Distance, allowed: Tolerance) -> Trial:
    if allowed.allows(found):
        return None
    message = (
        f"The log probabilities are farther from the reference's than those of healthy runs: "
        f"{found.values} of {found.tokens} tokens, of which {found.agreement:.0%} have the same "
        "best alternative."
    )
    return Problem(turn, message, f"at most {shown(allowed)}", shown(found))


def _one_too_far(turn: ParsedExchange, found: Distance, allowed: Tolerance) -> Trial:
    if found.p95 <= allowed.request_p95:
        return None
    message = (
        "The log probabilities of this reply are farther from the reference's than those of any "
        f"reply of healthy runs: {found.values} of {found.tokens} tokens."
    )
    most = f"95 % within {allowed.request_p95:.3f} nats"
    return Problem(turn, message, most, f"95 % within {found.p95:.3f} nats")
