"""What judging a rollout yields: findings with evidence, an outcome, its tokens and its speed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.records.base import Record
from harness.records.rollouts import Api

Severity = Literal["error", "warning", "info"]
Mode = Literal["streaming", "non-streaming"]
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


class Description(Record):
    """What a check or a probe requires, and where it applies.

    A check judges single rollouts; a probe is an experiment of several requests. `summary` states
    the requirement, `why` gives the reason, `source` documents the requirement.
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
        """The API and mode in words: `responses · streaming`."""
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
