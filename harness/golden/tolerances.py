"""Tolerances of golden files, learned from healthy engines and other golden files. No I/O."""

from collections.abc import Iterable, Sequence
from itertools import chain
from statistics import median
from typing import Any

from harmony.vocabulary import bytes_of
from harness.errors import ConfigurationError
from harness.golden import files
from harness.golden.content import MILLI, Answers, Continuation, Golden, HealthyRun, Tolerance
from harness.golden.distance import (
    LEAST_ALONE,
    ComparedToken,
    ReportedToken,
    compare,
    differences,
    distance,
    shown,
    tolerance,
)
from harness.golden.trusted_engines import Head

_EQUAL = 1.5 / MILLI  # the differences of stored logprobs of engines that compute the same
_UNSTEADY = 10
"""A golden token is unsteady if it changes by more than this many times the usual change."""


def merged(golden: Golden, other: Golden, name: str) -> Golden:
    """Return a golden file, with the engine of another one, called `name`, as a healthy run.

    The golden answers remain. If they are those of a server, no number formats were measured, and
    the tolerances are at least those that the shipped file has for formats of 16 bits.

    Raises ConfigurationError if the other file answers other requests, renders other prompts, has
    other weights, or does not differ from a file that has only one engine.
    """
    return _merged(golden, other, name, None if golden.patterns else files.shipped())


def _merged(golden: Golden, other: Golden, name: str, formats: Golden | None) -> Golden:
    _require_same(golden, other, name)
    answers = marked(golden.continuations, [other.continuations])
    head = Head(other.engine, other.dtype, exact=all(run.exact for run in other.healthy[:1]))
    run = healthy_run(head, other.dtype, answers, other.continuations)
    own = golden.engine, golden.dtype
    if golden.lone and (run.distance.p99 <= _EQUAL or (run.engine, run.numbers) == own):
        raise ConfigurationError(
            f"{name} does not show how much healthy engines differ: it has the engine or the "
            f"numbers of the first file ({shown(run.distance)}). Merge files of two engines, such "
            "as vLLM and llama.cpp, or of one engine in two number formats."
        )
    changes = {
        "continuations": answers,
        "weights_sha256": golden.weights_sha256 or other.weights_sha256,
        **learned((*golden.healthy, run)),
    }
    if formats is not None:
        for which in ("tolerance", "exact_tolerance"):
            least = dict(formats.exact_tolerance)
            values = {name: max(value, least[name]) for name, value in changes[which]}
            changes[which] = Tolerance(**values)
    if golden.dated and other.dated:
        changes["dated"] = _merged(golden.dated, other.dated, name, formats and formats.dated)
    tolerant = golden.model_copy(update=changes)
    for source, engine in ((golden, "the first file"), (other, name)):
        _require_tolerated(tolerant, source, engine)
    if golden.long and other.long:
        return with_long(tolerant, _merged(golden.long, other.long, name, formats and formats.long))
    return tolerant


def _require_tolerated(golden: Golden, source: Golden, name: str) -> None:
    """Judge the answers that a file was made from, as those of a provider."""
    head = Head(source.engine, source.dtype)
    run = healthy_run(head, source.dtype, golden.continuations, source.continuations)
    limit = golden.tolerance
    alone, gap = run.farthest <= limit.request_p95, run.distance.gap <= limit.gap
    if not (limit.allows(run.distance) and alone and gap):
        raise ConfigurationError(
            f"The merged file would fail {name}, from which it is made: {shown(run.distance)}, "
            f"tolerated {shown(limit)}. Create the files again."
        )


def _require_same(first: Golden, other: Golden, name: str) -> None:
    hashes = {first.weights_sha256, other.weights_sha256} - {""}
    if len(hashes) > 1:
        raise ConfigurationError(f"{name} and the first file were created with different weights.")
    if first.requests_sha256 != other.requests_sha256:
        raise ConfigurationError(
            f"{name} and the first file answer different requests: create both with one version."
        )
    for request, continuation in first.continuations.items():
        due, got = continuation.prompt_tokens, other.continuations[request].prompt_tokens
        if due != got:
            raise ConfigurationError(
                f"{name} has {got} prompt tokens in {request!r}, but the first file has {due}: "
                "create both with the same date (--current-date)."
            )
        hashes = {continuation.prompt_sha256, other.continuations[request].prompt_sha256} - {""}
        if len(hashes) > 1:
            raise ConfigurationError(
                f"{name} and the first file have other prompt tokens in {request!r}, although as "
                "many: create both with one version and the same date (--current-date)."
            )


def with_long(golden: Golden, long: Golden) -> Golden:
    """Return the golden file with the answers to long prompts.

    Their tolerated gap is at least that of the other answers, because they have too few near-ties
    to learn it from.
    """
    gap = max(long.tolerance.gap, golden.tolerance.gap)
    allowed = long.tolerance.model_copy(update={"gap": gap})
    return golden.model_copy(update={"long": long.model_copy(update={"tolerance": allowed})})


def healthy_run(head: Head, numbers: str, golden: Answers, others: Answers) -> HealthyRun:
    """Return the deviation of an engine's answers from the golden ones.

    `numbers` describes the number formats. Raises ConfigurationError.
    """
    compared = [_compared(golden[name], other) for name, other in others.items()]
    if not any(compared):
        raise ConfigurationError(
            f"No answer of {head.engine} has tokens in common with the golden ones."
        )
    gaps = (_gap(golden[name], other) for name, other in others.items())
    judged = [answer for answer in compared if len(differences(answer)) >= LEAST_ALONE]
    return HealthyRun(
        engine=head.engine,
        numbers=numbers,
        exact=head.exact,
        distance=distance(list(chain.from_iterable(compared)), gaps),
        farthest=max((distance(answer).p95 for answer in judged), default=0.0),
    )


def _compared(golden: Continuation, other: Continuation) -> Sequence[ComparedToken]:
    entries = (
        ReportedToken(bytes_of(token.id), {bytes_of(id_): value for id_, value in token.top})
        for token in other.tokens()
    )
    return compare(golden.tokens(), entries)


def _gap(golden: Continuation, other: Continuation) -> float:
    """Return by how much the first different token is less probable than the golden one."""
    for token, instead in zip(golden.tokens(), other.ids, strict=False):
        if token.id != instead:
            least = token.top[-1][1]
            return token.top[0][1] - dict(token.top).get(instead, least) if token.steady else 0.0
    return 0.0


def marked(golden: Answers, engines: Iterable[Answers]) -> dict[str, Continuation]:
    """Return the golden answers; tokens that a healthy engine changes most are marked unsteady.

    The median |Δ logprob| of such a token is more than `_UNSTEADY` times that of a usual token. A
    rounding error there leads to other experts, for example. Without this, a single token would
    widen the tolerances of all.
    """
    places = {name: set(answer.unsteady) for name, answer in golden.items()}
    for others in engines:
        changes = {
            (name, token.at): median(token.differences)
            for name, other in others.items()
            for token in _compared(golden[name], other)
        }
        most = _UNSTEADY * median(changes.values()) if changes else 0.0
        for (name, at), change in changes.items():
            if change > most > 0:
                places[name].add(at)
    return {
        name: answer.model_copy(update={"unsteady": tuple(sorted(places[name]))})
        for name, answer in golden.items()
    }


def learned(runs: Sequence[HealthyRun]) -> dict[str, Any]:
    """Return the runs, and the tolerances that cover them."""
    return {
        "healthy": tuple(runs),
        "tolerance": tolerance(runs),
        "exact_tolerance": tolerance([run for run in runs if run.exact] or runs),
    }
