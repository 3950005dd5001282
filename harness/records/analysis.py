"""What judging a whole run yields: figures, results of checks, and a verdict.

These types are written to `analysis.json`. They hold no behaviour beyond looking things up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.base import Record
from harness.records.judgements import Description, Finding, Mode, Outcome, OutcomeKind, Tokens
from harness.records.rollouts import Api
from harness.records.runs import RunInfo, Thresholds

ANALYSIS_VERSION = 2

Decision = Literal["pass", "fail", "inconclusive"]
CheckStatus = Literal["failed", "warned", "declared", "not_verifiable", "skipped", "passed"]


class Estimate(Record):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class Percentiles(Record):
    """A distribution in four figures; `count` says how many measurements there were."""

    count: int = Field(description="measurements that the percentiles are of")
    p50: float
    p90: float
    p99: float


class Latency(Record):
    """Speed of a group: seconds per request, seconds to the first token, tokens per second."""

    total: Percentiles | None = Field(
        default=None, description="seconds, of every request that got a whole answer"
    )
    first_token: Percentiles | None = Field(
        default=None, description="seconds, of every whole stream in which text came"
    )
    tokens_per_second: Percentiles | None = Field(
        default=None,
        description="of every whole stream with a token count and eight events with text or more",
    )


class GroupAnalysis(Record):
    """One API in one mode. `pass_at[i]` and `pass_hat[i]` are for k = i + 1.

    The denominator of every rate is `planned`; `invalid` counts attempts with an error finding.
    `best_pass_at` and `best_pass_hat` are what the last of them could be at most, if every attempt
    that is missing passed.
    """

    api: Api
    mode: Mode
    cases: int = Field(description="cases asked")
    tries: int = Field(description="attempts planned for each case")
    planned: int = Field(
        description="cases × tries; the denominator of every count and rate of attempts"
    )
    finished: int = Field(description="planned attempts that were made, however they ended")
    outcomes: Mapping[OutcomeKind, int] = Field(
        description="planned attempts by how they ended; they add up to planned"
    )
    invalid: int = Field(
        description="finished attempts in which a reply could not be read or had an error finding"
    )
    exact: int = Field(description="successes with exactly the expected arguments")
    pass_at: tuple[Estimate, ...] = Field(
        description="share of cases of which one of k tries passes; one not made has not passed"
    )
    pass_hat: tuple[Estimate, ...] = Field(
        description="share of cases of which all of k tries pass; one not made has not passed"
    )
    best_pass_at: float = 1.0
    best_pass_hat: float = 1.0
    tokens: Tokens
    latency: Latency
    requests: int = Field(description="requests of the finished attempts, retries not counted")
    retries: int = Field(description="requests that were repeated")

    @property
    def name(self) -> str:
        """The group in words: `responses · streaming`."""
        return f"{self.api} · {self.mode}"


class CheckResult(Record):
    """What came of one check or probe in a whole run.

    `failed` has a finding of severity error, `warned` one of severity warning; `not_verifiable`
    met nothing that it could judge; `skipped` was not asked for; `declared` found what the
    provider's entry says it cannot do. `reason` explains every status but the first two and a
    plain pass. Of the `applicable` rollouts (for a probe: repetitions) `failures` had a finding;
    `rate` is their share, None where nothing was applicable.
    """

    check: Description
    status: CheckStatus
    reason: str | None = None
    applicable: int = Field(
        default=0, description="rollouts (probe: repetitions) in which there was something to judge"
    )
    failures: int = Field(default=0, description="of the applicable, those with a finding")
    rate: Estimate | None = Field(
        default=None, description="failures / applicable, clustered by sample"
    )
    findings: int = Field(default=0, description="findings in all; one rollout may have several")
    groups: tuple[str, ...] = ()
    examples: tuple[Finding, ...] = ()


class WorstCase(Record):
    """A case that did not pass every time in one group, with one failed attempt as example."""

    sample: str
    tool: str
    prompt: str
    group: str
    passed: int = Field(description="attempts of the group at the case that passed")
    tries: int = Field(description="attempts planned for it in the group")
    outcomes: Mapping[OutcomeKind, int]
    example: Outcome
    record: str


class Verdict(Record):
    """What the gate says, and why, most important reason first."""

    decision: Decision
    reasons: tuple[str, ...]
    thresholds: Thresholds


class Analysis(Record):
    """The judgement of a whole run; what `analysis.json` holds.

    Of `probe_requests` that the probes planned, `probe_answers` were made.
    """

    version: int = ANALYSIS_VERSION
    run_id: str
    run: RunInfo
    bad_lines: int = Field(description="lines of the case file left out: in no denominator")
    complete: bool = Field(description="whether everything planned was made")
    probe_requests: int = Field(default=0, description="rollouts that the probes planned")
    probe_answers: int = Field(default=0, description="of these, those made")
    groups: tuple[GroupAnalysis, ...]
    checks: tuple[CheckResult, ...]
    worst_cases: tuple[WorstCase, ...]
    verdict: Verdict
