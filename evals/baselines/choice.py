"""Published figures as the baseline, and the choice of a baseline by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.baselines.base import MAKE_ONE, Baseline, NoReference, Reference
from evals.baselines.figures import choose_figures, pooled_mean
from evals.baselines.measured import read_baseline
from evals.baselines.published import PublishedScores, known_model, published_scores
from evals.baselines.runs import MeasuredRun
from evals.baselines.sampling import sampling_warnings
from evals.judgement import CellScores
from harness.errors import ConfigurationError
from harness.statistics.mean_scores import run_mean

RANGE = "range"
"""Name of the default baseline: the healthy range of the independent reproductions."""


def choose_baseline(name: str | None) -> Baseline:
    """The baseline that `--baseline` names: `range` (default), a published source, or a file.

    Raises:
        ConfigurationError: If there is no such source or file, or the file is no baseline.
    """
    published = published_scores()
    if name is None or name == RANGE:
        return PublishedBaseline(published)
    if name in published.sources:
        return PublishedBaseline(published, name)
    path = Path(name)
    if path.suffix or path.exists():
        return MeasuredRun(read_baseline(path), name)
    known = ", ".join([RANGE, *published.sources])
    raise ConfigurationError(f"There is no baseline {name!r}: name one of {known}, or a file.")


@dataclass(frozen=True)
class PublishedBaseline:
    """Published figures: of one source, or without one the independent reproductions.

    The model card alone is not the default, because independent healthy stacks do not always reach
    it. Where nobody has reproduced a figure the card is all there is.
    """

    scores: PublishedScores
    source: str | None = None

    def reference(self, scores: CellScores) -> Reference | NoReference:
        """Hold a cell to the mean of the figures published for it."""
        cell = scores.cell
        benchmark = self.scores.benchmarks.get(cell.eval)
        if scores.dataset.sample:
            return NoReference(
                f"these are sample questions, about which nothing is published; {MAKE_ONE}."
            )
        if benchmark is None:
            return NoReference(f"nothing is published about {cell.eval}; {MAKE_ONE}.")
        if len(scores.scores) != benchmark.questions:
            asked = f"{len(scores.scores)} of {benchmark.questions} questions"
            return NoReference(f"only {asked} were asked, and published figures are over all.")
        model = known_model(cell.model)
        if model is None:
            return NoReference(
                f"the name {cell.model!r} does not say which gpt-oss it is, with 120b or 20b."
            )
        figures = self.scores.figures(cell.eval, model, cell.effort)
        info = choose_figures(figures, self.source)
        if info is None:
            wanted = "nothing" if self.source is None else f"nothing by {self.source}"
            return NoReference(
                f"{wanted} is published about {model} at {cell.effort} effort; {MAKE_ONE}."
            )
        return Reference(
            run_mean(list(scores.scores.values())),
            pooled_mean(info.figures, benchmark),
            info,
            sampling_warnings(scores.sampling),
        )
