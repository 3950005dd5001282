"""The figures of one task under one condition: scores, rates, tokens, times."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.record import Record
from harness.records.scores import Estimate, Percentiles

Decision = Literal["pass", "fail", "inconclusive"]
FINDINGS = "FINDINGS"  # instead of a verdict on recorded traffic, unless one is requested
SourceKind = Literal["card", "reproduction", "third_party", "measured"]


def verdict_name(decision: Decision | None, findings_only: bool = False, found: bool = True) -> str:
    """Return PASS, FAIL or INCONCLUSIVE; without one SCORED, or for traffic (NO) FINDINGS."""
    traffic = FINDINGS if found else f"NO {FINDINGS}"
    return traffic if findings_only else (decision or "scored").upper()


class Latency(Record):
    """Seconds per request, seconds to the first token, tokens per second."""

    total: Percentiles | None = Field(
        default=None, description="seconds, of every exchange with a complete response"
    )
    first_token: Percentiles | None = Field(
        default=None, description="seconds, of every complete stream with text"
    )
    tokens_per_second: Percentiles | None = Field(
        default=None,
        description="of every complete stream with a token count and eight or more text events",
    )
    last: Percentiles | None = Field(
        default=None, description="seconds, of the last exchange of every finished attempt"
    )


class TokenCounts(Record):
    """Tokens of a task under one condition, as the provider reports them."""

    input: int = Field(default=0, description="sum over the replies that reported usage")
    output: int = Field(default=0, description="sum over the replies that reported usage")
    reasoning: int = Field(default=0, description="sum over the replies that reported it")
    unreported: int = Field(default=0, description="replies without usage")
    reasoning_each: Percentiles | None = Field(
        default=None, description="reasoning tokens of every attempt that reported them"
    )
    answer_each: Percentiles | None = Field(
        default=None, description="output minus reasoning tokens, where both were reported"
    )


class ExchangeCounts(Record):
    """The exchanges of a run, and how many ended in each of equal parts of its time.

    Exchanges whose time is unknown are not counted.
    """

    rollouts: int = Field(default=0, description="records in the log")
    total: int = 0
    served: int = Field(default=0, description="those with a complete 2xx response")
    after_failures: int = Field(default=0, description="served after a 5xx status or a cut")
    seconds: float = Field(default=0.0, description="from the first start to the last end")
    errors: Mapping[str, int] = Field(default={}, description="failures, most frequent first")
    retries: Mapping[str, int] = Field(default={}, description="causes, most frequent first")
    ended: tuple[int, ...] = ()
    failed: tuple[int, ...] = Field(default=(), description="empty without any")
    retried: tuple[int, ...] = Field(default=(), description="empty without any")


class MeanScore(Record):
    """A mean score with both of its uncertainties.

    `estimate` is the mean over samples with a 95% interval for other samples of the kind, and
    `clustered_error` its standard error (Miller 2024, arXiv 2411.00640, section 2.2: the deviation
    between sample means over the root of their number; None for a single sample). `run_error` is
    the standard error of sampling the same questions again.
    """

    estimate: Estimate
    clustered_error: float | None
    run_error: float
    questions: int
    tries: int


class AtK(Record):
    """Results of `k` tries at each sample."""

    k: int = Field(description="tries, of those planned for each sample")
    pass_at: Estimate = Field(description="share of samples that at least one of k tries passes")
    pass_hat: Estimate = Field(description="share of samples that all of k tries pass")
    majority: float | None = Field(
        default=None,
        description="share of samples whose most frequent answer in k tries is right (evals)",
    )


class UnreadAnswers(Record):
    """The answers that the rules cannot read.

    `unread` counts those answers, `read` those that a grader judged, `right` those in which it
    finds the right answer. The score counts all of them 0; it is between `low` and `high` (0 to 1)
    if those that nobody has read are wrong, or right.
    """

    unread: int
    read: int
    right: int
    low: float
    high: float


class ProgramUse(Record):
    """How often the model ran Python programs while it answered."""

    attempts: int = Field(description="attempts with a program")
    programs: int


class RubricFigure(Record):
    """A mean over graded attempts, clipped to [0, 1], as published.

    `interval` is the 95% interval for other questions of the kind, attempts clustered by question.
    `bootstrap_std` is the error that OpenAI's script prints: the standard deviation of the
    clipped mean over 1,000 resamples of the attempts.
    """

    mean: float
    unclipped: float
    interval: Estimate
    bootstrap_std: float
    tries: int


class RubricSummary(Record):
    """The figures of a rubric-graded eval under one condition, by one grader.

    `grader_errors` counts the attempts with at least one ungraded item, which are in no figure;
    `unanswered` those without an answer to grade. `overall` is None while nothing is graded.
    """

    overall: RubricFigure | None
    tags: dict[str, RubricFigure]
    tries: int
    unanswered: int
    grader_errors: int
    items: int
    ungraded_items: int

    @property
    def themes(self) -> dict[str, RubricFigure]:
        """Scores of the conversations of each theme."""
        return self.tagged("theme:")

    @property
    def axes(self) -> dict[str, RubricFigure]:
        """Scores on the items of each axis: accuracy, completeness and so on."""
        return self.tagged("axis:")

    def tagged(self, prefix: str) -> dict[str, RubricFigure]:
        """Return the figures of the tags with this prefix, by the rest of their names."""
        return {
            tag.removeprefix(prefix): figure
            for tag, figure in self.tags.items()
            if tag.startswith(prefix)
        }


class BaselineComparison(Record):
    """A score compared with its baseline, on the scale of the score, where 0.01 is a point.

    `difference` is score minus baseline with one-sided 95% bounds (together a 90% interval).
    `allowance` is how far each bound is widened because run and baseline had different prompts.
    `detectable` is the smallest drop beyond margin and allowance that such a run detects with a
    probability of at least 80%; None if it detects none. `further_tries` is how many more tries of
    every question would settle an inconclusive comparison if the difference stays the same; None
    where it is settled, or where no number suffices.
    """

    decision: Decision
    score: float
    baseline: float
    difference: Estimate
    margin: float
    detectable: float | None
    allowance: float = 0.0
    further_tries: int | None = None

    @property
    def baseline_too_uncertain(self) -> bool:
        """Whether no number of tries settles it because of the uncertainty of the baseline."""
        return self.decision == "inconclusive" and self.further_tries is None and not self.allowance


class BaselineFigure(Record):
    """One published or measured score, on the scale 0 to 1. `tries` is None where not stated."""

    source: str
    where: str
    kind: SourceKind
    value: float
    tries: int | None = None
    hardware: str | None = None
    note: str | None = None


class BaselineInfo(Record):
    """The baseline of a task under one condition: its figures, and the reason for choosing them."""

    name: str
    explanation: str
    figures: tuple[BaselineFigure, ...]

    @property
    def low(self) -> float:
        """The lowest of its figures."""
        return min(figure.value for figure in self.figures)

    @property
    def high(self) -> float:
        """The highest of its figures."""
        return max(figure.value for figure in self.figures)


class BaselineVerdict(Record):
    """A score compared with its baseline; `decision` is None where there is no baseline."""

    decision: Decision | None
    reason: str
    comparison: BaselineComparison | None = None
    baseline: BaselineInfo | None = None
    warnings: tuple[str, ...] = ()
