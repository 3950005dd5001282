"""Analyses of runs that never happened, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.records.judgements import Examination
from harness.verdict.analysis import analyse
from healthy import MODEL, STARTED, SUITE

from harness.records.analysis import Analysis
from harness.records.conditions import Api
from harness.records.rollouts import Rollout
from harness.records.runs import ProviderInfo, RunInfo, RunSettings, Thresholds
from harness.cases import Suite


def run_info(
    *,
    apis: tuple[Api, ...] = ("responses", "chat"),
    streaming: tuple[bool, ...] = (True, False),
    tries: int = 2,
    strict: bool = False,
) -> RunInfo:
    settings = RunSettings(
        apis=apis,
        streaming=streaming,
        tries=tries,
        max_turns=10,
        strict=strict,
        concurrency=8,
    )
    provider = ProviderInfo(
        name="mock",
        base_url="http://127.0.0.1:1/v1",
        model=MODEL,
        extra_body={},
        header_names=(),
        launch_command=None,
    )
    return RunInfo(
        tool_version="0.1.0",
        command=("gpt-oss-verify", "--provider", "mock"),
        provider=provider,
        settings=settings,
        cases_file="cases.jsonl",
        cases_sha256="c" * 64,
        tools_file="tools.json",
        tools_sha256="d" * 64,
        planned=0,
        versions={"python": "3.11.0"},
        started_at=STARTED,
    )


def analysis_of(
    rollouts: Iterable[Rollout],
    info: RunInfo | None = None,
    *,
    suite: Suite | None = None,
    thresholds: Thresholds | None = None,
    keep: Callable[[Iterable[Examination]], object] = iter,
) -> Analysis:
    return analyse(
        rollouts,
        run_id="mock-20260102-030405",
        run=info or run_info(),
        suite=suite or SUITE.first(3),
        thresholds=thresholds,
        keep=keep,
    )
