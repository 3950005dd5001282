"""The patterns of known defects, computed with the reference engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.golden import engine
from harness.golden.engine import Answer, EngineOptions, Question
from harness.golden.records import MILLI, RETURNED, Pattern, Token

DEFECTS = (
    *("sinks-dropped", "sinks-of-other-heads"),
    *("window-one-too-long", "window-one-too-short"),
    *("window-on-odd-layers", "window-nowhere", "window-everywhere"),
    *("yarn-rounded", "yarn-absent", "concentration-missing"),
    *("router-bias-missing", "softmax-before-top-k", "expert-bias-unweighted"),
    *("swiglu-without-clamp", "norm-eps-wrong", "unembedding-fp8"),
    *("history-ends-with-return", "calls-end-with-end", "result-order-reversed"),
    *("user-named-human", "knowledge-cutoff-altered", "tools-before-instructions"),
)
"""Faults of the reference engine that leave a pattern: of the computation, and of prompts whose
length stays the same."""
_MOST_ALTERNATIVES = 200
"""Alternatives at which a defect is computed; it may move a golden one far down."""
_LEAST_CHANGE = 1
"""A pattern without a change of this many thousandths of a nat tells nothing."""


def pattern_of(
    defect: str,
    greedy: Sequence[Question],
    options: EngineOptions,
    golden: Mapping[str, Answer],
) -> Pattern | None:
    """The pattern that a defect leaves in the golden answers to requests; None if it leaves none.

    Raises:
        ConfigurationError: The engine failed.
    """
    questions = [
        replace(
            question,
            completion=tuple(token.id for token in golden[question.id].tokens),
            top=_MOST_ALTERNATIVES,
        )
        for question in greedy
    ]
    head, answers = engine.score(questions, replace(options, fault=defect))
    changes = {answer.id: _changes(golden[answer.id], answer) for answer in answers}
    largest = max(
        abs(change or 0) for tokens in changes.values() for token in tokens for change in token
    )
    if largest < _LEAST_CHANGE:
        return None
    return Pattern(defect=defect, text=" ".join(head.faults), changes=changes)


def _changes(golden: Answer, defective: Answer) -> tuple[tuple[int | None, ...], ...]:
    return tuple(
        _moved(token, dict(other.top)) if token.part in RETURNED else ()
        for token, other in zip(golden.tokens, defective.tokens, strict=True)
    )


def _moved(token: Token, values: Mapping[int, float]) -> tuple[int | None, ...]:
    found = ((values.get(each), value) for each, value in token.top)
    return tuple(None if came is None else round((came - value) * MILLI) for came, value in found)
