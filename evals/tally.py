"""Counts of an eval run so far. Provisional: the run is judged from its log at the end."""

from __future__ import annotations

from collections import Counter

from evals.healthbench.bench import HealthBench
from evals.healthbench.grade import grade_of
from evals.plan import Plan
from evals.records import Outcome
from evals.scoring import score_try
from harness.display import errors
from harness.records.rollouts import Rollout

_SHOWN: tuple[Outcome, ...] = ("truncated", "no_answer", "refused")


class EvalTally:
    """Counts the tries of a plan, and the replies of a grader apart from them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._outcomes: Counter[Outcome] = Counter()
        self._tokens = 0
        self._graded = 0
        self._ungraded = 0
        self._grading = False

    @property
    def finished(self) -> int:
        """Everything counted."""
        return self._outcomes.total() + self._graded + self._ungraded

    def add(self, rollout: Rollout) -> None:
        """Count a try or a reply of the grader."""
        one = self._plan.find(rollout)
        self._grading = one is None
        if one is None:
            graded = grade_of(rollout) is not None
            self._graded += graded
            self._ungraded += not graded
            return
        test = self._plan.evals[one.cell.eval]
        score = score_try(one, rollout, test)
        answered = isinstance(test, HealthBench) and score.outcome == "grader_error"
        self._outcomes["graded" if answered else score.outcome] += 1
        self._tokens += score.output_tokens or 0

    def __str__(self) -> str:
        if not self.finished:
            return "nothing finished yet"
        if self._grading:
            return f"{self._graded:,} items graded · {self._ungraded:,} replies without a grade"
        failures = [
            f"{self._outcomes[outcome]:,} {outcome.replace('_', ' ')}"
            for outcome in _SHOWN
            if self._outcomes[outcome]
        ]
        broken = errors(self._outcomes["provider_error"])
        return " · ".join([*self._right(), broken, *failures, f"{self._tokens:,} tokens"])

    def _right(self) -> list[str]:
        marked = self._outcomes.total() - self._outcomes["graded"]
        parts = [f"{self._outcomes['correct'] / marked:.1%} right so far"] if marked else []
        if self._outcomes["graded"]:
            parts.append(f"{self._outcomes['graded']:,} to grade")
        return parts
