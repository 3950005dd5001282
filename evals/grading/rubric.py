"""Computes the score of an answer from grades, and the figures of an eval from scores. No I/O.

The score of an answer is the sum of the points of the items it meets over the sum of the positive
points (HealthBench, arXiv 2505.08775): at most 1, and below 0 if faults outweigh the rest.

With ungraded items, the score has a range: `low` in the worst case, `high` in the best. `value` is
the middle of the range, so failures of the grader bias a score neither up nor down.

The headline is the mean score clipped to [0, 1], as in OpenAI's script
(`gpt_oss/evals/healthbench_eval.py`, `_compute_clipped_stats`), and so are the scores by tag. An
attempt without an answer counts as 0. Every planned attempt is in the denominator.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
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


def told_items(items: Iterable[RubricItem], met: Mapping[str, bool]) -> str:
    """Return a line per item, those that cost points first: `not met: [2] Names scattering.`."""

    def line(item: RubricItem) -> tuple[int, str]:
        grade = met.get(item.id)
        costs = grade is not None and grade == (item.points < 0)
        said = "no grade" if grade is None else "met" if grade else "not met"
        return 0 if costs else 1 if grade is None else 2, f"{said}: {item.text}"

    return "\n".join(text for _, text in sorted(map(line, items), key=lambda told: told[0]))


class Rubrics:
    """The figures of an eval, gathered attempt by attempt."""

    def __init__(self) -> None:
        self._overall = _Figure()
        self._by_tag: dict[str, _Figure] = defaultdict(_Figure)
        self._counts = Counter[str]()

    def add(self, attempt: RubricScore) -> None:
        """Add the attempt at a question."""
        self._overall.add(attempt.question, attempt.score)
        for tag, score in attempt.tags.items():
            self._by_tag[tag].add(attempt.question, score)
        self._counts.update(
            unanswered=not attempt.answered,
            grader_errors=attempt.ungraded > 0,
            items=attempt.items if attempt.answered else 0,
            ungraded_items=attempt.ungraded,
        )

    def summary(self) -> RubricSummary | None:
        """Return all figures; None without attempts."""
        tries = len(self._overall.ranges)
        if not tries:
            return None
        return RubricSummary(
            overall=self._overall.figure(),
            tags={tag: self._by_tag[tag].figure() for tag in sorted(self._by_tag)},
            tries=tries,
            **self._counts,
        )


class _Figure:
    def __init__(self) -> None:
        self.ranges: list[tuple[float, float, float]] = []
        self._by_question: dict[str, list[float]] = defaultdict(list)

    def add(self, question: str, score: ScoreRange) -> None:
        self.ranges.append((score.value, score.low, score.high))
        self._by_question[question].append(score.value)

    def figure(self) -> RubricFigure:
        values, low, high = zip(*self.ranges, strict=True)
        unclipped = fmean(values)
        return RubricFigure(
            mean=_clipped(unclipped),
            unclipped=unclipped,
            low=_clipped(fmean(low)),
            high=_clipped(fmean(high)),
            interval=mean_score(list(self._by_question.values())).estimate,
            bootstrap_std=bootstrap_std(values),
            tries=len(values),
        )


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
