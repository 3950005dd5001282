"""From the scores of a run's tries to the figures of its cells. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from evals.base import DatasetInfo
from evals.healthbench.summary import HealthBenchSummary
from evals.judgement import CellScores, CellVerdict, Sampling
from evals.records import Cell, EvalSettings, Outcome, TryScore
from evals.results import Amounts, AtK, CellResult, QuestionResult
from harness.statistics.estimators import (
    Scores,
    complete_rounds,
    maj_at_k,
    pass_at_k,
    pass_hat_k,
    percentiles,
)
from harness.statistics.intervals import pass_estimate
from harness.statistics.mean_scores import mean_score

HARDEST = 10
_RIGHT = "right"


class CellTally:
    """The scores of one cell, in a form that is small for many tries.

    Attributes:
        cell: The cell.
        tries: Tries planned for each question.
    """

    def __init__(self, cell: Cell, questions: Iterable[str], tries: int) -> None:
        self.cell = cell
        self.tries = tries
        self._scores: dict[str, list[tuple[int, float]]] = {name: [] for name in questions}
        self._votes: dict[str, list[str | None]] = defaultdict(list)
        self._openai: list[float] = []
        self._outcomes: dict[str, Counter[Outcome]] = defaultdict(Counter)
        self._worst: dict[str, TryScore] = {}
        self._reasoning: list[int] = []
        self._answers: list[int] = []
        self._seconds: list[float] = []
        self._output = 0
        self._unreported = 0

    def add(self, score: TryScore) -> None:
        """Count one finished try."""
        self._scores[score.question].append((score.number, score.score))
        self._outcomes[score.question][score.outcome] += 1
        self._votes[score.question].append(vote(score))
        if score.openai_score is not None:
            self._openai.append(score.openai_score)
        worst = self._worst.get(score.question)
        if score.score < 1 and (worst is None or score.score < worst.score):
            self._worst[score.question] = score
        if score.seconds is not None:
            self._seconds.append(score.seconds)
        if score.output_tokens is None:
            self._unreported += 1
            return
        self._output += score.output_tokens
        if score.reasoning_tokens is not None:
            self._reasoning.append(score.reasoning_tokens)
            self._answers.append(score.output_tokens - score.reasoning_tokens)

    @property
    def finished(self) -> int:
        """Finished tries."""
        return sum(map(len, self._scores.values()))

    def by_question(self) -> dict[str, tuple[float, ...]]:
        """The scores of the finished tries of every question, in the order of their numbers."""
        return {
            question: tuple(score for _, score in sorted(tries))
            for question, tries in self._scores.items()
        }

    def result(
        self,
        dataset: DatasetInfo,
        rubric: HealthBenchSummary | None,
        grader: str | None,
        verdict: CellVerdict,
        scores: Scores,
    ) -> CellResult:
        """All figures of the cell.

        Args:
            dataset: What was asked.
            rubric: The figures of a graded eval.
            grader: The model that graded.
            verdict: How the cell stands beside its baseline.
            scores: The tries that count, by question.
        """
        tries = max(map(len, scores))
        planned = sum(map(len, scores))
        outcomes = Counter[Outcome]()
        for counted in self._outcomes.values():
            outcomes.update(counted)
        if missing := max(0, planned - self.finished):
            outcomes["not_run"] = missing
        openai = sum(self._openai) / max(planned, len(self._openai))
        return CellResult(
            cell=self.cell,
            dataset=dataset,
            questions=len(scores),
            tries=tries,
            finished=self.finished,
            outcomes=dict(outcomes.most_common()),
            score=mean_score(scores),
            openai_score=openai if self._openai else None,
            planned=planned,
            at_k=() if rubric else self._curve(scores, tries),
            tokens=self._amounts(),
            seconds=percentiles(self._seconds),
            rubric=rubric,
            grader=grader,
            hardest=self._hardest(),
            verdict=verdict,
        )

    def _curve(self, scores: Scores, tries: int) -> tuple[AtK, ...]:
        if min(map(len, scores)) < tries:
            return ()
        return tuple(
            AtK(
                k=k,
                pass_at=pass_estimate(pass_at_k, scores, k),
                pass_hat=pass_estimate(pass_hat_k, scores, k),
                majority=self._majority(k, tries),
            )
            for k in ks(tries)
        )

    def _majority(self, k: int, tries: int) -> float:
        won = 0.0
        for question in self._scores:
            votes = self._votes[question]
            padded = votes + [None] * (tries - len(votes))
            won += maj_at_k(padded, _RIGHT, k)
        return won / len(self._scores)

    def _amounts(self) -> Amounts:
        return Amounts(
            output=self._output,
            reasoning=percentiles(self._reasoning),
            answer=percentiles(self._answers),
            unreported=self._unreported,
        )

    def _hardest(self) -> tuple[QuestionResult, ...]:
        found = [self._question(worst) for worst in self._worst.values()]
        return tuple(sorted(found, key=lambda one: (one.mean, one.question))[:HARDEST])

    def _question(self, worst: TryScore) -> QuestionResult:
        scores = [score for _, score in self._scores[worst.question]]
        return QuestionResult(
            question=worst.question,
            mean=sum(scores) / len(scores),
            tries=len(scores),
            outcomes=dict(self._outcomes[worst.question].most_common()),
            record=worst.record,
            outcome=worst.outcome,
            answer=worst.answer,
            order=worst.order,
            detail=worst.detail,
        )


def ks(tries: int) -> list[int]:
    """The sizes to look at: powers of two below the number of tries, and that number itself."""
    powers = [2**power for power in range(tries.bit_length()) if 2**power < tries]
    return [*powers, tries]


def vote(score: TryScore) -> str | None:
    """What a try says in a majority vote, equal where it means the same.

    A letter stands for a choice, and choices stand elsewhere in every try. None is no vote.
    """
    if score.outcome == "correct":
        return _RIGHT
    if score.outcome != "wrong" or score.answer is None:
        return None
    if score.order is None:
        return score.answer
    return f"choice {score.order['ABCD'.index(score.answer)]}"


def cell_scores(
    tally: CellTally, dataset: DatasetInfo, settings: EvalSettings, grader: str | None
) -> CellScores:
    """What is compared with a baseline, and what a measured baseline is made of."""
    return CellScores(
        cell=tally.cell,
        dataset=dataset,
        sampling=Sampling(
            api=settings.api,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            grader=grader,
        ),
        planned=tally.tries,
        scores=tally.by_question(),
    )


def rounds_of(scores: Mapping[str, Sequence[float]]) -> int:
    """How many tries every question has had."""
    complete = complete_rounds(list(scores.values()))
    return len(complete[0]) if complete else 0


def filled(scores: Mapping[str, Sequence[float]], tries: int) -> Scores:
    """The first `tries` scores of every question: what is missing counts as 0."""
    return [(*found[:tries], *[0.0] * (tries - len(found))) for found in scores.values()]
