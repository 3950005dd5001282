"""`run.json`: what a run was asked to do, of whom, with what, and how far it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from harness.records.base import Record
from harness.records.rollouts import Api

SCHEMA_VERSION = 2

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
    (see `harness.verdict.demands`). `suite` is the least that must have been asked. `origins` has
    the place where each setting was made that is not the default.
    """

    max_invalid: int = 0
    min_pass_at_k: float = 0.9
    min_pass_hat_k: float = 0.9
    may_warn: tuple[str, ...] = ()
    must_pass: tuple[str, ...] = ()
    suite: SuiteName | None = None
    origins: dict[str, str] = Field(default={})

    def where(self, name: str) -> str:
        """Where a setting was made, in brackets after a blank; nothing for a default."""
        return f" ({self.origins[name]})" if name in self.origins else ""


class Limits(Record):
    """The budget of one call: dollars, requests, and seconds after which none is begun."""

    max_cost: float | None = None
    max_requests: int | None = None
    deadline: float | None = None
    origins: dict[str, str] = Field(default={})


class RunSettings(Record):
    """What was asked for on the command line, defaults filled in.

    `only` and `skip` name probes and families (see `harness.probes.suites.choose`).
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
