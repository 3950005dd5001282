"""All runs of a provider in time. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from evals.comparison.records import History, HistoryPoint, Line
from evals.comparison.runs import cell_key
from evals.comparison.scores import row_name
from evals.comparison.settings import moving, settings_of
from evals.results import EvalAnalysis
from harness.records.analysis import Analysis
from harness.records.scores import Estimate

UNUSUAL = 3.0
"""A pause this many times as long as the median pause between runs is marked as a gap."""
_A_DAY = 86_400.0


def history(
    folder: str,
    analyses: Sequence[tuple[str, Analysis | EvalAnalysis]],
    unread: Sequence[str] = (),
) -> History:
    """Every run in the line of its provider and kind, the oldest first.

    Args:
        folder: Where the runs are.
        analyses: Each run's folder and what was judged of it.
        unread: What could not be read, a sentence each.
    """
    smoke: dict[str, list[tuple[str, Analysis]]] = defaultdict(list)
    scored: dict[str, list[tuple[str, EvalAnalysis]]] = defaultdict(list)
    for place, analysis in sorted(analyses, key=lambda one: one[1].run.started_at):
        if isinstance(analysis, Analysis):
            smoke[analysis.run.provider.name].append((place, analysis))
        else:
            scored[analysis.run.provider.name].append((place, analysis))
    lines = [
        *(
            Line(provider=name, kind="smoke test", points=_marked(runs, _smoke_points(runs)))
            for name, runs in smoke.items()
        ),
        *(
            Line(provider=name, kind="eval", points=_marked(runs, _eval_points(runs)))
            for name, runs in scored.items()
        ),
    ]
    return History(
        folder=folder,
        lines=tuple(sorted(lines, key=lambda line: (line.provider, line.kind != "smoke test"))),
        unread=tuple(unread),
    )


def gaps(times: Sequence[str]) -> list[float | None]:
    """Days since the run before, for runs that came unusually late; None for all others."""
    seconds = [datetime.fromisoformat(time).timestamp() for time in times]
    pauses = [later - earlier for earlier, later in pairwise(seconds)]
    if len(pauses) < 2:
        return [None] * len(times)
    limit = UNUSUAL * statistics.median(pauses)
    late = [pause / _A_DAY if pause > max(limit, _A_DAY) else None for pause in pauses]
    return [None, *late]


def _smoke_points(runs: Sequence[tuple[str, Analysis]]) -> list[HistoryPoint]:
    return [_smoke_point(place, analysis) for place, analysis in runs]


def _smoke_point(place: str, analysis: Analysis) -> HistoryPoint:
    groups, run = analysis.groups, analysis.run
    medians = [group.latency.total.p50 for group in groups if group.latency.total is not None]
    return HistoryPoint(
        run=analysis.run_id,
        place=place,
        started_at=run.started_at,
        model=run.provider.model,
        decision=analysis.verdict.decision,
        complete=analysis.complete,
        tool_version=run.tool_version,
        k=min((group.tries for group in groups), default=None),
        pass_at=_weakest([group.pass_at[-1] for group in groups]),
        pass_hat=_weakest([group.pass_hat[-1] for group in groups]),
        failed_checks=sum(result.status == "failed" for result in analysis.checks),
        tokens=sum(group.tokens.input + group.tokens.output for group in groups),
        latency=max(medians, default=None),
    )


def _eval_points(runs: Sequence[tuple[str, EvalAnalysis]]) -> list[HistoryPoint]:
    return [_eval_point(place, analysis) for place, analysis in runs]


def _eval_point(place: str, analysis: EvalAnalysis) -> HistoryPoint:
    medians = [cell.seconds.p50 for cell in analysis.cells if cell.seconds is not None]
    scores: Mapping[str, Estimate] = {
        row_name(cell_key(cell.cell)): cell.score.estimate for cell in analysis.cells
    }
    return HistoryPoint(
        run=analysis.run_id,
        place=place,
        started_at=analysis.run.started_at,
        model=", ".join(analysis.run.settings.models),
        decision=analysis.decision,
        complete=analysis.complete,
        tool_version=analysis.run.tool_version,
        tokens=sum(cell.tokens.output for cell in analysis.cells),
        latency=max(medians, default=None),
        scores=scores,
    )


def _weakest(rates: Sequence[Estimate]) -> Estimate | None:
    return min(rates, key=lambda rate: rate.value, default=None)


def _marked(
    runs: Sequence[tuple[str, Analysis]] | Sequence[tuple[str, EvalAnalysis]],
    points: Sequence[HistoryPoint],
) -> tuple[HistoryPoint, ...]:
    """The points with what changed since the one before each, and where there is a gap."""
    settings = [settings_of(analysis.run) for _, analysis in runs]
    late = gaps([point.started_at for point in points])
    return tuple(
        point.model_copy(
            update={
                "changed": moving(settings[index], settings[index - 1]) if index else (),
                "gap_days": late[index],
            }
        )
        for index, point in enumerate(points)
    )
