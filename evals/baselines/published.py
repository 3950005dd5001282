"""The published scores of gpt-oss with their sources, as baselines.

The folder of each eval has them in `scores.json`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from evals.baselines.eval_scores import (
    EvalScores,
    Reading,
    Reference,
    differ_in_prompts,
    sampling_differences,
)
from evals.declaration import folders
from harness.records.conditions import known_model
from harness.records.figures import BaselineFigure, BaselineInfo, SourceKind
from harness.records.record import Record
from harness.records.runs import DatasetInfo
from harness.records.settings import Sampling
from harness.statistics.mean_scores import Mean, run_mean
from harness.statistics.noninferiority import run_error
from harness.text import percentage


class Source(Record):
    """The publication of a figure."""

    title: str
    where: str
    kind: SourceKind


class Benchmark(Record):
    """The facts that all figures of a benchmark share.

    `prompts_sha256` is the hash of the prompts of OpenAI's scripts (`evals.prompts.wording`).
    `assumed_tries` is used for figures whose source does not state the number of tries; `margin`
    is in points.
    """

    metric: str
    questions: int
    assumed_tries: int
    assumed_because: str
    margin: float
    margin_because: str
    prompts_sha256: str | None = None


class PublishedRow(Record):
    """One line of a published table: scores by effort in percent, with or without `tools`."""

    benchmark: str
    model: str
    source: str
    tools: bool
    scores: Mapping[str, float]
    hardware: str | None = None
    tries: int | None = None
    note: str | None = None


class PublishedScores(Record):
    """All known scores with their sources."""

    benchmarks: Mapping[str, Benchmark]
    sources: Mapping[str, Source]
    rows: tuple[PublishedRow, ...]

    def figures(
        self, benchmark: str, model: str, effort: str, *, tools: bool = False
    ) -> list[BaselineFigure]:
        """Return every score of a model with or without tools, on the scale 0 to 1."""
        return [
            BaselineFigure(
                source=row.source,
                where=self.sources[row.source].where,
                kind=self.sources[row.source].kind,
                value=round(row.scores[effort] / 100, 6),
                tries=row.tries,
                hardware=row.hardware,
                note=row.note,
            )
            for row in self.rows
            if (row.benchmark, row.model, row.tools) == (benchmark, model, tools)
            and effort in row.scores
        ]


@cache
def published_scores() -> PublishedScores:
    """Return the scores that ship with the package."""
    tables = [
        PublishedScores.model_validate_json((folder / SCORES).read_bytes())
        for folder in folders()
        if (folder / SCORES).is_file()
    ]
    return PublishedScores(
        benchmarks={name: e for each in tables for name, e in each.benchmarks.items()},
        sources={name: source for each in tables for name, source in each.sources.items()},
        rows=tuple(row for each in tables for row in each.rows),
    )


CARD = "card"
SCORES = "scores.json"
PUBLISHED_SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=131_072, python="built-in")
"""The sampling parameters of OpenAI's guide to verifying gpt-oss, for both APIs, and for figures
with tools the tool that gpt-oss was trained with."""
PUBLISHED_GRADER = "gpt-4.1"  # the grader of OpenAI's HealthBench script (gpt-4.1-2025-04-14)


def choose_figures(figures: Sequence[BaselineFigure], source: str | None) -> BaselineInfo | None:
    """Return the figures of a source or of the reproductions, with the reason.

    None without figures.
    """
    card = [figure for figure in figures if figure.kind == "card"]
    if source is not None:
        chosen = [figure for figure in figures if figure.source == source]
        reason = f"The figures of {chosen[0].where}, as requested." if chosen else ""
        return _info(source, reason, chosen)
    chosen = [figure for figure in figures if figure.kind == "reproduction"]
    if chosen:
        return _info("healthy range", _range_explanation(chosen, card), chosen)
    reason = "Only the model card: no independent reproduction of this figure is known."
    return _info(CARD, reason, card)


def pooled_mean(figures: Sequence[BaselineFigure], benchmark: Benchmark) -> Mean:
    """Return the mean of published figures and its noise.

    The noise of a figure follows from the number of tries that its source states, otherwise from
    `benchmark.assumed_tries`. It is the noise of questions of equal difficulty, which is the upper
    bound. If the figures differ by more than that, the variance between them is used instead.
    Graded scores cannot vary more than right-or-wrong scores of the same mean, so the bound also
    applies to them.
    """
    value = statistics.fmean(figure.value for figure in figures)
    tries = [figure.tries or benchmark.assumed_tries for figure in figures]
    noise = statistics.fmean(run_error(value, benchmark.questions, count) ** 2 for count in tries)
    if len(figures) > 1:
        noise = max(noise, statistics.variance(figure.value for figure in figures))
    squared = noise / len(figures)
    trials = value * (1 - value) / squared
    return Mean(
        value=value,
        error=math.sqrt(squared),
        tries=statistics.fmean(tries),
        trials=trials,
        freedom=math.inf,
    )


def _info(name: str, reason: str, figures: Sequence[BaselineFigure]) -> BaselineInfo | None:
    if not figures:
        return None
    return BaselineInfo(name=name, explanation=reason, figures=tuple(figures))


def _range_explanation(chosen: Sequence[BaselineFigure], card: Sequence[BaselineFigure]) -> str:
    stacks = "one independent stack" if len(chosen) == 1 else f"{len(chosen)} independent stacks"
    if not card:
        return f"The scores of {stacks}; the model card has no such figure."
    figure = card[0].value
    if figure > max(reproduced.value for reproduced in chosen):
        return (
            f"The scores of {stacks}: none reached the {percentage(figure)} of the model card, so"
            " the card alone would fail good providers."
        )
    return (
        f"The scores of {stacks}; the model card's {percentage(figure)} is the figure of a single"
        " stack, OpenAI's own."
    )


@dataclass(frozen=True)
class PublishedBaseline:
    """Published figures of one source, by default of the independent reproductions."""

    scores: PublishedScores
    source: str | None = None
    reading: Reading = "openai"

    def reference(self, scores: EvalScores) -> Reference | str:
        """Return the mean of the published figures, or the reason why there is none."""
        benchmark = self.scores.benchmarks.get(scores.eval)
        if scores.dataset.sample:
            return f"{whose_questions(scores.dataset)}."
        if benchmark is None:
            return f"there is no baseline for {scores.eval} yet."
        if len(scores.scores) != benchmark.questions:
            sampled = f"{len(scores.scores)} of {benchmark.questions} questions"
            return f"only {sampled} were sampled, and published figures cover all."
        model = known_model(scores.model)
        if model is None:
            return (
                f"the name {scores.model!r} does not contain 120b or 20b, so the gpt-oss model "
                "is unknown."
            )
        figures = self.scores.figures(scores.eval, model, scores.effort, tools=scores.python)
        info = choose_figures(figures, self.source)
        if info is None:
            wanted = "nothing" if self.source is None else f"nothing by {self.source}"
            tools = " with tools" if scores.python else ""
            return f"{wanted} is published about {model} at {scores.effort} effort{tools}."
        return Reference(
            run_mean(list(scores.scores.values())),
            pooled_mean(info.figures, benchmark),
            info,
            _warnings(scores),
            differ_in_prompts(scores.prompts, benchmark.prompts_sha256),
        )


def whose_questions(data: DatasetInfo) -> str:
    """Return why the questions of an eval have no published baseline, without a full stop."""
    match data.identity:
        case "own":
            return f"these are your own questions, not those published as {data.eval}"
        case "unknown":
            return (
                f"it is not known whether these are the published questions of {data.eval}: this "
                "version has no hashes of them, and the file is not a published one"
            )
        case "part":
            return f"these are only {data.rows} of the published questions of {data.eval}"
    return "there is no published baseline for these questions"


def _warnings(scores: EvalScores) -> tuple[str, ...]:
    name = "the published figures"
    warnings = sampling_differences(scores.sampling, PUBLISHED_SAMPLING, name)
    if scores.grader is not None and not scores.grader.startswith(PUBLISHED_GRADER):
        warnings.append(
            f"Graded by {scores.grader}, {name} by {PUBLISHED_GRADER}: the comparison includes "
            "the difference between the two graders."
        )
    return tuple(warnings)
