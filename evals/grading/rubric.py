"""Computes the score of an answer from grades, and the figures of an eval from scores. No I/O.

The score of an answer is the sum of the points of the items it meets over the sum of the positive
points (HealthBench, arXiv 2505.08775): at most 1, and below 0 if faults outweigh the rest.

An attempt with an ungraded item has no score, and is in no figure until all its items have a grade.

The headline is the mean score clipped to [0, 1], as in OpenAI's script
(`gpt_oss/evals/healthbench_eval.py`, `_compute_clipped_stats`), and so are the scores by tag. An
attempt without an answer counts as 0.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evals.grading.graded_eval import GradedQuestion, RubricItem
from harness.records.figures import RubricFigure, RubricSummary
from harness.statistics.estimators import bootstrap_std
from harness.statistics.mean_scores import mean_score


@dataclass(frozen=True)
class RubricScore:
    """The score of one attempt, if no item is `ungraded`; `tags` has example tags and item tags."""

    question: str
    score: float
    tags: Mapping[str, float]
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


def score(items: Sequence[RubricItem], met: Mapping[str, bool]) -> float:
    """Return the score of one answer from the items it meets; one has positive points."""
    reached = sum(item.points for item in items if met.get(item.id))
    return reached / sum(max(item.points, 0.0) for item in items)


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
        self._overall = defaultdict[str, list[float]](list)
        self._by_tag: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._counts = Counter[str]()

    def add(self, attempt: RubricScore) -> None:
        """Add the attempt at a question."""
        self._counts.update(
            tries=1,
            unanswered=not attempt.answered,
            grader_errors=attempt.ungraded > 0,
            items=attempt.items if attempt.answered else 0,
            ungraded_items=attempt.ungraded,
        )
        if attempt.ungraded:
            return
        self._overall[attempt.question].append(attempt.score)
        for tag, score in attempt.tags.items():
            self._by_tag[tag][attempt.question].append(score)

    def summary(self) -> RubricSummary | None:
        """Return all figures; None without attempts."""
        if not self._counts:
            return None
        return RubricSummary(
            overall=_figure(self._overall) if self._overall else None,
            tags={tag: _figure(scores) for tag, scores in sorted(self._by_tag.items())},
            **self._counts,
        )


def _figure(by_question: Mapping[str, list[float]]) -> RubricFigure:
    values = [value for tries in by_question.values() for value in tries]
    unclipped = fmean(values)
    return RubricFigure(
        mean=min(1.0, max(0.0, unclipped)),
        unclipped=unclipped,
        interval=mean_score(list(by_question.values())).estimate,
        bootstrap_std=bootstrap_std(values),
        tries=len(values),
    )
