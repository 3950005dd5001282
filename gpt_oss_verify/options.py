"""Options that commands share, and the conversion of their texts to values."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number
from pydantic import Field

from harness.errors import ConfigurationError
from harness.records.conditions import APIS, Api
from harness.records.settings import (
    CASES,
    COMMON,
    LARGEST,
    BaselineSettings,
    CaseSettings,
    Count,
    DataSettings,
    DecisionSettings,
    Gate,
    Sampling,
    Settings,
    Spending,
    names,
    option_of,
)

DEFAULT_OUT = Path("runs")
COUNT = Parameter(validator=Number(gte=1, lte=LARGEST))
"""An integer of at least 1."""
_MOST_TRIES = 10_000  # more would take minutes to plan, and years to sample
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


def _run(kind: object, tokens: Sequence[Token]) -> Path:
    """Find a run. Raises ConfigurationError if it is a log of another harness."""
    from harness.compare.read_logs import is_log, not_traffic
    from harness.run.run_log import RUN_FILE

    place = _run_place(kind, tokens)
    if not (place / RUN_FILE).exists() and is_log(place):
        raise not_traffic(place)
    return place


_HELP = "The run's folder, or its name in `runs`."
RunPath = Annotated[Path, Parameter(converter=_run_place, help=_HELP)]
Run = Annotated[Path, Parameter(converter=_run, help=_HELP)]
ShowQuestions = Annotated[
    bool,
    Parameter(help="Include the questions of GPQA, which its authors ask you not to publish."),
]
RUN = Group("How to run", sort_key=5)
EVALS = Group("Evals", sort_key=3)

# Help texts name the evals. Their declarations are read as files, because importing `evals` takes
# a second.
_DECLARED: Mapping[str, Mapping[str, Any]] = {
    name: facts
    for path in sorted(Path(__file__).parents[1].glob("evals/*/eval.toml"))
    for name, facts in tomllib.loads(path.read_text(encoding="utf-8")).items()
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

    provider: Annotated[str | None, Parameter(alias="-p", group=COMMON)] = None
    """Entry of providers.yaml, or a shipped provider."""
    providers_file: ProvidersFile = None
    base_url: Annotated[str | None, Parameter(group=COMMON)] = None
    """URL of the API, for a provider without an entry."""
    model: Annotated[str | None, Parameter(group=COMMON)] = None
    """Model name as the provider knows it."""
    apis: Annotated[str | None, Parameter(alias="--api", group=COMMON)] = None
    """responses, chat, harmony, or several; evals: one. Default: those of the entry, or both."""
    api_key_env: Annotated[str | None, Parameter(group=COMMON)] = None
    """Environment variable that has the API key."""
    timeout: Annotated[float | None, Parameter(name=("--reply-timeout", "--timeout"))] = None
    """Longest wait for a reply, in seconds. Default: that of the entry, or 600; evals: 1,800."""


@Parameter(name="*", group=CASES)
class CaseOptions(CaseSettings):
    """Which tool-call cases and probes to run, and how often."""

    cases: Annotated[Path | None, Parameter(alias="-c")] = None
    """Case file (JSON Lines). Default: the 36 shipped cases."""
    tools: Path | None = None
    """Tools file (a JSON list). Default: the six shipped tools."""
    only_failed: Path | None = None
    """Run only what failed, or was not verifiable, in a run: its folder, or its name in `runs`."""
    max_turns: Annotated[Count | None, Parameter(alias="-t")] = None
    """Maximum number of requests in an attempt. Default: 10."""
    golden: Path | None = None
    """Golden file to compare logprobs with. Default: the shipped one, for gpt-oss-small."""


@Parameter(name="*", group=Group("Sampling", sort_key=4))
class SamplingOptions(Sampling):
    """How to sample. The defaults of evals are those of OpenAI's guide."""

    tries: Annotated[Count | None, Field(le=_MOST_TRIES), Parameter(alias="-k", group=COMMON)] = (
        Field(
            default=None,
            description="Attempts at each tool-call case, and at each request of the probes that "
            "--only names by their ids; other probes have tries of their own. Default: 2, and 5 if "
            f"these find anything; evals: {_TRIES}, others 1. --resume RUN -k adds some.",
        )
    )
    streaming: Annotated[bool | None, Parameter(alias="-s", negative="--no-streaming")] = None
    """Only streaming, or only non-streaming. Default: both; evals: non-streaming."""
    reasoning_effort: str | None = None
    """low, medium or high; evals: also several, with commas. Default: not sent; evals: medium."""


@Parameter(name="*", group=EVALS)
class DataOptions(DataSettings):
    """The questions of evals, their prompts, and their tools."""

    samples: bool = False
    """Use the sample questions that ship with the tool; needs no internet."""
    data: str | None = None
    """A different copy of the questions: a file, a folder with the published files, or hf:NAME."""
    prompts_source: Annotated[str | None, Parameter(name="--prompts")] = None
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
class BaselineOptions(BaselineSettings):
    """What to compare scores with."""


@Parameter(name="*", group=EVALS)
class DecisionOptions(DecisionSettings):
    """Who grades, and when to stop."""

    grader_name: Annotated[str | None, Parameter(name="--grader")] = None
    """Entry that grades HealthBench. Default: openai-grader; with --samples the provider itself."""


@Parameter(name="*", group=Group("Gate", sort_key=6))
class GateOptions(Gate):
    """What a run must reach to pass."""

    gate: Annotated[Path | None, Parameter(group=COMMON)] = None
    """File with requirements. Options on the command line override it."""


@Parameter(name="*", group=Group("Budget", sort_key=7))
class BudgetOptions(Spending):
    """Limits of one session; when one is reached, the finished attempts are judged."""


@Parameter(name="*", group=RUN)
@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out."""

    concurrency: Annotated[int | None, COUNT] = None
    """Attempts in flight. Default: that of the provider's entry, or 8."""
    resume: Annotated[Path | None, Parameter(converter=_run_place, group=COMMON)] = None
    """Run to finish: its folder, or its name in `runs`. Finished attempts are kept."""
    out: Out = None
    rescore: bool = False
    """Let the model itself read all replies afterwards, as the command `rescore` does."""
    dry_run: Annotated[bool, Parameter(group=COMMON)] = False
    """Print requests, tokens and cost, and send nothing."""
    debug: Debug = False
    durations: Annotated[int | None, COUNT] = None
    """Print the N attempts that took longest."""
    as_json: AsJson = False


@dataclass(frozen=True)
class Options:
    """All options of a run."""

    provider: ProviderOptions = ProviderOptions()
    sampling: SamplingOptions = SamplingOptions()
    gate: GateOptions = GateOptions()
    budget: BudgetOptions = BudgetOptions()
    evals: str | None = None
    """Names, or `quick`; None for those of the gate or, with `evals_alone`, the default ones."""
    concurrency: int | None = None
    cases: CaseOptions = CaseOptions()
    evals_alone: bool = False
    """Whether to leave out tool calling and probes, which `cases` chooses."""
    data: DataOptions = DataOptions()
    baseline: BaselineOptions = BaselineOptions()
    decision: DecisionOptions = DecisionOptions()
    grading: bool = False
    """Whether only answers are graded, of an earlier run."""
    executor: str | None = None
    """What distributes the run over machines."""
    dry_run: bool = False
    """Whether nothing will be sent."""


def refuse(reason: str, *options: object, **others: object) -> None:
    """Raise ConfigurationError, naming the option, if one of the options is given."""
    given = (vars(one) if not isinstance(one, Settings) else one.stated for one in options)
    values = {name: value for group in given for name, value in group.items()}
    for name, value in (values | others).items():
        if value is not False and value not in (None, ()):
            raise ConfigurationError(f"{reason} leave out {option_of(name)}.")


def parse_apis(text: str | None) -> tuple[Api, ...] | None:
    """Return `responses,chat` as values; None for None. Raises ConfigurationError."""
    if text is None:
        return None
    return tuple(api for name in parse_list("--apis", text, APIS) for api in APIS if api == name)


def parse_list(option: str, text: str, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return `a,b` as values without repeats. Raises ConfigurationError for unknown ones."""
    given = names(text)
    unknown = [name for name in given if known is not None and name not in known]
    if unknown or not given:
        wrong = unknown[0] if unknown else text
        wanted = f"takes {', '.join(known)}" if known else "takes names separated by commas"
        raise ConfigurationError(f"{option} {wanted}, not {wrong!r}.")
    return tuple(dict.fromkeys(given))
