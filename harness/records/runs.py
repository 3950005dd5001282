"""`run.json`: the settings, provider and tasks of a run, and its progress."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from harness.records.conditions import Api, Condition, Mode
from harness.records.record import Record

SCHEMA_VERSION = 3

CONTEXT = 131_072  # context length in tokens of both gpt-oss models (model card)

SuiteName = Literal["tools", "standard", "full", "long"]
FORMER_SUITES: Mapping[str, SuiteName] = {"smoke": "tools", "quick": "standard"}
"""The names of suites before version 0.3, which are still accepted."""


def current_suite(name: object) -> object:
    """The current name of a suite."""
    return FORMER_SUITES.get(name, name) if isinstance(name, str) else name


AnySuite = Annotated[SuiteName, BeforeValidator(current_suite)]
Capability = Literal[
    "built_in_tools",
    "json_schema",
    "logprobs",
    "metadata",
    "n",
    "previous_response_id",
    "seed",
    "stop",
    "tool_choice",
]
"""Capabilities that the entry of a provider can declare missing."""


class ProviderInfo(Record):
    """The provider of a run, without keys and header values."""

    name: str
    base_url: str
    model: str
    extra_body: dict[str, Any]
    header_names: tuple[str, ...]
    launch_command: tuple[str, ...] | None
    limitations: tuple[Capability, ...] = ()


GateRule = Literal["success_rate", "guide"]


class Thresholds(Record):
    """The gate: what a run must reach; docs/gate.md explains it.

    `reference` and `lower_rate` are the success rates of the rule `success_rate`. Without a stated
    `reference`, it follows from `reference_cases`: the passes and tries of each case in a reference
    run. `min_pass_at_k` and `min_pass_hat_k` belong to the rule `guide`; they must be exceeded, not
    just met; 1.0 means every time. `may_warn` and `must_pass` name checks and probes by id, by a
    prefix of an id, or by family (see `harness.verdict.requirements`). `suite` is the
    smallest suite that is accepted. `origins` has the source of each setting that is not the
    default.
    """

    max_invalid: int = 0
    rule: GateRule | None = Field(
        default=None, description="guide if one of its settings is stated, otherwise success_rate"
    )
    reference: float | None = None
    lower_rate: float = 0.9
    reference_cases: dict[str, tuple[int, int]] = Field(default={})
    min_pass_at_k: float = 0.9
    min_pass_hat_k: float = 0.9
    may_warn: tuple[str, ...] = ()
    must_pass: tuple[str, ...] = ()
    suite: AnySuite | None = None
    origins: dict[str, str] = Field(default={})

    @property
    def by_guide(self) -> bool:
        """Whether the rule of OpenAI's guide decides."""
        if self.rule is not None:
            return self.rule == "guide"
        return bool({"min_pass_at_k", "min_pass_hat_k"} & self.origins.keys())

    def where(self, name: str) -> str:
        """The origin of a setting in parentheses, after a space; empty for a default."""
        return f" ({self.origins[name]})" if name in self.origins else ""


class Limits(Record):
    """The budget of one call: dollars, requests, and seconds after which no request starts."""

    max_cost: float | None = None
    max_requests: int | None = None
    deadline: float | None = None
    origins: dict[str, str] = Field(default={})


TaskKind = Literal["tool_calling", "probes", "eval", "traffic"]
RunEnd = Literal["complete", "decided", "budget"]


class DatasetInfo(Record):
    """Which data an eval samples: enough to tell whether two runs sampled the same.

    `sha256` covers the normalized rows, not a file, so that a local copy in another format is
    recognized as the same data. A score on `sample` data is never compared with a
    published one. The text of `gated` data appears in no report unless requested; in a bundle,
    where that text is replaced, `withheld` is the hash of the replaced rows.
    """

    eval: str
    source: str
    revision: str | None = None
    rows: int
    sha256: str
    sample: bool = False
    gated: bool = False
    withheld: str | None = None


PythonTool = Literal["either", "built-in", "function"]
"""Who runs the model's Python programs: the provider's built-in tool, or this tool, which offers a
function; `either` until the provider has shown whether it has the built-in tool."""


class Sampling(Record):
    """How a task samples the model; None: the parameter is not sent, or there is no `python`."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    max_turns: int = 1
    python: PythonTool | None = None


class AgentResult(Record):
    """How the task of an agent ended; `not verifiable`: could not run, `stopped`: by the user."""

    end: Literal["right", "wrong", "not verifiable", "stopped"]
    detail: str = ""


class ImportInfo(Record):
    """Where imported traffic comes from, and what was left out of it."""

    files: Mapping[str, str] = Field(description="SHA-256 of the recordings, by file name")
    requests: int = Field(description="imported requests")
    left_out: Mapping[str, int] = Field(description="requests that were left out, by reason")
    agents: Mapping[str, AgentResult] = Field(default={}, description="of --suite agents, by name")


class TaskInfo(Record):
    """One task of a run; `planned` counts its attempts; in a shard, only those of the shard."""

    name: str
    kind: TaskKind
    conditions: tuple[Condition, ...]
    samples: int = Field(description="samples under each condition")
    tries: int = Field(description="planned attempts at each sample under each condition")
    planned: int
    sampling: Sampling = Sampling()
    dataset: DatasetInfo | None = None
    imported: ImportInfo | None = None
    files: dict[str, str] = Field(
        default={}, description="SHA-256 of the files in the run folder that the task needs"
    )


class PromptsInfo(Record):
    """The prompts of evals: `ours`, those of a release of gpt-oss, or those of a file.

    `templates` has the texts by name (docs/evals.md), so that a run can be resumed and graded
    without the source. `sha256` covers names and texts.
    """

    source: str
    sha256: str
    templates: Mapping[str, str]


class RunSettings(Record):
    """The settings of a run, defaults filled in.

    `suite`, `only` and `skip` choose the tool-call cases and probes (see
    `harness.probes.suites.choose`); `evals` names the evals. `margin` and `margins` are in points.
    """

    suite: AnySuite = "tools"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    max_context: int = Field(default=CONTEXT, description="tokens; longer probes are left out")
    evals: tuple[str, ...] = ()
    apis: tuple[Api, ...]
    modes: tuple[Mode, ...]
    first_cases: int | None = Field(default=None, description="number of cases, if limited")
    case_ids: tuple[str, ...] = Field(
        default=(), description="the cases, if their number is limited; not in older versions"
    )
    examples: int | None = None
    strict: bool = False
    concurrency: int
    seed: int | None = None
    thresholds: Thresholds = Thresholds()
    grader: ProviderInfo | None = None
    unread_grader: ProviderInfo | None = Field(
        default=None, description="reads answers that the rules cannot; counted separately"
    )
    prompts: PromptsInfo | None = Field(default=None, description="ours where None")
    baseline: str | None = None
    margin: float | None = None
    margins: Mapping[str, float] = Field(default={}, description="by eval, where margin is None")
    required_evals: tuple[str, ...] = Field(default=(), description="evals that the gate requires")
    origins: Mapping[str, str] = Field(default={}, description="source of each setting of the gate")
    findings_only: bool = Field(default=False, description="the run gets no verdict")
    until_fail: bool = Field(default=False, description="the run ends once its verdict is fail")
    until_decided: bool = False
    budget_samples: int | None = None
    budget_tokens: int | None = None
    budget: Limits | None = None


GATE_SETTINGS = ("baseline", "margin", "margins", "required_evals", "origins")
"""The settings, in addition to the thresholds, that affect only the verdict of a run."""


class LogSeal(Record):
    """The state of a log: its number of lines, and the chain hash of the last one.

    An older version wrote the first `unchained` lines without a chain.
    """

    records: int
    chain: str
    unchained: int = 0


class Seal(Record):
    """The state of a run at the end of a session, as SHA-256 hashes, hexadecimal.

    `hash` covers the other members. See docs/trust.md for what it proves.
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
    """`run.json`: everything needed to understand, resume and repeat a run.

    Times are ISO 8601 UTC. `ended` states why sampling ended, or is None before that; `stopped`
    then states how a budget stopped the last session. `merged` names the runs that this one was
    merged from, `merged_seals` their seals at that time. `resumed` has the time of each `--resume`,
    `seals` one seal for each session that ended in order; the last is the run's.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    command: tuple[str, ...]
    provider: ProviderInfo
    settings: RunSettings
    tasks: tuple[TaskInfo, ...]
    shard: tuple[int, int] | None = None
    merged: tuple[str, ...] = ()
    merged_seals: tuple[str | None, ...] = ()
    versions: dict[str, str] = Field(description="Python, platform and relevant packages")
    started_at: str
    finished_at: str | None = None
    ended: RunEnd | None = None
    stopped: str | None = None
    resumed: tuple[str, ...] = ()
    seals: tuple[Seal, ...] = ()

    @property
    def model(self) -> str:
        """The tested models."""
        models = dict.fromkeys(each.model for task in self.tasks for each in task.conditions)
        return ", ".join(models) or self.provider.model

    @property
    def seal(self) -> str | None:
        """The short form of the last seal; None if the run has none."""
        return self.seals[-1].short if self.seals else None

    @property
    def planned(self) -> int:
        """Planned attempts of all tasks."""
        return sum(task.planned for task in self.tasks)

    @property
    def failed_early(self) -> bool:
        """Whether sampling ended because the verdict was fail, with `until_fail`."""
        return self.settings.until_fail and self.ended == "decided"

    @property
    def agents(self) -> Mapping[str, AgentResult]:
        """The agents of `--suite agents` with their results; none in other runs."""
        found = (task.imported for task in self.tasks)
        return {name: end for each in found if each for name, end in each.agents.items()}

    def task(self, name: str) -> TaskInfo | None:
        """The task of that name, if the run has one."""
        return next((task for task in self.tasks if task.name == name), None)

    def of_kind(self, *kinds: TaskKind) -> tuple[TaskInfo, ...]:
        """The tasks of these kinds."""
        return tuple(task for task in self.tasks if task.kind in kinds)
