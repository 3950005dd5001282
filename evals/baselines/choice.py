"""Published figures as the baseline, and the choice of a baseline by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evals.baselines.figures import choose_figures, pooled_mean
from evals.baselines.measured import MeasuredRun, read_baseline
from evals.baselines.published import PublishedScores, known_model, published_scores
from evals.baselines.scores import (
    MAKE_ONE,
    Baseline,
    EvalScores,
    NoReference,
    Reference,
    differ_in_prompts,
    sampling_differences,
)
from harness.errors import ConfigurationError
from harness.records.runs import Sampling
from harness.statistics.mean_scores import run_mean

RANGE = "range"
"""Name of the default baseline: the healthy range of the independent reproductions."""
PUBLISHED_SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072, python="built-in")
"""The sampling parameters of OpenAI's guide to verifying gpt-oss, over either API; and the tool
that gpt-oss was trained with, for figures with tools."""
PUBLISHED_GRADER = "gpt-4.1"
"""The grader of OpenAI's HealthBench script (gpt-4.1-2025-04-14)."""


def choose_baseline(name: str | None) -> Baseline:
    """The baseline that `--baseline` names: `range` (default), a published source, or a file.

    Raises:
        ConfigurationError: There is no such source or file, or the file is not a baseline.
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
    """Published figures: of one source, or by default the independent reproductions.

    The model card alone is not the default, because independent healthy stacks do not always reach
    it. It is used where nobody has reproduced a figure.
    """

    scores: PublishedScores
    source: str | None = None

    def reference(self, scores: EvalScores) -> Reference | NoReference:
        """The mean of the figures that are published for these scores."""
        benchmark = self.scores.benchmarks.get(scores.eval)
        if scores.dataset.sample:
            return NoReference(
                f"these are sample questions, about which nothing is published; {MAKE_ONE}."
            )
        if benchmark is None:
            return NoReference(f"nothing is published about {scores.eval}; {MAKE_ONE}.")
        if len(scores.scores) != benchmark.questions:
            sampled = f"{len(scores.scores)} of {benchmark.questions} questions"
            return NoReference(f"only {sampled} were sampled, and published figures cover all.")
        model = known_model(scores.model)
        if model is None:
            return NoReference(
                f"the name {scores.model!r} does not contain 120b or 20b, so the gpt-oss model "
                "is unknown."
            )
        figures = self.scores.figures(scores.eval, model, scores.effort, tools=scores.python)
        info = choose_figures(figures, self.source)
        if info is None:
            wanted = "nothing" if self.source is None else f"nothing by {self.source}"
            tools = " with tools" if scores.python else ""
            return NoReference(
                f"{wanted} is published about {model} at {scores.effort} effort{tools}; {MAKE_ONE}."
            )
        return Reference(
            run_mean(list(scores.scores.values())),
            pooled_mean(info.figures, benchmark),
            info,
            _warnings(scores),
            differ_in_prompts(scores.prompts, benchmark.prompts_sha256),
        )


def _warnings(scores: EvalScores) -> tuple[str, ...]:
    name = "the published figures"
    warnings = sampling_differences(scores.sampling, PUBLISHED_SAMPLING, name)
    if scores.grader is not None and not scores.grader.startswith(PUBLISHED_GRADER):
        warnings.append(
            f"Graded by {scores.grader}, {name} by {PUBLISHED_GRADER}: the comparison includes "
            "the difference between the two graders."
        )
    return tuple(warnings)
