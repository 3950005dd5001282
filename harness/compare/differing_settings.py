"""The settings in which two runs differ. No I/O."""

from collections.abc import Mapping

from harness.compare.comparison_types import SettingChange
from harness.records.runs import RunInfo, Sampling, TaskInfo

RUN = ""  # the scope of settings that apply to all tasks
_NOT_SET = "not set"
_MOVING = frozenset({
    *("model", "extra body", "strict", "grader", "prompts", "tools", "reasoning effort", "api"),
    *("temperature", "top p", "max tokens", "max turns", "python"),
})  # fmt: skip
"""Settings that can change the result of the same sample."""

SettingsByScope = Mapping[str, Mapping[str, str]]  # the scope is `RUN` or a task, then the name


def settings_of(info: RunInfo) -> SettingsByScope:
    """Return the settings of a run that matter for a comparison, as text."""
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
    by_task = {
        task.name: _of_task(task) for task in info.tasks if task.kind in ("tool_calling", "eval")
    }
    scopes: dict[str, dict[str, object]] = {RUN: run, **by_task}
    return {scope: as_text(values) for scope, values in scopes.items()}


def as_text(values: Mapping[str, object]) -> dict[str, str]:
    """Return the settings as readable text."""
    return {name: _text(value) for name, value in values.items()}


def changes(
    here: SettingsByScope, there: SettingsByScope, *, moving: bool = False
) -> tuple[SettingChange, ...]:
    """Return the settings that differ; with `moving`, those that can change a sample's result."""
    found: list[SettingChange] = []
    shared = [scope for scope in here if scope in there]
    several = len([scope for scope in shared if scope != RUN]) > 1
    for scope in shared:
        ours, theirs = here[scope], there[scope]
        for name in dict.fromkeys([*ours, *theirs]):
            mine, other = ours.get(name, _NOT_SET), theirs.get(name, _NOT_SET)
            if mine != other and (name in _MOVING or not moving):
                what = f"{scope} {name}" if several and scope != RUN else name
                found.append(SettingChange(what=what, here=mine, there=other))
    return tuple(found)


def sampling_settings(tries: int, sampling: Sampling) -> dict[str, object]:
    """Return how a task samples, by the names of settings."""
    return {
        "tries": tries,
        "temperature": sampling.temperature,
        "top p": sampling.top_p,
        "max tokens": sampling.max_tokens,
        "max turns": sampling.max_turns,
        "python": sampling.python,
    }


def _of_task(task: TaskInfo) -> dict[str, object]:
    efforts = tuple(dict.fromkeys(each.effort for each in task.conditions))
    found = sampling_settings(task.tries, task.sampling)
    if task.kind == "tool_calling":
        files = {name.partition(".")[0]: sha[:12] for name, sha in task.files.items()}
        return {**found, "reasoning effort": efforts, **files}
    return {
        **found,
        "efforts": efforts,
        "api": tuple(dict.fromkeys(each.api for each in task.conditions)),
        "data": task.dataset and task.dataset.sha256[:12],
    }


def _text(value: object) -> str:
    if value is None or value == ():
        return _NOT_SET
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
