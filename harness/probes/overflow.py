"""A prompt longer than any gpt-oss context: refused, and never cut in silence.

It costs a provider little to refuse it, but the request is long; hence the full suite only.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.conversation import Message
from harness.checks.base import Problem
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.errors import ERRORS
from harness.probes.fates import fate, refused
from harness.records.conditions import Api

CONTEXT = 131_072
"""Tokens of the context of both gpt-oss models (their model card)."""

# One token of o200k each, with the blank before it.
_TEXT = "information " * (CONTEXT + 1_000)


def _asks(_api: Api) -> tuple[Ask, ...]:
    provokes = frozenset({"request.refused", "request.failed"})
    return (Ask("overflow", (Message("user", _TEXT),), max_tokens=16, provokes=provokes),)


BENCH = Bench("errors.overflow", _asks)


@BENCH.probe(
    "errors.overflow",
    uses=("overflow",),
    level="full",
    severity="error",
    summary="A prompt that does not fit the context is refused.",
    why="A silent cut loses what the client sent, and a failure is repeated.",
    source=ERRORS,
)
def _overflow(answers: Answers) -> Iterator[Trial]:
    for view in answers.all("overflow"):
        turn = view.turns[-1]
        if refused(view):
            yield None
        elif turn.reply is None:
            message = "A prompt that does not fit the context is not refused."
            yield Problem(turn, message, "status 400 or 413", fate(turn))
        else:
            count = turn.reply.input_tokens
            if not count:
                raise NotVerifiableError("The provider does not report prompt tokens.")
            message = "A prompt that does not fit the context was cut, and nobody was told."
            cut = Problem(turn, message, f"more than {CONTEXT}", str(count), "$.usage")
            yield cut if count <= CONTEXT else None
