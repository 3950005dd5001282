"""What a run writes down: every exchange as it was on the wire, gathered into rollouts.

These are the only types that sampling, checks and reports share. `rollouts.jsonl` holds one
`Rollout` a line; anything judged later is judged from these records alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Api = Literal["responses", "chat"]

Key = Literal["right", "wrong", "none"]
"""The key that a request is sent with."""

SCHEMA_VERSION = 2


class Record(BaseModel):
    """Base of everything written to disk: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Record):
    """One HTTP request. `headers` are redacted before they are recorded.

    A body that was no JSON object by intent is `text`.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: dict[str, Any] | None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class StreamPart:
    """One block of a server-sent event stream as received, without its closing blank line.

    `at` is in seconds since the request was sent; `raw` may be a comment or span several lines.
    A dataclass, because a stream has many: it takes an eighth of the memory of a model.
    """

    at: float
    raw: str


class Response(Record):
    """One HTTP response; a stream has `parts`, anything else has `body`.

    Text is decoded as UTF-8 with errors replaced. `complete` is False when the connection
    closed before the response ended.
    """

    status: int
    headers: dict[str, str]
    body: str | None = None
    parts: tuple[StreamPart, ...] = ()
    complete: bool = True


FailureKind = Literal["connect", "timeout", "cut", "too_large", "protocol"]


class TransportFailure(Record):
    """Why no complete response came, in one sentence."""

    kind: FailureKind
    message: str


class Retry(Record):
    """An attempt that failed in a way worth repeating, and the wait before the next one."""

    status: int | None = None
    failure: TransportFailure | None = None
    waited: float


class Exchange(Record):
    """One request and what became of it. Exactly one of `response` or `failure` is the end of it;
    a stream that broke half way has both. `started_at` is ISO 8601 UTC, `elapsed` in seconds.
    """

    request: Request
    response: Response | None = None
    failure: TransportFailure | None = None
    retries: tuple[Retry, ...] = ()
    started_at: str
    elapsed: float


LoopEnd = Literal["answered", "max_turns", "failed", "unreadable"]


class Rollout(Record):
    """One attempt at one sample over one API: all its exchanges, in order.

    `end` says why sampling stopped: the model answered, the turns ran out, an exchange failed
    (transport or HTTP status), or a reply could not be read. Judgement is made elsewhere.
    """

    id: str = Field(
        description="<sample>/<api>/<stream|whole>/<try> in the smoke test; unique in any run"
    )
    sample: str
    api: Api
    streaming: bool
    attempt: int
    end: LoopEnd
    exchanges: tuple[Exchange, ...]


class RolloutLine(Rollout):
    """A line of `rollouts.jsonl`: a rollout and its place in the log (see `harness.chain`).

    It is read as a `Rollout`.
    """

    withheld: str | None = Field(
        default=None, description="in a bundle, hash of the record whose contents were replaced"
    )
    chain: str | None = Field(
        default=None, description="hash of the chain before and this record; older lines have none"
    )


SuiteName = Literal["smoke", "quick", "full"]
Capability = Literal[
    "json_schema",
    "logprobs",
    "metadata",
    "n",
    "previous_response_id",
    "seed",
    "stop",
    "tool_choice",
]
"""What a provider may do without: its entry can declare it missing."""


class ProviderInfo(Record):
    """The provider of a run as far as it may be written down: no key, no header value."""

    name: str
    base_url: str
    model: str
    extra_body: dict[str, Any]
    header_names: tuple[str, ...]
    launch_command: tuple[str, ...] | None
    limitations: tuple[Capability, ...] = ()


class Thresholds(Record):
    """The gate: what a run must reach. Rates must be exceeded, not met; 1.0 means: every time.

    `may_warn` and `must_pass` name checks and probes: by id, by the beginning of one, or by family
    (see `harness.demands`). `suite` is the least that must have been asked. `origins` has the place
    where each setting was made that is not the default.
    """

    max_invalid: int = 0
    min_pass_at_k: float = 0.9
    min_pass_hat_k: float = 0.9
    may_warn: tuple[str, ...] = ()
    must_pass: tuple[str, ...] = ()
    suite: SuiteName | None = None
    origins: dict[str, str] = {}

    def where(self, name: str) -> str:
        """Where a setting was made, in brackets after a blank; nothing for a default."""
        return f" ({self.origins[name]})" if name in self.origins else ""


class Limits(Record):
    """The budget of one call: dollars, requests, and seconds after which none is begun."""

    max_cost: float | None = None
    max_requests: int | None = None
    deadline: float | None = None
    origins: dict[str, str] = {}


class RunSettings(Record):
    """What was asked for on the command line, defaults filled in.

    `only` and `skip` name probes and families (see `harness.suites.choose`).
    """

    apis: tuple[Api, ...]
    streaming: tuple[bool, ...]
    tries: int
    first_cases: int | None = None
    max_turns: int
    strict: bool
    concurrency: int
    seed: int | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    thresholds: Thresholds = Thresholds()
    suite: SuiteName = "smoke"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    budget: Limits | None = None


class LogSeal(Record):
    """How far a log went when it was sealed: its lines, and the hash that the last one names.

    The first `unchained` lines were written by a version that did not chain them.
    """

    records: int
    chain: str
    unchained: int = 0


class Seal(Record):
    """The state of a run at the end of a sitting, as hashes (SHA-256, hexadecimal).

    `hash` stands for all of it. What it is over, and what it proves, says docs/trust.md.
    """

    at: str = Field(description="ISO 8601 UTC")
    run: str = Field(description="hash of run.json without its seals")
    files: Mapping[str, str] = Field(description="hashes of cases, tools and questions, by name")
    logs: Mapping[str, LogSeal] = Field(description="by file name")
    before: str | None = Field(description="hash of the seal before this one")
    hash: str = Field(description="hash of the other members")

    @property
    def short(self) -> str:
        """The first half of the hash: enough to note down and to check against."""
        return self.hash[:32]


class RunInfo(Record):
    """`run.json`: all it takes to understand, resume and repeat a run.

    `planned` counts the attempts of the plan; hashes are sha256 of the files as read; times are
    ISO 8601 UTC, `finished_at` is None until every attempt is in the log. `stopped` says how the
    budget ended sampling before that. `resumed` has the time of each `--resume`, `seals` a seal for
    each sitting that ended in order; the last is the run's.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    command: tuple[str, ...]
    provider: ProviderInfo
    settings: RunSettings
    cases_file: str
    cases_sha256: str
    tools_file: str
    tools_sha256: str
    golden_sha256: str | None = Field(
        default=None, description="of golden.json; None in a run that needs none or has none"
    )
    planned: int
    versions: dict[str, str] = Field(description="python, platform and the packages that matter")
    started_at: str
    finished_at: str | None = None
    stopped: str | None = None
    resumed: tuple[str, ...] = ()
    seals: tuple[Seal, ...] = ()
