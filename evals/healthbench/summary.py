"""From the tries of a HealthBench eval to its published figures, and what they are worth. Pure.

The headline is the mean score cut to [0, 1], as OpenAI's script gives it
(`gpt_oss/evals/healthbench_eval.py`, `_compute_clipped_stats`), and so are the scores by tag. A
try that ended without an answer counts with 0 everywhere; one with ungraded items counts with the
middle of what it could have been (`evals.healthbench.score`), and `low` and `high` say how far the
headline could lie from there. Nothing that was planned leaves the denominator.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.healthbench.rows import HealthBenchRow
from evals.healthbench.score import Score, score, tag_scores, ungraded
from harness.records.analysis import RubricFigure, RubricSummary
from harness.statistics.estimators import bootstrap_std
from harness.statistics.mean_scores import mean_score


@dataclass(frozen=True)
class RubricScore:
    """What the grades of one try come to; `tags` holds example tags and item tags alike."""

    question: str
    score: Score
    tags: Mapping[str, Score]
    answered: bool
    items: int
    ungraded: int


def rubric_score(row: HealthBenchRow, met: Mapping[str, bool] | None) -> RubricScore:
    """Score one try.

    Args:
        row: Its question.
        met: By item id whether the answer meets it; None if there was no answer to grade.
    """
    answered = met is not None
    known = dict.fromkeys((item.id for item in row.items), False) if met is None else met
    whole = score(row.items, known)
    if whole is None:
        raise AssertionError("a row without positive points passed its checks")
    # An example tag goes before an item tag of the same name, as in OpenAI's script.
    tags = tag_scores(row.items, known) | dict.fromkeys(row.example_tags, whole)
    return RubricScore(
        row.prompt_id, whole, tags, answered, len(row.items), ungraded(row.items, known)
    )


def summarise(tries: Iterable[RubricScore]) -> RubricSummary:
    """All figures of the planned tries of one eval. Raises ValueError if there are none."""
    whole: list[tuple[str, Score]] = []
    by_tag: dict[str, list[tuple[str, Score]]] = defaultdict(list)
    unanswered = errors = items = missing = 0
    for one in tries:
        whole.append((one.question, one.score))
        for tag, found in one.tags.items():
            by_tag[tag].append((one.question, found))
        unanswered += not one.answered
        errors += one.ungraded > 0
        items += one.items if one.answered else 0
        missing += one.ungraded
    if not whole:
        raise ValueError("a summary needs at least one try")
    return RubricSummary(
        overall=_figure(whole),
        tags={tag: _figure(by_tag[tag]) for tag in sorted(by_tag)},
        tries=len(whole),
        unanswered=unanswered,
        grader_errors=errors,
        items=items,
        ungraded_items=missing,
    )


def clipped(value: float) -> float:
    """`value` cut to [0, 1]."""
    return min(1.0, max(0.0, value))


def _figure(tries: Sequence[tuple[str, Score]]) -> RubricFigure:
    by_question: dict[str, list[float]] = defaultdict(list)
    for question, found in tries:
        by_question[question].append(found.value)
    unclipped = _mean([found.value for _, found in tries])
    return RubricFigure(
        mean=clipped(unclipped),
        unclipped=unclipped,
        low=clipped(_mean([found.low for _, found in tries])),
        high=clipped(_mean([found.high for _, found in tries])),
        interval=mean_score(list(by_question.values())).estimate,
        bootstrap_std=bootstrap_std([found.value for _, found in tries]),
        tries=len(tries),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
