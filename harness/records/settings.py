"""The settings that a user states: on the command line, in a gate file or entry, and in `run.json`.

Each is declared once. Its type and limits hold for all of these places, its description is the help
text of the option, and `Parameter` says how the option is written. `layered` combines them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Group, Parameter
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from harness.records.record import Record

CONTEXT = 131_072  # context length in tokens of both gpt-oss models (model card)
LARGEST = 2**63 - 1
"""The largest number that every JSON parser reads exactly."""
SHORTEST_LONG = 2048  # tokens of the shortest long probe

SuiteName = Literal["tools", "standard", "full", "long"]
GateRule = Literal["success_rate", "guide"]
PythonTool = Literal["either", "built-in", "function"]
"""Who runs the model's Python programs: the provider's built-in tool, or this tool, which offers a
function; `either` until the provider has shown whether it has the built-in tool."""

COMMON = Group("Common options", sort_key=0)
CASES = Group("Tool calling and probes", sort_key=2)
_NO_OPTION = Parameter(parse=False)

_LONGEST = 1e9
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def seconds(value: object) -> float:
    """Return `1h30m`, `20m`, `45s` or a number of seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LONGEST:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not 0 < (total := hours * 3600 + minutes * 60 + rest) < _LONGEST:
        raise ValueError(f"must be a time such as 20m, 1h30m or a number of seconds, not {value!r}")
    return float(total)


def names(*texts: str | None) -> tuple[str, ...]:
    """Return `a, b` as values."""
    parts = (part.strip() for text in texts for part in (text or "").split(","))
    return tuple(part for part in parts if part)


def _names(value: object) -> object:
    """Split texts at commas, as the command line has them."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
        return names(*texts)
    return value


Names = Annotated[tuple[str, ...], Parameter(consume_multiple=False), BeforeValidator(_names)]
Seconds = Annotated[float, BeforeValidator(seconds, json_schema_input_type=float | str)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Settings(Record):
    """Base of all settings. A member that is not given, or is null, has its default."""

    model_config = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, members: object) -> object:
        if not isinstance(members, dict):
            return members
        return {name: value for name, value in members.items() if value is not None}

    @property
    def stated(self) -> dict[str, Any]:
        """The members that are given, by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if self.states(name)}

    def states(self, name: str) -> bool:
        """Return whether a member is given."""
        return name in self.model_fields_set and getattr(self, name) is not None


class Selects:
    """Marks a setting that says which requests a run sends, or when it ends before all are sent.

    A retest makes a selection of its own.
    """


SELECTS = Selects()


class Quantiles(Settings):
    """What half of the streams, and nine in ten, must reach."""

    p50: Annotated[float, Field(gt=0)] | None = None
    p90: Annotated[float, Field(gt=0)] | None = None


class Speed(Settings):
    """How fast the streams of tool calls must be: `harness.verdict.speed` judges it.

    `first_token` has the most seconds to the first token, `tokens_per_second` the fewest tokens
    per second. `concurrency` is that of the runs to which the limits apply; None: all.
    """

    first_token: Quantiles = Quantiles()
    tokens_per_second: Quantiles = Quantiles()
    concurrency: Count | None = None


class Gate(Settings):
    """What a run must reach; docs/gate.md explains it.

    `max_server_errors` is the largest share of requests that may succeed only after the server
    failed. `reference` and `lower_rate` are the success rates of the rule `success_rate`; a
    `reference` may also be the folder of a run. `min_pass_at_k` and `min_pass_hat_k` belong to the
    rule `guide`; they must be exceeded, not just met; 1.0 means every time. `may_warn` and
    `must_pass` name checks and probes by id, by a prefix of an id, or by family (see
    `harness.verdict.requirements`). `suite` is the smallest suite that is accepted.
    """

    max_invalid: int = Field(
        default=0,
        ge=0,
        le=LARGEST,
        description="Invalid responses allowed for each API and mode. Default: 0.",
    )
    max_server_errors: Annotated[float, _NO_OPTION] = Field(default=0.02, ge=0, lt=1)
    reference: Annotated[float, Field(gt=0, lt=1)] | str | None = Field(
        default=None,
        description="Success rate of tool calls of a good provider, or a run to take it from. "
        "Default: 0.98.",
    )
    lower_rate: float = Field(
        default=0.9,
        ge=0.001,
        lt=1,
        description="Success rate of tool calls that is not acceptable. Default: 0.9.",
    )
    rule: GateRule | None = Field(
        default=None,
        description="guide: decide by pass@k and pass^k, as OpenAI's guide does. "
        "Default: success_rate.",
    )
    min_pass_at_k: Rate = Field(
        default=0.9,
        description="Rate that pass@k must exceed; selects the rule `guide`. Default: 0.9.",
    )
    min_pass_hat_k: Rate = Field(
        default=0.9,
        description="Rate that pass^k must exceed; selects the rule `guide`. Default: 0.9.",
    )
    may_warn: Names = Field(
        default=(),
        description="Checks, probes or families whose errors become warnings, separated by commas.",
    )
    must_pass: Names = Field(
        default=(),
        description="Checks, probes or families that must be judged and must pass without "
        "warnings.",
    )
    suite: Annotated[SuiteName | None, _NO_OPTION] = None
    speed: Annotated[Speed | None, _NO_OPTION] = None


class Thresholds(Gate):
    """The gate of a run.

    Without a stated `reference`, it follows from `reference_cases`: the passes and tries of each
    case in a reference run. `reference_rules` has what its model does: failures and trials of each
    rule that tolerates a share, by condition (of probes: by API). `origins` has the source of each
    setting that is not the default.
    """

    reference_cases: dict[str, tuple[int, int]] = Field(default={})
    reference_rules: dict[str, dict[str, tuple[int, int]]] = Field(default={})
    origins: dict[str, str] = Field(default={})

    @property
    def by_guide(self) -> bool:
        """Whether the rule of OpenAI's guide decides."""
        if self.rule is not None:
            return self.rule == "guide"
        return bool({"min_pass_at_k", "min_pass_hat_k"} & self.origins.keys())

    def where(self, name: str) -> str:
        """Return the origin of a setting in parentheses, after a space; empty for a default."""
        return f" ({self.origins[name]})" if name in self.origins else ""


class Spending(Settings):
    """Limits of one session; when one is reached, the finished attempts are judged."""

    max_cost: float | None = Field(
        default=None,
        gt=0,
        description="Cost in US dollars; needs `prices` in the provider's entry.",
    )
    max_requests: Count | None = Field(
        default=None, description="Number of requests, including those before sampling."
    )
    deadline: Seconds | None = Field(
        default=None, description="Time from now, such as 20m, 1h30m or a number of seconds."
    )


class Limits(Spending):
    """The budget of one call: dollars, requests, and seconds after which no request starts."""

    origins: dict[str, str] = Field(default={})


class CaseSettings(Settings):
    """Which tool-call cases and probes to run, and when to stop.

    `suite`, `only` and `skip` are as in `harness.rules.suites.choose`.
    """

    suite: Annotated[SuiteName, Parameter(show_choices=False, group=COMMON)] = Field(
        default="tools",
        description="standard (default), tools, full, or long. standard: the tool-call cases and "
        "the probes that find what tool calls cannot show; tools: only the tool-call cases; full: "
        "more probes; long: only long prompts of up to 131,072 tokens.",
    )
    only: Annotated[Names, SELECTS] = Field(
        default=(),
        description="Run only these probes: ids, prefixes of ids or families, separated by commas. "
        "`cases`, or the name of a check or of its family, selects the tool-call cases.",
    )
    skip: Annotated[Names, SELECTS] = Field(
        default=(),
        description="Leave out these probes, families, or probes that need a feature, such as "
        "logprobs, separated by commas.",
    )
    max_context: int = Field(
        default=CONTEXT,
        ge=SHORTEST_LONG,
        le=LARGEST,
        description="Context length of the provider in tokens; skips longer probes. "
        "Default: 131,072.",
    )
    first_cases: Annotated[Count | None, Parameter(name="-n"), SELECTS] = Field(
        default=None, description="Run only N cases, spread over tools and kinds of cases."
    )
    strict: bool = Field(
        default=False,
        description="Require exactly the expected arguments, not only arguments that match the "
        "schema.",
    )
    until_fail: Annotated[bool, SELECTS, Parameter(alias="-x")] = Field(
        default=False,
        description="Stop at the first error, when the attempts in flight have ended.",
    )


class DataSettings(Settings):
    """Which questions of evals to sample."""

    examples: Annotated[Count | None, Parameter(alias="-n")] = Field(
        default=None, description="Sample only N questions of each eval, chosen by the seed."
    )


class BaselineSettings(Settings):
    """What to compare scores with."""

    baseline: str | None = Field(
        default=None,
        description="range (of published reproductions; default), card, another source, or a "
        "measured FILE.",
    )
    margin: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Non-inferiority margin in points. Default: that of the eval (docs/evals.md).",
    )


class DecisionSettings(Settings):
    """When the verdict on scores is settled."""

    until_decided: bool = Field(
        default=False,
        description="Sample in rounds, and stop as soon as every verdict is settled.",
    )
    budget_samples: Count | None = Field(
        default=None,
        description="With --until-decided: start no round that would exceed N attempts.",
    )
    budget_tokens: Count | None = Field(
        default=None,
        description="With --until-decided: start no round once N output tokens are used.",
    )


class Sampling(Settings):
    """How a task samples the model; None: the parameter is not sent, or there is no `python`."""

    temperature: float | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="Sampling temperature. Default: not sent; evals: 1.",
    )
    top_p: float | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="Threshold of nucleus sampling. Default: not sent; evals: 1.",
    )
    max_tokens: Count | None = Field(
        default=None,
        description="Token limit of replies, including the CoT. Default: the entry's, or none; "
        "evals: 131,072, own questions: 32,768.",
    )
    seed: int | None = Field(
        default=None,
        ge=-LARGEST,
        le=LARGEST,
        description="Base seed of Chat requests, varied by attempt; it also selects and orders "
        "questions.",
    )
    max_turns: Annotated[Count, _NO_OPTION] = 1
    python: Annotated[PythonTool | None, _NO_OPTION] = None


_OPTIONS = {"first_cases": "-n", "grader_name": "--grader", "prompts_source": "--prompts"}
_OPTIONS |= {"apis": "--api", "providers_file": "--providers"}


def option_of(name: str) -> str:
    """Return the option of a setting on the command line: `-n`, `--max-cost`."""
    return _OPTIONS.get(name, f"--{name.replace('_', '-')}")


@dataclass(frozen=True)
class Layer:
    """The settings of one source, by name, and its name; None for the command line."""

    stated: Mapping[str, Any]
    source: str | None = None

    def origin(self, name: str) -> str:
        """Return where a setting comes from."""
        return self.source or option_of(name)


T = TypeVar("T", bound=Record)


def layered(base: T, layers: Iterable[Layer]) -> T:
    """Return `base` with what the layers state; a later one overrides an earlier one.

    The order is: defaults, entry, gate, command line. Settings that `base` does not have are left
    out. Mappings are joined by key. `origins`, if `base` has it, names the source of each setting,
    of a mapping by `name.key`.
    """
    stated: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for name, value in layer.stated.items():
            if name not in type(base).model_fields:
                continue
            if isinstance(value, Mapping):
                stated[name] = {**stated.get(name, getattr(base, name)), **value}
                origins |= {f"{name}.{key}": layer.origin(name) for key in value}
            else:
                stated[name] = value
                origins[name] = layer.origin(name)
    if "origins" in type(base).model_fields:
        stated["origins"] = {**getattr(base, "origins"), **origins}  # noqa: B009
    return base.model_copy(update=stated)
