"""What judging a run yields: findings with evidence, outcomes, figures, and a verdict.

These types are written to `analysis.json` and are all that reports see of a run's judgement.
They hold no behaviour beyond looking things up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.records.base import Record
from harness.records.rollouts import Api
from harness.records.runs import RunInfo, Thresholds

ANALYSIS_VERSION = 2

Severity = Literal["error", "warning", "info"]
Mode = Literal["stream", "whole"]
OutcomeKind = Literal[
    "success",
    "provider_error",
    "timeout",
    "invalid_response",
    "no_tool_call",
    "wrong_tool",
    "invalid_arguments",
    "wrong_arguments",
    "truncated",
    "max_turns",
    "not_run",
]
Decision = Literal["pass", "fail", "inconclusive"]
CheckStatus = Literal["failed", "warned", "declared", "not_verifiable", "skipped", "passed"]


class Description(Record):
    """What is known of a check or a probe before anything was asked.

    A check judges one rollout by itself; a probe is an experiment of several. `summary` says in
    one line what must hold, `why` the reason for the severity, `source` where it stands.
    """

    id: str
    kind: Literal["check", "probe"] = "check"
    family: str
    severity: Severity
    summary: str
    why: str
    source: str
    apis: tuple[Api, ...]
    modes: tuple[Mode, ...]


class Evidence(Record):
    """Where a finding was seen: a record, an exchange in it, and a JSON path or event number."""

    record: str
    exchange: int
    path: str | None = None
    event: int | None = None
    expected: str
    got: str


class Finding(Record):
    """One thing a check has to say about one rollout. An error makes the response invalid."""

    id: str
    severity: Severity
    message: str
    evidence: Evidence


class Outcome(Record):
    """How one planned attempt ended: success, or exactly one named failure.

    `exact` says whether the arguments were the right ones, where a call could be judged at all.
    """

    kind: OutcomeKind
    detail: str = ""
    expected: str | None = None
    got: str | None = None
    exact: bool | None = None

    @property
    def success(self) -> bool:
        """Whether the attempt counts as passed."""
        return self.kind == "success"


class Speed(Record):
    """Times of one exchange in seconds; the first two are None where nothing was streamed."""

    total: float
    first_token: float | None = None
    tokens_per_second: float | None = None


class Tokens(Record):
    """Token counts as the provider reported them; `unreported` counts replies without usage."""

    input: int = Field(default=0, description="sum over the replies that reported usage")
    output: int = Field(
        default=0, description="sum over the replies that reported usage, reasoning included"
    )
    reasoning: int = Field(default=0, description="sum over the replies that reported it")
    unreported: int = Field(default=0, description="replies without usage")


class Examination(Record):
    """What the checks say of one rollout. `applicable` names those that had something to judge.

    `reply_ids` and `first_input`, the input tokens of the first request, are noted so that
    rollouts can be compared.
    """

    record: str
    sample: str
    api: Api
    mode: Mode
    applicable: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    reply_ids: tuple[str, ...] = ()
    first_input: int | None = None

    @property
    def group(self) -> str:
        """The API and mode in words: `responses · stream`."""
        return f"{self.api} · {self.mode}"


class Judgement(Examination):
    """Everything the judges say of one attempt at a case."""

    attempt: int
    outcome: Outcome
    tokens: Tokens = Tokens()
    speeds: tuple[Speed, ...] = ()
    requests: int = 0
    retries: int = 0

    @property
    def invalid(self) -> bool:
        """Whether a reply could not be read, or an error was found in one."""
        errors = any(finding.severity == "error" for finding in self.findings)
        return errors or self.outcome.kind == "invalid_response"


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
        """The group in words: `responses · stream`."""
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
