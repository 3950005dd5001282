"""Tolerances of golden files, learned from healthy engines and other golden files. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from harmony.vocabulary import bytes_of
from harness.errors import ConfigurationError
from harness.golden.content import Continuation, Golden, HealthyRun, Token
from harness.golden.distance import (
    LEAST_ALONE,
    Compared,
    ReportedToken,
    compare,
    distance,
    tolerance,
)
from harness.golden.trusted_engines import Answer

_UNSTEADY = 10
"""A golden token is unsteady if it changes by more than this many times the usual change."""


def merge(first: Golden, others: Mapping[str, Golden]) -> Golden:
    """Return the first file, with the engines of the others, by name, as healthy runs.

    The golden answers remain those of the first file. Raises ConfigurationError if a file answers
    other requests, renders other prompts or has other weights.
    """
    golden = first
    for name, other in others.items():
        _require_same(first, other, name)
        golden = _with_engine(golden, other)
    known = {each.weights_sha256 for each in (first, *others.values())} - {""}
    golden = golden.model_copy(update={"weights_sha256": next(iter(known), "")})
    dated = {name: each.dated for name, each in others.items() if each.dated is not None}
    if first.dated is not None and dated:
        golden = golden.model_copy(update={"dated": merge(first.dated, dated)})
    long = {name: each.long for name, each in others.items() if each.long is not None}
    if first.long is not None and long:
        golden = with_long(golden, merge(first.long, long))
    return golden


def _require_same(first: Golden, other: Golden, name: str) -> None:
    hashes = {first.weights_sha256, other.weights_sha256} - {""}
    if len(hashes) > 1:
        raise ConfigurationError(f"{name} and the first file were created with different weights.")
    if first.requests_sha256 != other.requests_sha256:
        raise ConfigurationError(
            f"{name} and the first file answer different requests: create both with one version."
        )
    for request, continuation in first.continuations.items():
        due, found = continuation.prompt_tokens, other.continuations[request].prompt_tokens
        if due != found:
            raise ConfigurationError(
                f"{name} has {found} prompt tokens in {request!r}, but the first file has {due}: "
                "create both with the same date (--current-date)."
            )


def _with_engine(golden: Golden, other: Golden) -> Golden:
    """Return the golden file that also tolerates the engine of another file."""
    answers, others = (_answers(each.continuations) for each in (golden, other))
    answers = marked(answers, [list(others.values())])
    exact = all(run.exact for run in other.healthy[:1])
    run = run_of(other.engine, other.dtype, answers, others.values(), exact=exact)
    unsteady = {
        name: tuple(at for at, token in enumerate(answer.tokens) if not token.steady)
        for name, answer in answers.items()
    }
    continuations = {
        name: each.model_copy(update={"unsteady": unsteady[name]})
        for name, each in golden.continuations.items()
    }
    return golden.model_copy(
        update={"continuations": continuations, **learned((*golden.healthy, run))}
    )


def _answers(continuations: Mapping[str, Continuation]) -> dict[str, Answer]:
    return {
        name: Answer(name, each.prompt_tokens, tuple(each.tokens()))
        for name, each in continuations.items()
    }


def with_long(golden: Golden, long: Golden) -> Golden:
    """Return the golden file with the answers to long prompts.

    Their tolerated gap is at least that of the other answers, because they have too few near-ties
    to learn it from.
    """
    gap = max(long.tolerance.gap, golden.tolerance.gap)
    allowed = long.tolerance.model_copy(update={"gap": gap})
    return golden.model_copy(update={"long": long.model_copy(update={"tolerance": allowed})})


def run_of(
    name: str,
    numbers: str,
    golden: Mapping[str, Answer],
    others: Iterable[Answer],
    *,
    exact: bool,
) -> HealthyRun:
    """Return the deviation of answers from the golden ones. Raises ConfigurationError."""
    compared: list[Compared] = []
    gaps: list[float] = []
    for other in others:
        tokens = golden[other.id].tokens
        compared.append(_compared(tokens, other.tokens))
        pairs = zip(tokens, other.tokens, strict=False)
        gaps += [_gap(*pair) for pair in pairs if pair[0].id != pair[1].id][:1]
    if not any(each.differences for each in compared):
        raise ConfigurationError(f"No answer of {name} has tokens in common with the golden ones.")
    judged = [one for one in compared if len(one.differences) >= LEAST_ALONE]
    return HealthyRun(
        engine=name,
        numbers=numbers,
        exact=exact,
        distance=distance(sum(compared, Compared()), gaps),
        farthest=max((distance(one).p95 for one in judged), default=0.0),
    )


def _compared(golden: Sequence[Token], other: Sequence[Token]) -> Compared:
    entries = (
        ReportedToken(bytes_of(token.id), {bytes_of(one): value for one, value in token.top})
        for token in other
    )
    return compare(golden, entries)


def _gap(golden: Token, other: Token) -> float:
    if not golden.steady:
        return 0.0
    least = golden.top[-1][1]
    return golden.top[0][1] - dict(golden.top).get(other.id, least)


def marked(golden: Mapping[str, Answer], engines: Iterable[Sequence[Answer]]) -> dict[str, Answer]:
    """Return the golden answers; tokens that a healthy engine changes most are marked unsteady.

    The median |Δ logprob| of such a token is more than `_UNSTEADY` times that of a usual token. A
    rounding error there leads to other experts, for example. Without this, a single token would
    widen the tolerances of all.
    """
    places: dict[str, set[int]] = {name: set() for name in golden}
    for others in engines:
        changes = {
            (other.id, token.at): median(abs(each) for each in token.changes if each is not None)
            for other in others
            for token in _compared(golden[other.id].tokens, other.tokens).tokens
        }
        most = _UNSTEADY * median(changes.values()) if changes else 0.0
        for (name, at), change in changes.items():
            if change > most > 0:
                places[name].add(at)
    return {
        name: replace(
            answer,
            tokens=tuple(
                replace(token, steady=token.steady and at not in places[name])
                for at, token in enumerate(answer.tokens)
            ),
        )
        for name, answer in golden.items()
    }


def learned(runs: Sequence[HealthyRun]) -> dict[str, Any]:
    """Return the runs, and the tolerances that cover them."""
    return {
        "healthy": tuple(runs),
        "tolerance": tolerance(runs),
        "exact_tolerance": tolerance([each for each in runs if each.exact] or runs),
    }
