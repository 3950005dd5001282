"""The score of a rollout: findings with evidence, an outcome, a value, usage and timing."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness.records.base import Record
from harness.records.conditions import Api, Condition, Mode

Severity = Literal["error", "warning", "info"]
Outcome = Literal[
    "success",
    "correct",
    "wrong",
    "graded",
    "answered",
    "no_answer",
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


class Description(Record):
    """A rule: what it requires, why, and where it applies.

    A check judges single rollouts, a probe several requests together. `summary` is the
    requirement in one sentence, `why` the reason for the severity, `source` the specification.
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

    def is_named(self, name: str) -> bool:
        """Whether `name` is the id of this rule, a prefix of it up to a dot, or its family."""
        return name in (self.id, self.family) or self.id.startswith(f"{name}.")


class Evidence(Record):
    """The place of a finding: a record, an exchange in it, and a JSON path or event number."""

    record: str
    exchange: int
    path: str | None = None
    event: int | None = None
    expected: str
    got: str


class Finding(Record):
    """One problem that a rule found in one rollout. An error makes the response invalid."""

    id: str
    severity: Severity
    message: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Usage:
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


# One token in 50, far more than the recorded replies of real models show (none in 13,000).
_SPELLED_OTHERWISE = 50


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """The completion tokens of a reply, and those that its text explains."""

    exchange: int  # index of the exchange in its rollout
    reported: int  # the completion tokens that the provider reports
    reasoning: int  # the tokens of the CoT
    least: int  # the fewest tokens that the texts alone can have
    most: int  # the most tokens that the texts and the format around them can have
    exact: bool  # whether `most` is exact, because the reply has no JSON, which servers may rewrite
    pieces: int | None = None
    """How many tokens more than the whole texts the pieces of a stream have; they show where the
    model spelled a text with other tokens than the tokenizer. None without a stream, or if its
    pieces have several tokens each."""
    streamed: bool = False  # whether the reply is a stream
    closed: bool = False  # whether the text ends like a sentence
    thinking: int | None = None  # the reasoning tokens that the provider reports

    @property
    def unexplained(self) -> int:
        """Reported tokens that the reply does not explain; negative if it needs fewer."""
        return self.reported - self.most

    @property
    def spelling(self) -> int:
        """Tokens by which another spelling of a long text may differ, in a rare case."""
        return self.most // _SPELLED_OTHERWISE


@dataclass(frozen=True, slots=True)
class Cut:
    """A truncated reply with fewer tokens than its request allows."""

    exchange: int  # index of the exchange in its rollout
    input: int  # prompt tokens
    output: int  # completion tokens
    limit: int  # the token limit of the request


@dataclass(frozen=True, slots=True)
class Edges:
    """The beginning and the end of a text; `place` is `CoT` or `answer`."""

    place: str
    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class MadeCall:
    """A call of the expected tool, compared with the expected call."""

    exchange: int  # index of the exchange in its rollout
    expected: str  # the expected arguments, as JSON text
    got: str  # the arguments of the call
    same: bool  # whether both are the same JSON
    values: bool  # whether numbers, booleans, null or the length of lists differ
    extra_tokens: int | None
    """Reported tokens of the reply that are not those of its messages without content types; None
    if they cannot be counted."""
    planned: bool = False
    """Whether the CoT has all values that the call lacks, and none that it has instead."""
    expected_extra_tokens: tuple[int, ...] = ()
    """The same for the reply with the expected call, in each spelling of JSON."""
    strange: bool = False
    """Whether a word in its texts replaces an expected one, and is neither in the prompt nor in the
    CoT."""
    asked: bool = False
    """Whether the prompt has all values that the call lacks, and none that it has instead."""


@dataclass(frozen=True, slots=True)
class UserTexts:
    """The tokens of the user's texts in a request, and a hash of everything else."""

    tokens: int
    rest: str


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties by which the rollouts of a run are compared."""

    conversation: str = ""  # the conversation of the first request as JSON, in lower case
    user: UserTexts | None = None  # the user's part of it; None if its tokens cannot be counted
    strange: frozenset[str] = frozenset()
    """Invented words in replies and texts in arguments of calls that no request of the rollout
    contains, in lower case."""
    calls: frozenset[str] = frozenset()  # every call: its name and its arguments in canonical form
    content: str = ""  # a hash of CoT and text; empty if they are short, or if the reply has calls
    answer: str = ""
    """A hash of the text of the only reply; empty if it is short, if it has calls, or if its words
    are from the request."""
    replicas: tuple[tuple[str, str], ...] = ()
    """What may tell the servers behind a load balancer apart: properties with values."""
    models: frozenset[str] = frozenset()
    """The names in its replies to requests for the model of its condition, without a path and in
    lower case; none in recorded traffic, where several servers may have answered."""


@dataclass(frozen=True, slots=True)
class Score:
    """A line of `scores.jsonl`: the score of one planned attempt.

    A dataclass rather than a model, because a run has tens of thousands. `applicable` and the
    fields from `reply_ids` on are not stored; the latter serve to compare rollouts.

    Attributes:
        record: Id of the rollout.
        attempt: Which try it is, from 1.
        value: 1 or 0 where answers are right or wrong; a rubric score of at most 1 in HealthBench;
            None for probe requests, which are judged together.
        detail: The reason for the outcome, in one sentence.
        expected: What was expected, if the outcome is a failure of the model.
        got: What the model did instead.
        exact: Whether a tool call has exactly the expected arguments; None without such a call.
        answer: The answer extracted from the text (evals).
        grader_reads: Whether a grader finds the right answer where the rules find none (evals).
        programs: Programs of the model that were run; None where it could not run any (evals).
        openai_value: The value that OpenAI's own script gives the same text (evals).
        order: The order in which the choices were presented (GPQA).
        timing: One entry for each exchange that came with a complete response.
        seconds: Time of the last exchange, complete or not.
        requests: Requests without the `retries`.
        applicable: Ids of the rules that had something to judge.
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
    exact: bool | None = None
    answer: str | None = None
    openai_value: float | None = None
    grader_reads: bool | None = None
    programs: int | None = None
    order: tuple[int, ...] | None = None
    usage: Usage = Usage()
    timing: tuple[Timing, ...] = ()
    seconds: float | None = None
    requests: int = 0
    retries: int = 0
    applicable: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    reply_ids: tuple[str, ...] = ()
    first_input: int | None = None  # prompt tokens of the first request
    accounts: tuple[TokenAccount, ...] = ()
    cuts: tuple[Cut, ...] = ()  # its replies that were truncated early
    edges: tuple[Edges, ...] = ()  # where its first texts begin and end
    traits: Traits = Traits()
    call: MadeCall | None = None

    @property
    def finished(self) -> bool:
        """Whether the attempt was made."""
        return self.outcome != "not_run"

    @property
    def invalid(self) -> bool:
        """Whether a reply could not be read, or an error was found in one."""
        errors = any(finding.severity == "error" for finding in self.findings)
        return errors or self.outcome == "invalid_response"


class Estimate(Record):
    """A mean with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Percentiles(Record):
    """A distribution in four figures."""

    count: int = Field(description="number of measurements")
    p50: float
    p90: float
    p99: float
