"""A measured run as the baseline: the very same questions, one by one."""

from __future__ import annotations

from dataclasses import dataclass

from evals.baselines.base import NoReference, Reference
from evals.baselines.measured import MeasuredBaseline
from evals.baselines.published import known_model
from evals.baselines.sampling import differences
from evals.judgement import BaselineInfo, CellScores, Figure
from harness.statistics.differences import paired_means
from harness.statistics.mean_scores import Mean


@dataclass(frozen=True)
class MeasuredRun:
    """A measured run: compared question by question, on the very same questions."""

    measured: MeasuredBaseline
    name: str

    def reference(self, scores: CellScores) -> Reference | NoReference:
        """Hold a cell to the same questions of the measured run, or refuse."""
        cell = scores.cell
        theirs = next((m for m in self.measured.cells if _same_cell(m, scores)), None)
        if theirs is None:
            return NoReference(f"{self.name} has no scores of {cell.name}.")
        if theirs.dataset.sha256 != scores.dataset.sha256:
            return NoReference(
                f"{self.name} was measured on other {cell.eval} data (the hashes differ):"
                " measure it again on these."
            )
        unknown = [question for question in scores.scores if question not in theirs.scores]
        if unknown:
            return NoReference(
                f"{self.name} has no score of {len(unknown)} of the {len(scores.scores)} questions"
                f" asked, {unknown[0]!r} among them: measure it again on these."
            )
        run, baseline = paired_means(
            list(scores.scores.values()), [theirs.scores[question] for question in scores.scores]
        )
        return Reference(
            run, baseline, self._info(baseline, theirs), differences(scores, theirs, self.name)
        )

    def _info(self, baseline: Mean, theirs: CellScores) -> BaselineInfo:
        who = f"{self.measured.provider}, measured {self.measured.created_at[:10]}"
        figure = Figure(
            source=self.name,
            where=who,
            kind="measured",
            value=baseline.value,
            tries=theirs.planned,
        )
        return BaselineInfo(
            name=self.name,
            explanation=f"The same questions answered by {who}.",
            figures=(figure,),
        )


def _same_cell(theirs: CellScores, ours: CellScores) -> bool:
    a, b = theirs.cell, ours.cell
    same_model = a.model == b.model or (
        known_model(a.model) is not None and known_model(a.model) == known_model(b.model)
    )
    return same_model and (a.eval, a.effort) == (b.eval, b.effort)
