"""Options that commands share, and the conversion of their texts to values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from harness.errors import ConfigurationError
from harness.providers.gate_entry import seconds
from harness.records.conditions import APIS, Api
from harness.records.runs import GateRule, SuiteName

COMMON_OPTIONS = "Common options"
DEFAULT_OUT = Path("runs")
LARGEST = 2**63 - 1
"""The largest number that every JSON parser reads exactly."""

COUNT = Parameter(validator=Number(gte=1, lte=LARGEST))
"""An integer of at least 1."""
_MOST_TRIES = 10_000  # more would take minutes to plan, and years to sample
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]
AsJson = Annotated[bool, Parameter(name="--json", help="Print the result as JSON on stdout.")]
Debug = Annotated[
    bool, Parameter(help="Print every request and response on stderr, keys redacted.")
]
Out = Annotated[Path | None, Parameter(help="Where run folders are created. Default: runs.")]
ProvidersFile = Annotated[
    Path | None,
    Parameter(
        name="--providers", help="Your providers file. Default: ./providers.yaml, if it exists."
    ),
]


def run_place(run: Path) -> Path:
    """Find a run: a bare name, as in the commands of a report, is a folder in `runs`."""
    inside = DEFAULT_OUT / run
    return inside if inside.is_dir() and not run.exists() else run


def _run_place(_: object, tokens: Sequence[Token]) -> Path:
    return run_place(Path(tokens[0].value))


RunPath = Annotated[Path, Parameter(converter=_run_place)]
Run = Annotated[RunPath, Parameter(help="The run's folder, or its name in `runs`.")]
ShowQuestions = Annotated[
    bool,
    Parameter(help="Include the questions of GPQA, which its authors ask you not to publish."),
]
_SHARE = Parameter(validator=Number(gte=0, lte=1))
_NOT_NEGATIVE = Parameter(validator=Number(gte=0, lte=LARGEST))
_SEED = Parameter(validator=Number(gte=-LARGEST, lte=LARGEST))
_SUITE = (
    "standard (default), tools, full, or long. standard: the tool-call cases and the probes that "
    "find what tool calls cannot show; tools: only the tool-call cases; full: more probes; "
    "long: only long prompts of up to 131,072 tokens."
)
_ONLY = (
    "Run only these probes: ids, prefixes of ids or families, separated by commas. `cases`, or the "
    "name of a check or of its family, selects the tool-call cases."
)
_CONTEXT = Parameter(validator=Number(gte=2048, lte=LARGEST))
"""The minimum is the number of tokens of the shortest long probe."""

_COMMON = Group(COMMON_OPTIONS, sort_key=0)
RUN = Group("How to run", sort_key=5)
EVALS = Group("Evals", sort_key=3)
_CASES = Group("Tool calling and probes", sort_key=2)

# Help texts name the evals. Their declarations are read as files, because importing `evals` takes
# a second.
_DECLARED: Mapping[str, Mapping[str, Any]] = {
    name: facts
    for path in sorted(Path(__file__).parents[1].glob("evals/*/eval.yaml"))
    for name, facts in yaml.safe_load(path.read_text(encoding="utf-8")).items()
}
_QUICK = {name: facts for name, facts in _DECLARED.items() if "quick_tries" in facts}
_REQUESTS = sum(facts["quick_tries"] * facts["dataset"]["rows"] for facts in _QUICK.values())
_TRIES = ", ".join(
    f"{name} {facts['tries']}" for name, facts in _DECLARED.items() if "tries" in facts
)
EVAL = Parameter(
    name="--eval",
    group=EVALS,
    help=f"{', '.join(_DECLARED)}, or your own FILE or hf:NAME. Several are separated by commas. "
    f"Default: {','.join(_QUICK)}.",
)
AlsoEvals = Annotated[
    str | None,
    Parameter(
        group=EVALS,
        help=f"Also run evals; quick: {' and '.join(_QUICK)} in {_REQUESTS} requests.",
    ),
]


@Parameter(name="*", group=Group("Provider", sort_key=1))
@dataclass(frozen=True)
class ProviderOptions:
    """Which provider to verify."""

    provider: Annotated[str | None, Parameter(alias="-p", group=_COMMON)] = None
    """Entry of providers.yaml, or a shipped provider."""
    providers_file: ProvidersFile = None
    base_url: Annotated[str | None, Parameter(group=_COMMON)] = None
    """URL of the API, for a provider without an entry."""
    model: Annotated[str | None, Parameter(group=_COMMON)] = None
    """Model name as the provider knows it."""
    apis: Annotated[str | None, Parameter(alias="--api", group=_COMMON)] = None
    """responses, chat, harmony, or several; evals: one. Default: those of the entry, or both."""
    api_key_env: Annotated[str | None, Parameter(group=_COMMON)] = None
    """Environment variable that has the API key."""
    timeout: float | None = None
    """Timeout of a request in seconds. Default: that of the entry, or 600; evals: 1,800."""


@Parameter(name="*", group=_CASES)
@dataclass(frozen=True)
class CaseOptions:
    """Which tool-call cases and probes to run, and how often."""

    cases: Annotated[Path | None, Parameter(alias="-c")] = None
    """Case file (JSON Lines). Default: the 36 shipped cases."""
    tools: Path | None = None
    """Tools file (a JSON list). Default: the six shipped tools."""
    first: Annotated[int | None, Parameter(name="-n"), COUNT] = None
    """Run only N cases, spread over tools and kinds of cases."""
    max_turns: Annotated[int | None, Parameter(alias="-t"), COUNT] = None
    """Maximum number of requests in an attempt. Default: 10."""
    strict: bool = False
    """Require exactly the expected arguments, not only arguments that match the schema."""
    suite: Annotated[
        SuiteName | None, Parameter(help=_SUITE, show_choices=False, group=_COMMON)
    ] = None
    only: Annotated[Names, Parameter(help=_ONLY)] = ()
    skip: Names = ()
    """Leave out these probes or families, separated by commas."""
    max_context: Annotated[int | None, _CONTEXT] = None
    """Context length of the provider in tokens; skips longer probes. Default: 131,072."""
    golden: Path | None = None
    """Golden file to compare logprobs with. Default: the shipped one, for gpt-oss-small."""
    until_fail: bool = False
    """Stop as soon as the verdict is FAIL."""


@Parameter(name="*", group=Group("Sampling", sort_key=4))
@dataclass(frozen=True)
class SamplingOptions:
    """How to sample. The defaults of evals are those of OpenAI's guide."""

    tries: Annotated[
        int | None,
        Parameter(
            alias="-k",
            validator=Number(gte=1, lte=_MOST_TRIES),
            group=_COMMON,
            help=f"Attempts per sample. Default: 5; {_TRIES}, others 1. --resume RUN -k adds some.",
        ),
    ] = None
    streaming: Annotated[bool | None, Parameter(alias="-s", negative="--no-streaming")] = None
    """Only streaming, or only non-streaming. Default: both; evals: non-streaming."""
    reasoning_effort: str | None = None
    """low, medium or high; evals: also several, with commas. Default: not sent; evals: medium."""
    temperature: Annotated[float | None, _NOT_NEGATIVE] = None
    """Sampling temperature. Default: not sent; evals: 1."""
    top_p: Annotated[float | None, _NOT_NEGATIVE] = None
    """Threshold of nucleus sampling. Default: not sent; evals: 1."""
    max_tokens: Annotated[int | None, COUNT] = None
    """Token limit of replies, including the CoT. Default: the entry's, or none; evals: 131,072."""
    seed: Annotated[int | None, _SEED] = None
    """Base seed of Chat requests, varied by attempt; it also selects and orders questions."""


@Parameter(name="*", group=EVALS)
@dataclass(frozen=True)
class DataOptions:
    """The questions of evals, their prompts, and their tools."""

    examples: Annotated[int | None, COUNT] = None
    """Sample only N questions of each eval, chosen by the seed."""
    samples: bool = False
    """Use the sample questions that ship with the tool; needs no internet."""
    data: str | None = None
    """Another copy of the questions: a file, a folder with the published files, or hf:NAME."""
    prompts: str | None = None
    """ours (default), gpt-oss (the installed package), a wheel of gpt-oss, or a FILE."""
    with_tools: Literal["python"] | None = None
    """python: the model can run programs, with the provider's own tool or in a local sandbox."""

    def place(self, evals: Sequence[str]) -> str | Path:
        """Return where to read the data: the option that is given, or `hub` if none is.

        Raises ConfigurationError if the options conflict.
        """
        if self.data is not None and self.samples:
            raise ConfigurationError("Give only one of --samples and --data.")
        if self.data is not None and len(evals) > 1 and not Path(self.data).is_dir():
            raise ConfigurationError(
                f"--data {self.data} is for one eval; name a folder for several."
            )
        return "samples" if self.samples else self.data or "hub"


@Parameter(name="*", group=EVALS)
@dataclass(frozen=True)
class BaselineOptions:
    """What to compare scores with."""

    baseline: str | None = None
    """range (of published reproductions; default), card, another source, or a measured FILE."""
    margin: Annotated[float | None, Parameter(validator=Number(gt=0, lte=100))] = None
    """Non-inferiority margin in points. Default: that of the eval (docs/evals.md)."""

    def changes(self) -> dict[str, Any]:
        """Return the settings that the options change."""
        given = {"baseline": self.baseline, "margin": self.margin}
        return {name: value for name, value in given.items() if value is not None}


@Parameter(name="*", group=EVALS)
@dataclass(frozen=True)
class DecisionOptions:
    """Who grades, and when to stop."""

    grader: str | None = None
    """Entry that grades HealthBench. Default: openai-grader; with --samples the provider itself."""
    until_decided: bool = False
    """Sample in rounds, and stop as soon as every verdict is settled."""
    budget_samples: Annotated[int | None, COUNT] = None
    """With --until-decided: start no round that would exceed N attempts."""
    budget_tokens: Annotated[int | None, COUNT] = None
    """With --until-decided: start no round once N output tokens are used."""


@Parameter(name="*", group=Group("Gate", sort_key=6))
@dataclass(frozen=True)
class GateOptions:
    """What a run must reach to pass."""

    gate: Annotated[Path | None, Parameter(group=_COMMON)] = None
    """File with requirements. Options on the command line override it."""
    max_invalid: Annotated[int | None, _NOT_NEGATIVE] = None
    """Invalid responses allowed for each API and mode. Default: 0."""
    reference: str | None = None
    """Success rate of tool calls of a good provider, or a run to take it from. Default: 0.98."""
    lower_rate: Annotated[float | None, Parameter(validator=Number(gte=0.001, lt=1))] = None
    """Success rate of tool calls that is not acceptable. Default: 0.9."""
    rule: GateRule | None = None
    """guide: decide by pass@k and pass^k, as OpenAI's guide does. Default: success_rate."""
    min_pass_at_k: Annotated[float | None, _SHARE] = None
    """Rate that pass@k must exceed; selects the rule `guide`. Default: 0.9."""
    min_pass_hat_k: Annotated[float | None, _SHARE] = None
    """Rate that pass^k must exceed; selects the rule `guide`. Default: 0.9."""
    may_warn: str | None = None
    """Checks, probes or families whose errors become warnings, separated by commas."""
    must_pass: str | None = None
    """Checks, probes or families that must be judged and must pass without warnings."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the options, without the file; None where not given."""
        lists = {name: names(getattr(self, name)) or None for name in ("may_warn", "must_pass")}
        return {name: value for name, value in vars(self).items() if name != "gate"} | lists


@Parameter(name="*", group=Group("Budget", sort_key=7))
@dataclass(frozen=True)
class BudgetOptions:
    """Limits of one session; when one is reached, the finished attempts are judged."""

    max_cost: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Cost in US dollars; needs `prices` in the provider's entry."""
    max_requests: Annotated[int | None, COUNT] = None
    """Number of requests, including those before sampling."""
    deadline: str | None = None
    """Time from now, such as 20m, 1h30m or a number of seconds."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the options; None where not given. Raises ConfigurationError."""
        try:
            deadline = None if self.deadline is None else seconds(self.deadline)
        except ValueError as error:
            raise ConfigurationError(f"--deadline {error}.") from None
        return {**vars(self), "deadline": deadline}


@Parameter(name="*", group=RUN)
@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out."""

    concurrency: Annotated[int | None, COUNT] = None
    """Attempts in flight. Default: that of the provider's entry, or 8."""
    resume: Annotated[Path | None, Parameter(converter=_run_place, group=_COMMON)] = None
    """Run to finish: its folder, or its name in `runs`. Finished attempts are kept."""
    out: Out = None
    dry_run: Annotated[bool, Parameter(group=_COMMON)] = False
    """Print requests, tokens and cost, and send nothing."""
    debug: Debug = False
    as_json: AsJson = False


def refuse(reason: str, *options: object, **others: object) -> None:
    """Raise ConfigurationError, naming the option, if one of the options is given."""
    flags = {"first": "-n", "apis": "--api", "providers_file": "--providers"}
    values = {name: value for group in options for name, value in vars(group).items()}
    for name, value in (values | others).items():
        if value is not False and value not in (None, ()):
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            raise ConfigurationError(f"{reason} leave out {flag}.")


def parse_apis(text: str | None) -> tuple[Api, ...] | None:
    """Return `responses,chat` as values; None for None. Raises ConfigurationError."""
    if text is None:
        return None
    found = parse_list("--apis", text, APIS)
    return tuple(api for name in found for api in APIS if api == name)


def names(*texts: str | None) -> tuple[str, ...]:
    """Return `a, b` as values."""
    parts = (part.strip() for text in texts for part in (text or "").split(","))
    return tuple(part for part in parts if part)


def parse_list(option: str, text: str, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return `a,b` as values without repeats. Raises ConfigurationError for unknown ones."""
    found = names(text)
    unknown = [name for name in found if known is not None and name not in known]
    if unknown or not found:
        wrong = unknown[0] if unknown else text
        wanted = f"takes {', '.join(known)}" if known else "takes names separated by commas"
        raise ConfigurationError(f"{option} {wanted}, not {wrong!r}.")
    return tuple(dict.fromkeys(found))
