"""Computes the score of an answer from grades, and the figures of an eval from scores. No I/O.

The score of an answer is the sum of the points of the items it meets over the sum of the positive
points (HealthBench, arXiv 2505.08775): at most 1, and below 0 if faults outweigh the rest.

With ungraded items, the score has a range: `low` in the worst case, `high` in the best. `value` is
the middle of the range, so failures of the grader bias a score neither up nor down.

The headline is the mean score clipped to [0, 1], as in OpenAI's script
(`gpt_oss/evals/healthbench_eval.py`, `_compute_clipped_stats`), and so are the scores by tag. An
attempt without an answer counts as 0. Every planned attempt is in the denominator.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evals.grading.graded_eval import GradedQuestion, RubricItem
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


def rubric_score(row: GradedQuestion, met: Mapping[str, bool] | None) -> RubricScore:
    """Score one attempt from the items it meets; `met` is None if it has no answer to grade."""
    known = dict.fromkeys((item.id for item in row.items), False) if met is None else met
    tagged: dict[str, list[RubricItem]] = defaultdict(list)
    for item in row.items:
        for tag in item.tags:
            tagged[tag].append(item)
    overall = score(row.items, known)
    tags = {
        tag: score(items, known)
        for tag, items in tagged.items()
        if any(item.points > 0 for item in items)
    }
    return RubricScore(
        question=row.question_id,
        score=overall,
        # An example tag overrides an item tag of the same name, as in OpenAI's script.
        tags=tags | dict.fromkeys(row.question_tags, overall),
        answered=met is not None,
        items=len(row.items),
        ungraded=sum(item.id not in known for item in row.items),
    )


def score(items: Iterable[RubricItem], met: Mapping[str, bool]) -> ScoreRange:
    """Return the score of one answer from the items it meets; one has positive points."""
    possible = reached = worst = best = 0.0
    for item in items:
        possible += max(item.points, 0.0)
        verdict = met.get(item.id)
        if verdict is None:
            worst += min(item.points, 0.0)
            best += max(item.points, 0.0)
        elif verdict:
            reached += item.points
    low, high = (reached + worst) / possible, (reached + best) / possible
    return ScoreRange((low + high) / 2, low, high)


def summarise(attempts: Sequence[RubricScore]) -> RubricSummary:
    """Return all figures of the planned attempts of one eval; there is at least one."""
    by_tag: dict[str, list[tuple[str, ScoreRange]]] = defaultdict(list)
    for attempt in attempts:
        for tag, found in attempt.tags.items():
            by_tag[tag].append((attempt.question, found))
    return RubricSummary(
        overall=_figure([(attempt.question, attempt.score) for attempt in attempts]),
        tags={tag: _figure(by_tag[tag]) for tag in sorted(by_tag)},
        tries=len(attempts),
        unanswered=sum(not attempt.answered for attempt in attempts),
        grader_errors=sum(attempt.ungraded > 0 for attempt in attempts),
        items=sum(attempt.items for attempt in attempts if attempt.answered),
        ungraded_items=sum(attempt.ungraded for attempt in attempts),
    )


def _figure(attempts: Sequence[tuple[str, ScoreRange]]) -> RubricFigure:
    by_question: dict[str, list[float]] = defaultdict(list)
    for question, found in attempts:
        by_question[question].append(found.value)
    values, low, high = zip(*((f.value, f.low, f.high) for _, f in attempts), strict=True)
    unclipped = fmean(values)
    return RubricFigure(
        mean=_clipped(unclipped),
        unclipped=unclipped,
        low=_clipped(fmean(low)),
        high=_clipped(fmean(high)),
        interval=mean_score(list(by_question.values())).estimate,
        bootstrap_std=bootstrap_std(values),
        tries=len(attempts),
    )


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
