"""Computes the score of an answer from grades, and the figures of an eval from scores. No I/O.

The score of an answer is the sum of the points of the items it meets over the sum of the positive
points (HealthBench, arXiv 2505.08775): at most 1, and below 0 if faults outweigh the rest.

With ungraded items, the score has a range: `low` in the worst case, `high` in the best. `value` is
the middle of the range, so failures of the grader bias a score neither up nor down.

The headline is the mean score clipped to [0, 1], as in OpenAI's script
(`gpt_oss/evals/healthbench_eval.py`, `_compute_clipped_stats`), and so are the scores by tag. An
attempt without an answer counts as 0. Every planned attempt is in the denominator.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.healthbench.conversations import HealthBenchRow, RubricItem
from harness.records.figures import RubricFigure, RubricSummary
from harness.statistics.estimators import bootstrap_std
from harness.statistics.mean_scores import mean_score


@dataclass(frozen=True)
class ScoreRange:
    """A score, and the range it could have if every item had a grade."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RubricScore:
    """The score of one attempt; `tags` has both example tags and item tags."""

    question: str
    score: ScoreRange
    tags: Mapping[str, ScoreRange]
    answered: bool
    items: int
    ungraded: int


def score(items: Iterable[RubricItem], met: Mapping[str, bool]) -> ScoreRange | None:
    """Return the score of one answer from the items it meets.

    None if no item has positive points.
    """
    possible = reached = worst = best = 0.0
    for item in items:
        possible += max(item.points, 0.0)
        verdict = met.get(item.id)
        if verdict is None:
            worst += min(item.points, 0.0)
            best += max(item.points, 0.0)
        elif verdict:
            reached += item.points
    if possible == 0:
        return None
    low, high = (reached + worst) / possible, (reached + best) / possible
    return ScoreRange((low + high) / 2, low, high)


def tag_scores(items: Sequence[RubricItem], met: Mapping[str, bool]) -> dict[str, ScoreRange]:
    """Return the score of one answer by tag (`axis:accuracy` and so on) with positive points."""
    tagged: dict[str, list[RubricItem]] = defaultdict(list)
    for item in items:
        for tag in item.tags:
            tagged[tag].append(item)
    scores = {tag: score(having, met) for tag, having in tagged.items()}
    return {tag: found for tag, found in scores.items() if found is not None}


def ungraded(items: Iterable[RubricItem], met: Mapping[str, bool]) -> int:
    """Return the number of items without a grade."""
    return sum(item.id not in met for item in items)


def rubric_score(row: HealthBenchRow, met: Mapping[str, bool] | None) -> RubricScore:
    """Score one attempt; `met` is None if it has no answer to grade, otherwise as in `score`."""
    answered = met is not None
    known = dict.fromkeys((item.id for item in row.items), False) if met is None else met
    overall = score(row.items, known)
    if overall is None:
        raise AssertionError("a row without positive points was accepted")
    # An example tag overrides an item tag of the same name, as in OpenAI's script.
    tags = tag_scores(row.items, known) | dict.fromkeys(row.example_tags, overall)
    return RubricScore(
        row.prompt_id, overall, tags, answered, len(row.items), ungraded(row.items, known)
    )


def summarise(attempts: Iterable[RubricScore]) -> RubricSummary:
    """Return all figures of the planned attempts of one eval.

    Raises ValueError without attempts.
    """
    overall: list[tuple[str, ScoreRange]] = []
    by_tag: dict[str, list[tuple[str, ScoreRange]]] = defaultdict(list)
    unanswered = errors = items = missing = 0
    for attempt in attempts:
        overall.append((attempt.question, attempt.score))
        for tag, found in attempt.tags.items():
            by_tag[tag].append((attempt.question, found))
        unanswered += not attempt.answered
        errors += attempt.ungraded > 0
        items += attempt.items if attempt.answered else 0
        missing += attempt.ungraded
    if not overall:
        raise ValueError("a summary needs at least one attempt")
    return RubricSummary(
        overall=_figure(overall),
        tags={tag: _figure(by_tag[tag]) for tag in sorted(by_tag)},
        tries=len(overall),
        unanswered=unanswered,
        grader_errors=errors,
        items=items,
        ungraded_items=missing,
    )


def clipped(value: float) -> float:
    """Return `value` clipped to [0, 1]."""
    return min(1.0, max(0.0, value))


def _figure(attempts: Sequence[tuple[str, ScoreRange]]) -> RubricFigure:
    by_question: dict[str, list[float]] = defaultdict(list)
    for question, found in attempts:
        by_question[question].append(found.value)
    unclipped = _mean([found.value for _, found in attempts])
    return RubricFigure(
        mean=clipped(unclipped),
        unclipped=unclipped,
        low=clipped(_mean([found.low for _, found in attempts])),
        high=clipped(_mean([found.high for _, found in attempts])),
        interval=mean_score(list(by_question.values())).estimate,
        bootstrap_std=bootstrap_std([found.value for _, found in attempts]),
        tries=len(attempts),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
