"""All runs and logs of other harnesses in a folder over time."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from pydantic import Field

from harness.compare.differing_settings import SettingChange, changes, settings_of
from harness.compare.eval_log import EvalLog
from harness.compare.key_figures import worst_figures
from harness.compare.read_logs import logs_in, read_logs
from harness.errors import ConfigurationError, RunLogError
from harness.records.analysis import Analysis
from harness.records.figures import Decision
from harness.records.record import Record
from harness.records.runs import RunInfo, group_name
from harness.records.scores import Estimate
from harness.run.run_folder import Unanswered, read_analysis, run_folders, unanswered
from harness.run.run_log import RUN_FILE, read_run_info
from harness.statistics.mean_scores import mean_score

UNUSUAL = 3.0
"""A pause is a gap if it is this many times as long as the median pause, and longer than a day."""
_DAY = 86_400.0
_Judged = tuple[str, Analysis]


class HistoryPoint(Record):
    """One run of a history.

    `pass_at` and `pass_hat` are the lowest of all conditions, for `k` tries; `latency` is the
    highest median time of a request in seconds. `changed` has the settings that differ from the
    previous run and can change a result; `gap_days` is set after an unusually long pause, and
    `stopped` if the run was stopped before its end. A time at which the provider did not answer is
    a point, too: `unanswered` has the reason.
    """

    run: str
    place: str
    started_at: str
    model: str
    decision: Decision | None
    complete: bool
    tool_version: str
    k: int | None = None
    pass_at: Estimate | None = None
    pass_hat: Estimate | None = None
    failed_checks: int | None = None
    tokens: int = 0
    latency: float | None = None
    scores: Mapping[str, Estimate] = {}
    changed: tuple[SettingChange, ...] = ()
    gap_days: float | None = None
    unanswered: str | None = None
    stopped: str | None = None
    retest: str | None = Field(default=None, description="the run of which it is a retest")
    reproduced: str | None = Field(default=None, description="its only finding that was sent again")
    findings_only: bool = Field(default=False, description="recorded traffic without a verdict")
    found: bool = Field(default=True, description="whether a rule has findings")


class ProviderHistory(Record):
    """All runs of one provider, oldest first."""

    provider: str
    points: tuple[HistoryPoint, ...]


class History(Record):
    """All runs of a folder over time; `unread` explains in a sentence each run left out."""

    version: int = 2
    folder: str
    lines: tuple[ProviderHistory, ...]
    unread: tuple[str, ...] = ()


def history_of(parent: Path, provider: str | None) -> History:
    """Return all scored runs in a folder, or those of one provider; the others are named.

    The folder may also be that of a run or of a log.
    """
    analyses, logs, unread = [], [], []
    for folder in [parent] if (parent / RUN_FILE).exists() else run_folders(parent):
        try:
            if provider is None or read_run_info(folder).provider.name == provider:
                analyses.append((str(folder), read_analysis(folder)))
        except RunLogError as error:
            unread.append(str(error))
    for path in logs_in(parent):
        try:
            read = read_logs(path)
            logs += [read] if provider in (None, read[0].provider) else []
        except ConfigurationError as error:
            unread.append(str(error))
    return history(str(parent), analyses, unread, logs, unanswered(parent, provider))


def history(
    folder: str,
    analyses: Sequence[_Judged],
    unread: Sequence[str] = (),
    logs: Sequence[Sequence[EvalLog]] = (),
    silent: Sequence[Unanswered] = (),
) -> History:
    """Return all runs by provider, oldest first; `unread` has a sentence for each run left out.

    `silent` has the times at which a provider did not answer; one that ended a run that is here
    has no row of its own.
    """
    runs: dict[str, list[_Judged]] = defaultdict(list)
    for place, analysis in sorted(analyses, key=lambda judged: judged[1].run.started_at):
        runs[analysis.run.provider.name].append((place, analysis))
    points = {
        name: [
            _point(place, analysis, _changed([earlier.run for _, earlier in judged[: index + 1]]))
            for index, (place, analysis) in enumerate(judged)
        ]
        for name, judged in runs.items()
    }
    for log in logs:
        points[log[0].provider] = [*points.get(log[0].provider, ()), _of_log(log)]
    shown = {Path(place).name for place, _ in analyses}
    for note in silent:
        if note.run not in shown:
            nothing = HistoryPoint(
                run="",
                place="",
                started_at=note.at,
                model="",
                decision=None,
                complete=False,
                tool_version="",
                unanswered=note.why,
            )
            points[note.provider] = [*points.get(note.provider, ()), nothing]
    return History(
        folder=folder,
        lines=tuple(
            ProviderHistory(provider=name, points=_dated(points[name])) for name in sorted(points)
        ),
        unread=tuple(unread),
    )


def _dated(points: Sequence[HistoryPoint]) -> tuple[HistoryPoint, ...]:
    """Return the points oldest first, with the pauses before them."""
    ordered = sorted(points, key=lambda point: datetime.fromisoformat(point.started_at))
    late = gaps([point.started_at for point in ordered])
    return tuple(
        point.model_copy(update={"gap_days": gap}) for point, gap in zip(ordered, late, strict=True)
    )


def gaps(times: Sequence[str]) -> list[float | None]:
    """Return the days since the previous run after an unusually long pause; otherwise None."""
    seconds = [datetime.fromisoformat(time).timestamp() for time in times]
    pauses = [later - earlier for earlier, later in pairwise(seconds)]
    if len(pauses) < 2:
        return [None] * len(times)
    limit = max(UNUSUAL * statistics.median(pauses), _DAY)
    return [None, *(pause / _DAY if pause > limit else None for pause in pauses)]


def _of_log(logs: Sequence[EvalLog]) -> HistoryPoint:
    parts = {
        log.group(part): log.scores[log.named(part)].values() for log in logs for part in log.parts
    }
    made = {group: [tries for tries in cases if tries] for group, cases in parts.items()}
    tries, first = [tried for log in logs for tried in log.tries], logs[0]
    seconds = [tried.seconds for tried in tries if tried.seconds is not None]
    silent = [log.unanswered for log in logs if log.unanswered]
    unanswered = "; ".join(silent) if len(silent) == len(logs) else None
    return HistoryPoint(
        run=first.path.name,
        place=str(first.path),
        started_at=first.started_at,
        model=first.model,
        decision=None,
        complete=all(log.complete for log in logs),
        tool_version=first.version,
        tokens=sum(tried.tokens for tried in tries),
        latency=statistics.median(seconds) if seconds else None,
        scores={
            name: mean_score(cases).estimate
            for name, cases in made.items()
            if cases and unanswered is None
        },
        unanswered=unanswered,
    )


def _changed(infos: Sequence[RunInfo]) -> tuple[SettingChange, ...]:
    """Return what can change a result and differs from the latest run with a common task."""
    *earlier, info = infos
    tasks = {task.name for task in info.tasks}
    for other in reversed(earlier):
        if not (info.retest or other.retest or tasks.isdisjoint(task.name for task in other.tasks)):
            return changes(settings_of(info), settings_of(other), moving=True)
    return ()


def _point(place: str, analysis: Analysis, changed: tuple[SettingChange, ...]) -> HistoryPoint:
    info, worst = analysis.run, worst_figures(analysis)
    tasks = {task.name: task for task in info.tasks}
    times = [e.latency.last if e.is_eval else e.latency.total for e in analysis.results]
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
        failed_checks=sum(result.status == "failed" for result in analysis.checks)
        if analysis.checks
        else None,
        tokens=analysis.tokens,
        latency=max((time.p50 for time in times if time), default=None),
        scores={
            group_name(tasks[result.task], result.condition): result.score.estimate
            for result in analysis.evals
            if result.score is not None
        },
        changed=changed,
        stopped=None if analysis.complete else info.stopped,
        retest=info.retest and info.retest.name,
        reproduced=info.retest.rules[0].rule if info.retest and info.retest.alone else None,
        findings_only=info.settings.findings_only,
        found=analysis.found,
    )
