"""What judging an eval run yields: the figures of each cell, and a verdict. No behaviour."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from evals.base import DatasetInfo
from evals.healthbench.summary import HealthBenchSummary
from evals.judgement import CellVerdict
from evals.records import Cell, EvalRunInfo, Outcome
from harness.records.analysis import Decision, Estimate, Percentiles
from harness.records.base import Record
from harness.statistics.mean_scores import MeanScore

EVAL_ANALYSIS_VERSION = 1


class AtK(Record):
    """What `k` tries come to: at least one right, all right, a majority right."""

    k: int = Field(description="tries looked at, of those planned for each question")
    pass_at: Estimate = Field(description="share of questions of which one of k tries is right")
    pass_hat: Estimate = Field(description="share of questions of which all of k tries are right")
    majority: float = Field(
        description="share of questions of which the most frequent answer of k tries is right"
    )


class Amounts(Record):
    """Tokens of a cell as the provider counts them, by try; `unreported` counts tries without."""

    output: int = Field(description="sum over the tries that reported usage")
    reasoning: Percentiles | None = Field(description="of every try that reported it")
    answer: Percentiles | None = Field(
        description="output less reasoning, of every try that reported both"
    )
    unreported: int = Field(description="finished tries without usage")


class QuestionResult(Record):
    """One question of a cell, with one try that failed; never its text.

    `order` is the order in which the choices stood in that try.
    """

    question: str
    mean: float = Field(description="mean score of the finished tries")
    tries: int = Field(description="finished tries")
    outcomes: Mapping[Outcome, int]
    record: str
    outcome: Outcome
    answer: str | None
    order: tuple[int, ...] | None
    detail: str


class CellResult(Record):
    """One eval of one model at one effort.

    The denominator of `score` is every planned try; `tries` is how often each question was asked.
    `at_k` is empty where answers are graded, and in a shard; `rubric` and `grader` are None where
    they are right or wrong.
    """

    cell: Cell
    dataset: DatasetInfo
    questions: int = Field(description="questions asked")
    tries: int = Field(description="tries of each question that count")
    planned: int = Field(
        description="tries that count, made or not: the denominator of score and outcomes"
    )
    finished: int = Field(description="tries that were made, however they ended")
    outcomes: Mapping[Outcome, int] = Field(description="tries by how they ended")
    score: MeanScore = Field(
        description="mean over questions of the mean over planned tries; a try not made scores 0"
    )
    openai_score: float | None = Field(
        description="the mean as OpenAI's script would take it, over planned tries"
    )
    at_k: tuple[AtK, ...]
    tokens: Amounts
    seconds: Percentiles | None = Field(description="last request of every finished try")
    rubric: HealthBenchSummary | None
    grader: str | None
    hardest: tuple[QuestionResult, ...]
    verdict: CellVerdict


class EvalAnalysis(Record):
    """The judgement of a whole eval run; what its `analysis.json` holds.

    `decision` is None where the run is complete but was not to be held to anything: sample
    questions without a measured baseline, or a shard.
    """

    version: int = EVAL_ANALYSIS_VERSION
    run_id: str
    run: EvalRunInfo
    complete: bool
    cells: tuple[CellResult, ...]
    decision: Decision | None
    reasons: tuple[str, ...]
