"""The published and reproduced scores of gpt-oss, each with its source (`data/baselines.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from pydantic import Field

from harness.records.analysis import BaselineFigure, SourceKind
from harness.records.base import Record
from harness.records.conditions import known_model as known_model


class Source(Record):
    """Who published a figure, and where it can be read."""

    title: str
    where: str
    kind: SourceKind


class Benchmark(Record):
    """What holds for all figures of a benchmark.

    `prompts_sha256` is the hash of the prompts of OpenAI's scripts (`evals.prompts.wording`), which
    published figures are taken to have been measured with.

    `assumed_tries` is what a figure is taken to rest on where its source does not say;
    `margin` is the default margin of a verdict, in points.
    """

    metric: str
    questions: int
    assumed_tries: int
    assumed_because: str
    margin: float
    margin_because: str
    prompts_sha256: str | None = None


class Row(Record):
    """One line of a published table: the scores of a model by effort, in percent.

    `tools` says whether the model could use tools while it was measured.
    """

    benchmark: str
    model: str
    source: str
    tools: bool
    scores: Mapping[str, float]
    hardware: str | None = None
    tries: int | None = None
    note: str | None = None


class PublishedScores(Record):
    """All that is known, with its sources."""

    version: int = Field(ge=1, le=1)
    benchmarks: Mapping[str, Benchmark]
    sources: Mapping[str, Source]
    rows: tuple[Row, ...]

    def figures(
        self, benchmark: str, model: str, effort: str, *, tools: bool = False
    ) -> list[BaselineFigure]:
        """Every score of a model with tools or without, on the scale 0 to 1."""
        return [
            self._figure(row, row.scores[effort])
            for row in self.rows
            if (row.benchmark, row.model, row.tools) == (benchmark, model, tools)
            and effort in row.scores
        ]

    def _figure(self, row: Row, percent: float) -> BaselineFigure:
        source = self.sources[row.source]
        return BaselineFigure(
            source=row.source,
            where=source.where,
            kind=source.kind,
            value=round(percent / 100, 6),
            tries=row.tries,
            hardware=row.hardware,
            note=row.note,
        )


@cache
def published_scores() -> PublishedScores:
    """The scores that come with the package."""
    text = files("evals").joinpath("data", "baselines.json").read_text(encoding="utf-8")
    return PublishedScores.model_validate_json(text)
