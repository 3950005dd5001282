"""The information needed to repeat a run, as pairs of a name and a value."""

from collections.abc import Iterator

from harness.records.runs import Limits, ProviderInfo, RunInfo, TaskInfo, Thresholds
from reports.text import address, counted, setting

Fact = tuple[str, str]


def facts(run: RunInfo, thresholds: Thresholds) -> Iterator[Fact]:
    """Provider, settings, gate, tasks, versions and times of a run."""
    yield from _provider(run.provider)
    excluded = {"thresholds", "budget", "grader", "origins", "prompts"}
    for name, value in run.settings.model_dump(mode="json", exclude=excluded).items():
        if value not in (None, False, [], {}):
            origin = run.settings.origins.get(name)
            yield name.replace("_", " "), setting(value) + (f" ({origin})" if origin else "")
    if run.settings.grader is not None:
        yield "grader", f"{run.settings.grader.name}, {run.settings.grader.model}"
    if (prompts := run.settings.prompts) is not None:
        yield "prompts", f"{prompts.source}, sha256 {prompts.sha256[:16]}…"
    yield from _limits(thresholds)
    yield from _limits(run.settings.budget)
    for task in run.tasks:
        yield from _task(task)
    if run.shard is not None:
        yield "shard", "{} of {}".format(*run.shard)
    if run.merged:
        yield "merged from", ", ".join(run.merged)
    yield "gpt-oss-verify", run.tool_version
    yield from run.versions.items()
    yield from _times(run)


def _provider(provider: ProviderInfo) -> Iterator[Fact]:
    yield "provider", provider.name
    yield "address", address(provider)
    yield "model", provider.model
    if provider.extra_body:
        yield "extra body", setting(provider.extra_body)
    if provider.header_names:
        yield "extra headers", f"{', '.join(provider.header_names)} (values are not recorded)"
    if provider.limitations:
        yield "declared limitations", ", ".join(provider.limitations)


def _limits(limits: Thresholds | Limits | None) -> Iterator[Fact]:
    """Each threshold or limit: its value and, unless it is a default, where it is set."""
    for name, value in limits or ():
        if value not in (None, ()) and name not in ("origins", "reference_cases"):
            origin = limits.origins.get(name) if limits else None
            yield name.replace("_", " "), setting(value) + (f" ({origin})" if origin else "")


def _task(task: TaskInfo) -> Iterator[Fact]:
    sampled = f"{counted(task.samples, 'sample')} × {counted(task.tries, 'try', 'tries')}"
    sampling = task.sampling.model_dump(exclude_none=True)
    parameters = "".join(f", {name} {value}" for name, value in sampling.items())
    yield task.name.replace("_", " "), sampled + parameters.replace("_", " ")
    if (data := task.dataset) is not None:
        revision = f" at {data.revision[:12]}" if data.revision else ""
        rows = f"{data.source}{revision}, {data.rows} rows"
        yield f"{data.eval} data", f"{rows}, sha256 {data.sha256[:16]}…"
    if (imported := task.imported) is not None:
        for reason, count in imported.left_out.items():
            yield f"left out: {reason}", counted(count, "request")
        for file, sha256 in imported.files.items():
            yield file, f"sha256 {sha256[:16]}…"
    for file, sha256 in task.files.items():
        yield file, f"sha256 {sha256[:16]}…"


def _times(run: RunInfo) -> Iterator[Fact]:
    yield "started", run.started_at
    if run.resumed:
        yield "resumed", ", ".join(run.resumed)
    yield "finished", run.finished_at or "not finished"
