"""`run.json`: the settings, provider and tasks of a run, and its progress."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.records.conditions import Api, Condition, Mode, known_model, varying
from harness.records.record import Record
from harness.records.scores import Severity
from harness.records.settings import (
    SELECTS,
    BaselineSettings,
    CaseSettings,
    DataSettings,
    DecisionSettings,
    Limits,
    Sampling,
    Settings,
    Thresholds,
)

SCHEMA_VERSION = 3

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


UNKNOWN_ADDRESS = "unknown address"  # in place of the base URL, of recorded traffic without one


class ProviderInfo(Record):
    """The provider of a run, without keys and header values."""

    name: str
    base_url: str
    model: str
    extra_body: dict[str, Any]
    header_names: tuple[str, ...]
    launch_command: tuple[str, ...] | None
    limitations: tuple[Capability, ...] = ()


TaskKind = Literal["tool_calling", "probes", "eval", "traffic"]
RunEnd = Literal["complete", "decided", "budget"]


DataIdentity = Literal["published", "part", "samples", "own", "unknown"]
"""Whose questions an eval samples: all or a part of the published ones, those that ship with the
tool, the user's own, or questions of which it is not known whether they are the published ones."""


class DatasetInfo(Record):
    """Which data an eval samples: enough to tell whether two runs sampled the same.

    `sha256` covers the normalized rows, not a file, so that a local copy in another format is
    recognized as the same data. A score on `sample` data, which are not all of the published ones,
    is never compared with a published one; `identity` says what they are (None in runs of earlier
    versions, and for an eval of the user's own). The text of `gated` data appears in no report
    unless requested; in a bundle, where that text is replaced, `withheld` is the hash of the
    replaced rows. `scorer` names the file of the user's own that marks the answers, with its hash.
    """

    eval: str
    source: str
    revision: str | None = None
    rows: int
    sha256: str
    sample: bool = False
    identity: DataIdentity | None = None
    gated: bool = False
    withheld: str | None = None
    scorer: str | None = None

    @property
    def content(self) -> str:
        """What makes two scores comparable: the rows, and the scorer if it is the user's own."""
        return f"{self.sha256} {self.scorer}" if self.scorer else self.sha256

    @property
    def shipped(self) -> bool:
        """Whether these are the sample questions that ship with the tool."""
        return self.sample and self.source.startswith("samples/")


class ImportInfo(Record):
    """Where imported traffic comes from, and what was left out of it."""

    files: Mapping[str, str] = Field(description="SHA-256 of the recordings, by file name")
    requests: int = Field(description="imported requests")
    left_out: Mapping[str, int] = Field(description="requests that were left out, by reason")
    made: int = Field(
        default=0, description="replies whose bodies a client, a tracer or a gateway made"
    )


class TaskInfo(Record):
    """One task of a run; `planned` counts its attempts."""

    name: str
    kind: TaskKind
    conditions: tuple[Condition, ...]
    samples: int = Field(description="samples under each condition")
    tries: int = Field(description="planned attempts at each sample under each condition")
    planned: int
    further: Mapping[str, int] = Field(
        default={},
        description="planned attempts beyond `tries`, by API and mode: its rate was not decided",
    )
    sampling: Sampling = Sampling()
    dataset: DatasetInfo | None = None
    imported: ImportInfo | None = None
    files: dict[str, str] = Field(
        default={}, description="SHA-256 of the files in the run folder that the task needs"
    )
    repetitions: Mapping[Api, int] = Field(
        default={},
        description="how often a retest makes all tries of a probe group, by API; 0: one each",
    )


class RetestedRule(Record):
    """A finding that a retest tests again; counts are those under the conditions with failures."""

    rule: str
    severity: Severity
    failures: int
    tries: int = Field(description="tries in the run, those without the finding included")
    conditions: tuple[str, ...] = Field(description="conditions (of a probe: APIs) with failures")
    stand_in: str | None = Field(
        default=None,
        description="the finding that is tested for all of the same component or cause",
    )
    half: float = Field(description="rate of the finding if its defect is only half fixed")
    enough: int = Field(
        description="tries that tell whether it is fixed, if as few of them fail as "
        "the model may cause"
    )
    planned: int = Field(default=1, description="tries that the retest plans")
    share: str = Field(default="", description="its share in the report of the run, in words")


class RetestInfo(Record):
    """What a retest tests again: findings of a run, and the success rate of its tool calls."""

    run: str = Field(description="folder of the run, as it was named on the command line")
    rules: tuple[RetestedRule, ...]
    concurrency: int | None = Field(
        default=None, description="attempts in flight, if not as many as in the run"
    )
    calls: bool | None = Field(
        default=False,
        description="whether too few tool calls succeeded; null if the findings are the reason",
    )
    others: tuple[str, ...] = Field(
        default=(), description="rules with findings in the run that are not tested again"
    )
    alone: bool = Field(
        default=False, description="whether one finding is reproduced, which alone decides"
    )

    @property
    def name(self) -> str:
        """The name of the run."""
        return PurePath(self.run).name

    @property
    def decisive(self) -> tuple[RetestedRule, ...]:
        """The findings that decide: the errors; without any, the warnings."""
        errors = tuple(rule for rule in self.rules if rule.severity == "error")
        return errors or (() if self.calls else self.rules)


class PromptsInfo(Record):
    """The prompts of evals: `ours`, those of a release of gpt-oss, or those of a file.

    `templates` has the texts by name (docs/evals.md), so that a run can be resumed and graded
    without the source. `sha256` covers names and texts.
    """

    source: str
    sha256: str
    templates: Mapping[str, str]


class ScoreGate(Settings):
    """What the gate requires of scores: evals that must run, and margins in points by eval.

    `origins` has the source of each of these settings.
    """

    required_evals: Annotated[tuple[str, ...], SELECTS] = Field(
        default=(), description="evals that the gate requires"
    )
    margins: Mapping[str, float] = Field(default={}, description="by eval, where margin is None")
    origins: Mapping[str, str] = Field(default={}, description="source of each setting of the gate")


class RunSettings(CaseSettings, DataSettings, BaselineSettings, DecisionSettings, ScoreGate):
    """The settings of a run, defaults filled in; `evals` names the evals."""

    evals: Annotated[tuple[str, ...], SELECTS] = ()
    apis: tuple[Api, ...]
    modes: tuple[Mode, ...]
    case_ids: Annotated[tuple[str, ...], SELECTS] = Field(
        default=(), description="the cases, if their number is limited; not in older versions"
    )
    concurrency: int
    seed: int | None = None
    thresholds: Thresholds = Thresholds()
    grader: ProviderInfo | None = None
    unread_grader: ProviderInfo | None = Field(
        default=None, description="reads answers that the rules cannot; counted separately"
    )
    prompts: PromptsInfo | None = Field(default=None, description="ours where None")
    findings_only: bool = Field(default=False, description="the run gets no verdict")
    first_tries: Annotated[bool, SELECTS] = Field(
        default=False, description="further tries are made only if the first ones find something"
    )
    budget: Limits | None = None

    def selecting(self, only: tuple[str, ...], cases: tuple[str, ...]) -> "RunSettings":
        """Return the settings of a run that sends only these probes and cases, all of them."""
        fields = type(self).model_fields.items()
        changes = {name: field.default for name, field in fields if SELECTS in field.metadata}
        changes |= {"only": only, "case_ids": cases, "first_cases": len(cases) or None}
        return self.model_copy(update=changes)

    @property
    def ends_at_failure(self) -> bool:
        """Whether a verdict of fail ends the run, so that it is judged after each portion."""
        return self.until_fail


GATE_SETTINGS = ("baseline", "margin", "margins", "required_evals", "origins")
"""The settings, in addition to the thresholds, that affect only the verdict of a run."""


_SHOWN = frozenset({"--json", "--debug"})  # options that choose how a run is shown
_PLACES = frozenset({"--out"})  # options that choose where its folder is made


class RunInfo(Record):
    """`run.json`: everything needed to understand, resume and repeat a run.

    Times are ISO 8601 UTC. `ended` states why sampling ended, or is None before that; `stopped`
    then states how a budget stopped the last session. `resumed` has the time of each `--resume`. A
    run with `retest` only tells whether the findings of another run are fixed.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    command: tuple[str, ...]
    provider: ProviderInfo
    settings: RunSettings
    tasks: tuple[TaskInfo, ...]
    versions: dict[str, str] = Field(description="Python, platform and relevant packages")
    started_at: str
    finished_at: str | None = None
    ended: RunEnd | None = None
    stopped: str | None = None
    resumed: tuple[str, ...] = ()
    retest: RetestInfo | None = None

    @property
    def model(self) -> str:
        """The tested models."""
        models = dict.fromkeys(
            condition.model for task in self.tasks for condition in task.conditions
        )
        return ", ".join(models) or self.provider.model

    @property
    def planned(self) -> int:
        """Planned attempts of all tasks."""
        return sum(task.planned for task in self.tasks)

    @property
    def failed_early(self) -> bool:
        """Whether sampling ended because the verdict was fail."""
        return self.settings.ends_at_failure and self.ended == "decided"

    @property
    def repeats(self) -> tuple[str, ...]:
        """The command of the run without options of where it goes and how it is shown."""
        kept, words = [], iter(self.command)
        for word in words:
            name, _, value = word.partition("=")
            if name in _PLACES and not value:
                next(words, None)
            elif name not in _SHOWN | _PLACES:
                kept.append(word)
        return tuple(kept)

    def task(self, name: str) -> TaskInfo | None:
        """Return the task of that name, if the run has one."""
        return next((task for task in self.tasks if task.name == name), None)

    def of_kind(self, *kinds: TaskKind) -> tuple[TaskInfo, ...]:
        """Return the tasks of these kinds."""
        return tuple(task for task in self.tasks if task.kind in kinds)


def group_name(task: TaskInfo, condition: Condition, *, with_model: bool = True) -> str:
    """Return a task and condition as rows name them; providers name the same model differently."""
    parts = varying(task.conditions)
    model = known_model(condition.model) or condition.model
    effort = f"{condition.effort or 'default'} effort"
    if task.kind == "tool_calling":
        named = {"model": model, "effort": effort}
        return ", ".join([condition.name, *(named[part] for part in parts if part in named)])
    python = ["with Python"] if task.sampling.python else []
    several = [condition.name] if "api" in parts or "mode" in parts else []
    return ", ".join([task.name, *([model] if with_model else []), effort, *python, *several])
