"""The score of a rollout: findings with evidence, an outcome, a value, usage and timing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from harness.records.conditions import Api, Condition, Mode
from harness.records.readings import ReadReply
from harness.records.record import Record
from harness.records.replies import Row, Traits
from harness.text import first_few

Severity = Literal["error", "warning", "info"]
Outcome = Literal[
    "success",
    "correct",
    "wrong",
    "graded",
    "answered",
    "no_answer",
    "unread",
    "refused",
    "truncated",
    "timeout",
    "provider_error",
    "invalid_response",
    "no_tool_call",
    "wrong_tool",
    "invalid_arguments",
    "wrong_arguments",
    "max_turns",
    "grader_error",
    "not_run",
]
"""How an attempt ended. `success` is a valid tool call; `answered` a reply to a probe request."""


RuleKind = Literal["check", "probe"]
_MOST_MEMBERS = 4  # members of two requests that are named


class Description(Record):
    """A rule: what it requires, why, and where it applies.

    A check judges single rollouts, a probe several requests together. `summary` is the
    requirement in one sentence, `why` the reason for the severity, `source` the specification.
    """

    id: str
    kind: RuleKind = "check"
    family: str
    severity: Severity
    summary: str
    why: str
    source: str
    apis: tuple[Api, ...]
    modes: tuple[Mode, ...]

    def is_named(self, name: str) -> bool:
        """Return whether `name` is the id of the rule, a prefix up to a dot, or its family."""
        return name in (self.id, self.family) or self.id.startswith(f"{name}.")


Received = Literal[
    "refused", "failed", "unrendered", "interrupted", "no reply", "unreadable", "differs"
]
"""What a request got: a refusal, a failure of the server (a stream that begins with an error too),
an error that names an exception of the chat template, a stream that reports an error after some
text, no complete response, a 2xx response that is not a reply, or a reply that differs."""


class Evidence(Record):
    """The place of a finding: a record, an exchange in it, and a JSON path or event number.

    `compared` is the record with the only other reply that the finding of a probe needs, and
    `differing` has the members in which its request differs from the one of the finding.
    """

    record: str
    exchange: int
    path: str | None = None
    event: int | None = None
    compared: str | None = None
    differing: tuple[str, ...] = ()
    expected: str
    got: str
    received: Received = "differs"

    @property
    def shown(self) -> str:
        """What the provider sent, for readers; `got` may be empty or blank."""
        return never_blank(self.got)

    @property
    def comparison(self) -> str:
        """How the requests of the two compared replies differ, for readers; empty without two."""
        if self.compared is None:
            return ""
        listed = first_few(self.differing, _MOST_MEMBERS)
        return f"the requests differ in {listed}" if listed else "the requests are equal"


def never_blank(got: str) -> str:
    """Return what arrived, for readers: a text, or words for none."""
    if got and not got.strip():
        return f"only white space: {got!r}"
    return got or "nothing arrived"


class Finding(Record):
    """One problem that a rule found in one rollout.

    An error of a shipped rule makes the response invalid; what an own rule of another package
    finds, only fails this rule.
    """

    id: str
    severity: Severity
    message: str
    evidence: Evidence
    proven: bool = Field(default=False, description="no model causes it, so none is tolerated")
    own: bool = Field(default=False, description="whether a rule of another package found it")

    @property
    def invalidates(self) -> bool:
        """Whether it makes the response invalid."""
        return self.severity == "error" and not self.own


@dataclass(frozen=True, slots=True)
class UsedTokens:
    """Token counts of a rollout as the provider reported them.

    Each count is a sum over the replies that reported it, None where none did; `unreported`
    counts replies without any usage.
    """

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    unreported: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one complete exchange in seconds; the last two are None unless it was streamed."""

    total: float
    first_token: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A line of `scores.jsonl`: the score of one planned attempt.

    A dataclass rather than a model, because a run has tens of thousands. `applicable`, `rows`,
    `traits`, `readings` and `broken` are not stored.

    Attributes:
        record: Id of the rollout.
        attempt: Which try it is, from 1.
        value: 1 or 0 where answers are right or wrong; a rubric score of at most 1 in HealthBench;
            None for probe requests, which are judged together.
        detail: The reason for the outcome, in one sentence.
        expected: What was expected, if the outcome is a failure of the model.
        got: What the model did instead.
        no_reply: Whether the attempt failed only because no reply came (tool calling).
        exact: Whether a tool call has exactly the expected arguments; None without such a call.
        answer: The answer extracted from the text (evals).
        grader_reads: Whether a grader finds the right answer where the rules find none (evals).
        programs: Programs of the model that were run; None where it could not run any (evals).
        openai_value: The value that OpenAI's own script gives the same text (evals).
        order: The order in which the choices were presented (GPQA).
        said: What the replies said, to recognize copies (evals): see `harness.statistics.copies`.
        timing: One entry for each exchange that came with a complete response.
        seconds: Time of the last exchange, complete or not.
        requests: Requests without the `retries`.
        applicable: Ids of the rules that had something to judge.
        rows: One for each exchange, with what comparisons with other exchanges need.
        traits: What comparisons with other rollouts need.
        readings: What a reader found of its replies, if they were read (`rescored.jsonl`).
        broken: Rules that raised when they judged the rollout, with tracebacks.
    """

    record: str
    task: str
    sample: str
    condition: Condition
    attempt: int
    outcome: Outcome
    value: float | None = None
    detail: str = ""
    expected: str | None = None
    got: str | None = None
    no_reply: bool = False
    exact: bool | None = None
    answer: str | None = None
    openai_value: float | None = None
    grader_reads: bool | None = None
    programs: int | None = None
    order: tuple[int, ...] | None = None
    said: tuple[int, float] = (0, 0.0)
    usage: UsedTokens = UsedTokens()
    timing: tuple[Timing, ...] = ()
    seconds: float | None = None
    requests: int = 0
    retries: int = 0
    applicable: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    rows: tuple[Row, ...] = ()
    traits: Traits = field(default_factory=Traits)
    readings: tuple[ReadReply, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()

    @property
    def replies(self) -> Sequence[Row]:
        """The rows of its readable replies to valid requests."""
        return [row for row in self.rows if row.answered]

    @property
    def reply_ids(self) -> tuple[str, ...]:
        """The ids of its replies, without those that have none."""
        return tuple(row.reply_id for row in self.rows if row.reply_id)

    @property
    def finished(self) -> bool:
        """Whether the attempt was made."""
        return self.outcome != "not_run"

    @property
    def invalid(self) -> bool:
        """Whether a reply could not be read, or an error was found in one."""
        errors = any(finding.invalidates for finding in self.findings)
        return errors or self.outcome == "invalid_response"


class Estimate(Record):
    """A mean with its 95% confidence interval."""

    value: float
    low: float
    high: float


class Percentiles(Record):
    """A distribution in four figures."""

    count: int = Field(description="number of measurements")
    p50: float
    p90: float
    p99: float
