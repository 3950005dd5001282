"""Run folders, baseline files and names of published figures, read to be compared."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from harness.records.judgements import Judgement

from evals.baselines.choice import RANGE, PublishedBaseline
from evals.baselines.measured import MeasuredBaseline, read_baseline
from evals.baselines.published import published_scores
from evals.comparison.records import Entry
from evals.comparison.runs import Attempt, Compared, PublishedFigures, ScoredRun, SmokeRun
from evals.judging import finished_scores
from evals.records import EVAL_RUN
from evals.run_folder import read_analysis as read_eval_analysis
from harness.errors import ConfigurationError, RunLogError
from harness.storage import run_folder
from harness.storage.run_log import SMOKE_TEST, read_run_info, run_kind


def read_column(name: str) -> Compared:
    """What a name on the command line stands for.

    Raises:
        ConfigurationError: It is no run, no baseline file and no published baseline.
        RunLogError: The run is damaged, was never judged, or is of another version.
    """
    path = Path(name)
    if path.is_dir():
        return read_run(path)
    if path.is_file():
        return _baseline(path)
    published = published_scores()
    if name == RANGE or name in published.sources:
        return _published(name)
    known = ", ".join([RANGE, *published.sources])
    raise ConfigurationError(
        f"{name} is no run folder, no baseline file and no published baseline ({known})."
    )


def read_run(folder: Path) -> SmokeRun | ScoredRun:
    """A run of either kind. Raises RunLogError."""
    kind = run_kind(folder)
    if kind == SMOKE_TEST:
        return _smoke(folder)
    if kind == EVAL_RUN:
        return _scored(folder)
    raise RunLogError(f"{folder} is a run of a kind that this version does not know: {kind}.")


def _smoke(folder: Path) -> SmokeRun:
    info = read_run_info(folder)
    analysis = run_folder.read_analysis(folder)
    suite = run_folder.read_suite(folder, info)
    attempts: dict[str, dict[str, list[Attempt]]] = defaultdict(lambda: defaultdict(list))
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in run_folder.read_judgements(folder):
        if not isinstance(one, Judgement):
            continue
        attempts[one.group][one.sample].append(Attempt(one.outcome.kind, one.invalid))
        for speed in one.speeds:
            times["request"][one.group].append(speed.total)
            if speed.first_token is not None:
                times["first token"][one.group].append(speed.first_token)
            if speed.tokens_per_second is not None:
                times["tokens per second"][one.group].append(speed.tokens_per_second)
    entry = Entry(
        label=folder.resolve().name,
        kind="smoke test",
        provider=info.provider.name,
        model=info.provider.model,
        place=str(folder),
        started_at=info.started_at,
        tool_version=info.tool_version,
        decision=analysis.verdict.decision,
        complete=analysis.complete,
        notes=() if analysis.complete else (_unfinished(f"--resume {folder}"),),
    )
    return SmokeRun(entry, analysis, {case.id: case for case in suite.cases}, attempts, times)


def _scored(folder: Path) -> ScoredRun:
    analysis = read_eval_analysis(folder)
    info, cells = finished_scores(folder)
    entry = Entry(
        label=folder.resolve().name,
        kind="eval",
        provider=info.provider.name,
        model=", ".join(info.settings.models),
        place=str(folder),
        started_at=info.started_at,
        tool_version=info.tool_version,
        decision=analysis.decision,
        complete=analysis.complete,
        notes=() if analysis.complete else (_unfinished(f"eval --resume {folder}"),),
    )
    measured = MeasuredBaseline(
        tool_version=info.tool_version,
        provider=info.provider.name,
        created_at=info.started_at,
        cells=cells,
    )
    return ScoredRun(entry, measured, analysis)


def _baseline(path: Path) -> ScoredRun:
    measured = read_baseline(path)
    entry = Entry(
        label=measured.provider,
        kind="baseline",
        provider=measured.provider,
        model=", ".join(dict.fromkeys(one.cell.model for one in measured.cells)),
        place=str(path),
        started_at=measured.created_at,
        tool_version=measured.tool_version,
    )
    return ScoredRun(entry, measured)


def _published(name: str) -> PublishedFigures:
    source = None if name == RANGE else name
    entry = Entry(label=name, kind="published", provider=name, model="")
    return PublishedFigures(entry, PublishedBaseline(published_scores(), source))


def _unfinished(how: str) -> str:
    return f"It is not finished, and is compared by what was made; go on with: gpt-oss-verify {how}"
