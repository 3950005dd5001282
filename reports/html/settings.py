"""What it takes to repeat a run, as a list of names and values."""

from __future__ import annotations

from collections.abc import Iterator

from evals.records import EvalRunInfo
from harness.records.analysis import Analysis
from harness.records.runs import ProviderInfo, RunInfo
from reports import words

_Fact = tuple[str, str]


def facts(analysis: Analysis) -> Iterator[_Fact]:
    """Provider, settings, thresholds, files and versions of a smoke test."""
    run = analysis.run
    yield from provider_facts(run.provider)
    excluded = {"thresholds", "budget"}
    for name, value in run.settings.model_dump(mode="json", exclude=excluded).items():
        if value not in (None, False, [], ()):
            yield name.replace("_", " "), said(value)
    yield from words.gate(analysis.verdict.thresholds)
    yield from words.gate(run.settings.budget)
    yield "cases", f"{run.cases_file}, sha256 {run.cases_sha256[:16]}…"
    yield "tools", f"{run.tools_file}, sha256 {run.tools_sha256[:16]}…"
    yield from version_facts(run.tool_version, run.versions)
    yield from _course(run)


def eval_facts(run: EvalRunInfo) -> Iterator[_Fact]:
    """Provider, settings, data and versions of an eval run."""
    yield from provider_facts(run.provider)
    for name, value in run.settings.model_dump(mode="json", exclude={"grader"}).items():
        if value not in (None, False, [], ()):
            yield name.replace("_", " "), said(value)
    if run.settings.grader is not None:
        yield "grader", f"{run.settings.grader.name}, {run.settings.grader.model}"
    for data in run.datasets:
        revision = f" at {data.revision[:12]}" if data.revision else ""
        yield data.eval, f"{data.source}{revision}, {data.rows} rows, sha256 {data.sha256[:16]}…"
    if run.merged:
        yield "merged from", ", ".join(run.merged)
    yield from version_facts(run.tool_version, run.versions)
    yield from _course(run)


def _course(run: RunInfo | EvalRunInfo) -> Iterator[_Fact]:
    """When a run was made, and its seal."""
    yield "started", run.started_at
    if run.resumed:
        yield "resumed", said(run.resumed)
    yield "finished", run.finished_at or "not finished"
    if (seal := words.seal(run.seals)) is not None:
        yield "seal", seal


def provider_facts(provider: ProviderInfo) -> Iterator[_Fact]:
    """Where the provider is and what was sent to it beside the plan."""
    yield "provider", provider.name
    yield "base URL", provider.base_url
    yield "model", provider.model
    if provider.extra_body:
        yield "extra body", said(provider.extra_body)
    if provider.header_names:
        yield "own headers", f"{', '.join(provider.header_names)} (values are not recorded)"
    if provider.limitations:
        yield "declared limitations", ", ".join(provider.limitations)


def version_facts(tool: str, versions: dict[str, str]) -> Iterator[_Fact]:
    """The versions of everything that matters."""
    yield "gpt-oss-verify", tool
    yield from versions.items()


def said(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(said(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {said(one)}" for name, one in value.items())
    return str(value)
