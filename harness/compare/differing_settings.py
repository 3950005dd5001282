"""The settings in which two runs differ. No I/O."""

from collections import defaultdict
from collections.abc import Mapping

from harness.records.record import Record
from harness.records.runs import RunInfo, TaskInfo
from harness.records.settings import Sampling

RUN = ""  # the scope of settings that apply to all tasks
_MOVING = frozenset({
    "model", "extra body", "strict", "grader", "prompts", "tools", "reasoning effort", "api",
    "temperature", "top p", "max tokens", "max turns", "python", "scorer",
})  # fmt: skip
"""Settings that can change the result of the same sample."""

SettingsByScope = Mapping[str, Mapping[str, object]]  # the scope is `RUN` or a task, then the name


class SettingChange(Record):
    """A setting, version or hash in which a run (`here`) differs from another one (`there`)."""

    what: str
    here: str
    there: str


def settings_of(info: RunInfo) -> SettingsByScope:
    """Return the settings of a run that matter for a comparison."""
    settings = info.settings
    run: dict[str, object] = {
        "model": info.model,
        "extra body": info.provider.extra_body or None,
        "suite": settings.suite,
        "only": settings.only,
        "skip": settings.skip,
        "apis": settings.apis,
        "modes": settings.modes,
        "number of cases": settings.first_cases,
        "examples": settings.examples,
        "strict": settings.strict,
        "seed": settings.seed,
        "grader": settings.grader and settings.grader.model,
        "prompts": settings.prompts
        and f"{settings.prompts.source} ({settings.prompts.sha256[:12]})",
        "tool version": info.tool_version,
    }
    by_task = {task.name: _of_task(task) for task in info.of_kind("tool_calling", "eval")}
    return {RUN: run, **by_task}


def changes(
    here: SettingsByScope, there: SettingsByScope, *, moving: bool = False
) -> tuple[SettingChange, ...]:
    """Return the settings that differ; with `moving`, those that can change a sample's result.

    A setting that one side does not have is unknown there, as in a baseline of an earlier version,
    and not compared. One that does not differ alike in all tasks is named with each task.
    """
    shared = [scope for scope in here if scope in there]
    changed: dict[SettingChange, list[str]] = defaultdict(list)
    for scope in shared:
        ours, theirs = here[scope], there[scope]
        for name in filter(theirs.__contains__, ours):
            mine, other = _text(ours[name]), _text(theirs[name])
            if mine != other and (name in _MOVING or not moving):
                changed[SettingChange(what=name, here=mine, there=other)].append(scope)
    tasks = sum(scope != RUN for scope in shared)
    return tuple(
        change if whole else change.model_copy(update={"what": f"{scope} {change.what}"})
        for change, scopes in changed.items()
        for whole in [RUN in scopes or len(scopes) == tasks]
        for scope in scopes[: 1 if whole else None]
    )


def sampling_settings(tries: int, sampling: Sampling) -> dict[str, object]:
    """Return how a task samples, by the names of settings."""
    settings = {name.replace("_", " "): value for name, value in sampling if name != "seed"}
    return {"tries": tries, **settings}


def _of_task(task: TaskInfo) -> dict[str, object]:
    efforts = tuple(dict.fromkeys(condition.effort for condition in task.conditions))
    settings = sampling_settings(task.tries, task.sampling)
    if task.kind == "tool_calling":
        files = {name.partition(".")[0]: sha[:12] for name, sha in task.files.items()}
        return {**settings, "reasoning effort": efforts, **files}
    return {
        **settings,
        "efforts": efforts,
        "api": tuple(dict.fromkeys(condition.api for condition in task.conditions)),
        "data": task.dataset and task.dataset.sha256[:12],
        "scorer": task.dataset and task.dataset.scorer,
    }


def _text(value: object) -> str:
    if value is None or value == ():
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
