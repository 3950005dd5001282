"""All runs in a folder over time, the previous run of each, and the table of a site."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from harness.compare.columns import read_run
from harness.compare.compared import compare, labelled
from harness.compare.comparison_types import (
    Comparison,
    History,
    HistoryPoint,
    ProviderHistory,
    SettingChange,
    Site,
    SiteRun,
)
from harness.compare.differing_settings import changes, settings_of
from harness.compare.key_figures import result_summary, worst_figures
from harness.errors import HarnessError, RunLogError
from harness.providers.entries import Prices
from harness.records.analysis import Analysis, RuleStatus
from harness.records.figures import Decision
from harness.records.runs import RunInfo, group_name
from harness.run.run_folder import read_analysis
from harness.run.run_log import RUN_FILE, read_run_info

UNUSUAL = 3.0
"""A pause is a gap if it is this many times as long as the median pause, and longer than a day."""
_DAY = 86_400.0
_Judged = tuple[str, Analysis]


def history_of(parent: Path, provider: str | None) -> History:
    """Return all scored runs in a folder, or those of one provider; the others are named."""
    analyses, unread = [], []
    for folder in run_folders(parent):
        try:
            if provider is None or read_run_info(folder).provider.name == provider:
                analyses.append((str(folder), read_analysis(folder)))
        except RunLogError as error:
            unread.append(str(error))
    return history(str(parent), analyses, unread)


def history(folder: str, analyses: Sequence[_Judged], unread: Sequence[str] = ()) -> History:
    """Return all runs by provider, oldest first; `unread` has a sentence for each run left out."""
    by_provider: dict[str, list[_Judged]] = defaultdict(list)
    for place, analysis in sorted(analyses, key=lambda each: each[1].run.started_at):
        by_provider[analysis.run.provider.name].append((place, analysis))
    lines = (
        ProviderHistory(provider=name, points=_points(by_provider[name]))
        for name in sorted(by_provider)
    )
    return History(folder=folder, lines=tuple(lines), unread=tuple(unread))


def gaps(times: Sequence[str]) -> list[float | None]:
    """Return the days since the previous run after an unusually long pause; otherwise None."""
    seconds = [datetime.fromisoformat(time).timestamp() for time in times]
    pauses = [later - earlier for earlier, later in pairwise(seconds)]
    if len(pauses) < 2:
        return [None] * len(times)
    limit = max(UNUSUAL * statistics.median(pauses), _DAY)
    return [None, *(pause / _DAY if pause > limit else None for pause in pauses)]


def _points(runs: Sequence[_Judged]) -> tuple[HistoryPoint, ...]:
    infos = [analysis.run for _, analysis in runs]
    late = gaps([info.started_at for info in infos])
    return tuple(
        point(place, analysis).model_copy(
            update={"changed": _changed(infos[: index + 1]), "gap_days": late[index]}
        )
        for index, (place, analysis) in enumerate(runs)
    )


def _changed(infos: Sequence[RunInfo]) -> tuple[SettingChange, ...]:
    """Return what can change a result and differs from the latest run with a common task."""
    *earlier, info = infos
    tasks = {task.name for task in info.tasks}
    for other in reversed(earlier):
        if not tasks.isdisjoint(task.name for task in other.tasks):
            return changes(settings_of(info), settings_of(other), moving=True)
    return ()


def point(place: str, analysis: Analysis) -> HistoryPoint:
    """Return one run of a history, without what changed since the run before."""
    info, evals, worst = analysis.run, analysis.evals, worst_figures(analysis)
    tasks = {task.name: task for task in info.tasks}
    medians = [
        *(each.latency.total.p50 for each in analysis.tool_calling if each.latency.total),
        *(each.latency.last.p50 for each in evals if each.latency.last),
    ]
    return HistoryPoint(
        run=analysis.run_id,
        place=place,
        started_at=info.started_at,
        model=info.model,
        decision=analysis.verdict.decision,
        complete=analysis.complete,
        tool_version=info.tool_version,
        k=worst.k,
        pass_at=worst.pass_at,
        pass_hat=worst.pass_hat,
        failed_checks=(
            sum(result.status == "failed" for result in analysis.checks)
            if analysis.checks
            else None
        ),
        tokens=sum(each.tokens.input + each.tokens.output for each in analysis.results),
        latency=max(medians, default=None),
        scores={
            group_name(tasks[result.task], result.condition): result.score.estimate
            for result in evals
            if result.score is not None
        },
    )


def since_previous(folder: Path) -> tuple[tuple[str, str], Comparison] | None:
    """Return name and time of the previous run, and the comparison with it; None without one."""
    try:
        before = previous_run(folder)
        if before is None:
            return None
        columns = labelled([read_run(before), read_run(folder)])
        name = before.name, read_run_info(before).started_at
        return name, compare(columns, 0, version("gpt-oss-verify"))
    except HarnessError:
        return None


def previous_run(folder: Path) -> Path | None:
    """Return the latest earlier finished run in the same parent folder that is comparable, if any.

    A comparable run has the same provider, address, model, APIs and suite, a task in common, and
    the same settings as far as they can change a result of that task. Its number of tries and
    samples may differ. Recorded traffic has none, because recordings have different requests.
    """
    info = read_run_info(folder)
    if info.of_kind("traffic"):
        return None
    here = folder.resolve()
    earlier: list[tuple[str, Path]] = []
    for path in run_folders(here.parent):
        with suppress(RunLogError):
            other = read_run_info(path)
            if path.name != here.name and _precedes(other, info):
                earlier.append((other.started_at, path))
    return max(earlier, default=(None, None))[1]


def run_folders(parent: Path) -> list[Path]:
    """Return the run folders directly in `parent`, by name."""
    return sorted(path.parent for path in parent.glob(f"*/{RUN_FILE}"))


def _precedes(other: RunInfo, info: RunInfo) -> bool:
    return (
        _subject(other) == _subject(info)
        and other.finished_at is not None
        and other.started_at < info.started_at
        and not {task.name for task in other.tasks}.isdisjoint(task.name for task in info.tasks)
        and not changes(settings_of(other), settings_of(info), moving=True)
    )


def _subject(info: RunInfo) -> tuple[object, ...]:
    """Return what a run tests, and with which requests."""
    provider, settings = info.provider, info.settings
    address = provider.launch_command or provider.base_url
    chosen = settings.suite, settings.only, settings.skip
    return provider.name, address, info.model, frozenset(settings.apis), chosen


_ORDER: tuple[Decision | None, ...] = ("pass", "inconclusive", None, "fail")


def site_of(analyses: Sequence[Analysis], prices: Mapping[str, Prices], tool_version: str) -> Site:
    """Return the runs of a site, the newest first; `prices` are those of providers by name."""
    newest = sorted(analyses, key=lambda each: (each.run.started_at, each.run_id), reverse=True)
    runs = tuple(_run(analysis, prices.get(analysis.run.provider.name)) for analysis in newest)
    latest: dict[tuple[str, str], SiteRun] = {}
    for run in runs:
        latest.setdefault((run.summary.provider, run.summary.model), run)
    ranked = sorted(
        latest.items(), key=lambda item: (_ORDER.index(item[1].summary.decision), item[0])
    )
    return Site(tool_version=tool_version, latest=tuple(run.run for _, run in ranked), runs=runs)


def _run(analysis: Analysis, price: Prices | None) -> SiteRun:
    worst = worst_figures(analysis)
    families: dict[str, Counter[RuleStatus]] = defaultdict(Counter)
    for result in analysis.checks:
        families[result.check.family][result.status] += 1
    return SiteRun(
        run=analysis.run_id,
        started_at=analysis.run.started_at,
        summary=result_summary(analysis),
        reasons=analysis.verdict.reasons,
        causes=tuple(cause.description for cause in analysis.causes),
        families=families,
        first_token=worst.first_token and worst.first_token.p50,
        tokens_per_second=worst.tokens_per_second and worst.tokens_per_second.p50,
        price=price,
    )
