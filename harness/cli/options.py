"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from harness.errors import ConfigurationError
from harness.providers.gate_entry import BudgetEntry, GateEntry, seconds
from harness.records.rollouts import Api
from harness.records.runs import SuiteName

HOW = Group("How to run", sort_key=4)

_APIS: dict[str, Api] = {"responses": "responses", "chat": "chat"}


@Parameter(name="*", group=Group("Which provider", sort_key=1))
@dataclass(frozen=True)
class ProviderOptions:
    """Which provider to verify."""

    provider: Annotated[str | None, Parameter(alias="-p")] = None
    """Name of a provider; `gpt-oss-verify providers` lists them."""
    providers_file: Annotated[Path | None, Parameter(name="--providers")] = None
    """Your providers file. Default: ./providers.yaml, if it exists."""
    base_url: str | None = None
    """Address of the API, for a provider without an entry (or another than the entry's)."""
    model: str | None = None
    """Model name as the provider knows it."""
    apis: Annotated[str | None, Parameter(alias="--api")] = None
    """responses, chat, or both with a comma between. Default: those of the entry, or both."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    timeout: float | None = None
    """Seconds a request may take."""


@Parameter(name="*", group=Group("What to ask", sort_key=2))
@dataclass(frozen=True)
class PlanOptions:
    """What to ask, and how often."""

    cases: Annotated[Path | None, Parameter(alias="-c")] = None
    """Case file, JSON lines. Default: the 36 cases that ship."""
    tools: Path | None = None
    """Tools file, a JSON list. Default: the six tools that ship."""
    first: Annotated[int | None, Parameter(name="-n")] = None
    """Only the first so many cases."""
    tries: Annotated[int | None, Parameter(alias="-k")] = None
    """Attempts at each case, per API and mode. Default: 5."""
    streaming: Annotated[bool | None, Parameter(alias="-s", negative="--no-streaming")] = None
    """Only streamed replies, or only whole ones. Default: both."""
    strict: bool | None = None
    """Ask for exactly the expected arguments, not only for valid ones."""
    max_turns: Annotated[int | None, Parameter(alias=["-t", "--maxTurns"])] = None
    """Requests in one attempt before giving up. Default: 10."""
    reasoning_effort: str | None = None
    """low, medium or high. Default: not sent."""
    temperature: float | None = None
    """Default: not sent, so the provider's own."""
    max_tokens: int | None = None
    """Limit of each reply. Default: not sent."""
    suite: SuiteName | None = None
    """smoke: only the tool-call cases; quick and full: ever more probes besides. Default: smoke."""
    only: str | None = None
    """Only these probes or families, commas between; `smoke` names the cases."""
    skip: str | None = None
    """All but these probes or families, commas between."""
    golden: Path | None = None
    """File of `golden create` to compare with. Default: the one that ships for gpt-oss-small."""
    seed: int | None = None
    """Sent with each Chat request, a different one for each attempt."""


@Parameter(name="*", group=Group("What must be reached", sort_key=3))
@dataclass(frozen=True)
class GateOptions:
    """What a run must reach."""

    gate: Path | None = None
    """File that says what must be reached; what is given here wins over it."""
    max_invalid: int | None = None
    """Invalid responses allowed for each API and mode. Default: 0."""
    min_pass_at_k: float | None = None
    """Rate that pass@k must exceed. Default: 0.9."""
    min_pass_hat_k: float | None = None
    """Rate that pass^k must exceed. Default: 0.9."""

    may_warn: str | None = None
    """Checks, probes or families whose errors are only warnings, commas between."""
    must_pass: str | None = None
    """The same, that must pass: neither warn nor have nothing to judge."""

    def entry(self) -> GateEntry:
        """What was given, but for the file. Raises ConfigurationError."""
        for name, rate in (("at", self.min_pass_at_k), ("hat", self.min_pass_hat_k)):
            if rate is not None and not 0 <= rate <= 1:
                raise ConfigurationError(f"--min-pass-{name}-k is a rate from 0 to 1, not {rate}.")
        if self.max_invalid is not None and self.max_invalid < 0:
            raise ConfigurationError("--max-invalid cannot be negative.")
        return GateEntry(
            max_invalid=self.max_invalid,
            min_pass_at_k=self.min_pass_at_k,
            min_pass_hat_k=self.min_pass_hat_k,
            may_warn=names(self.may_warn) or None,
            must_pass=names(self.must_pass) or None,
        )


@Parameter(name="*", group=Group("What it may use", sort_key=3))
@dataclass(frozen=True)
class BudgetOptions:
    """What one call may use; then no request is begun any more, and what was finished is judged."""

    max_cost: float | None = None
    """US dollars; needs `prices` in the provider's entry."""
    max_requests: int | None = None
    """Requests, those before the run included."""
    deadline: str | None = None
    """Time from now on, such as 20m, 1h30m or a number of seconds."""

    def entry(self) -> GateEntry:
        """What was given. Raises ConfigurationError."""
        at_least(1, {"--max-requests": self.max_requests})
        if self.max_cost is not None and not self.max_cost > 0:
            raise ConfigurationError(f"--max-cost is in dollars above 0, not {self.max_cost:g}.")
        try:
            deadline = None if self.deadline is None else seconds(self.deadline)
        except ValueError as error:
            raise ConfigurationError(f"--deadline {error}.") from None
        return GateEntry(
            budget=BudgetEntry(
                max_cost=self.max_cost, max_requests=self.max_requests, deadline=deadline
            )
        )


def parse_apis(text: str | None) -> tuple[Api, ...] | None:
    """`responses,chat` as values; None where nothing was given. Raises ConfigurationError."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in _APIS]
    if unknown or not names:
        found = unknown[0] if unknown else text
        raise ConfigurationError(f"--apis takes responses and chat, not {found!r}.")
    return tuple(dict.fromkeys(_APIS[name] for name in names))


def names(text: str | None) -> tuple[str, ...]:
    """`a, b` as values; nothing where nothing was given."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


MOST = 2**63 - 1
"""The greatest number that every JSON parser on the way takes."""
LEAST_SEED = -MOST


def at_least(least: int, numbers: Mapping[str, float | None]) -> None:
    """Refuse numbers below `least`, and what is no number or too great to be sent.

    Raises:
        ConfigurationError: There is one; the message names the option.
    """
    for name, number in numbers.items():
        if number is None or least <= number <= MOST:
            continue
        bound = f"at most {MOST}" if number > MOST else f"at least {least}"
        raise ConfigurationError(f"{name} must be {bound}, not {number}.")
