"""The page of a smoke test."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.records.judgements import Examination

from evals.comparison.records import News
from harness.records.analysis import Analysis, GroupAnalysis
from harness.records.rollouts import Rollout
from reports import news_words, words
from reports.html.charts.curves import Curve, curves
from reports.html.charts.distributions import distributions
from reports.html.check_list import families, statuses
from reports.html.figure import Figure
from reports.html.heatmap import Look, heatmap
from reports.html.library import library
from reports.html.page import render_page
from reports.html.settings import facts
from reports.html.tiles import tiles
from reports.html.traffic_charts import timelines
from reports.tries import Tries

LOOKS: Mapping[str, Look] = {
    "success": Look("", "success", "good"),
    "invalid_response": Look("I", "invalid response", "bad"),
    "no_tool_call": Look("N", "no tool call", "bad"),
    "wrong_tool": Look("W", "wrong tool", "bad"),
    "invalid_arguments": Look("A", "invalid arguments", "bad"),
    "wrong_arguments": Look("D", "different arguments", "bad"),
    "truncated": Look("C", "cut off", "poor"),
    "max_turns": Look("M", "too many turns", "poor"),
    "provider_error": Look("E", "provider error", "broken"),
    "timeout": Look("T", "timeout", "broken"),
    "not_run": Look("", "not run", "none"),
}
_MEASURES = (
    ("Time to first token", "first token", "s"),
    ("Tokens per second", "tokens per second", "tokens/s"),
    ("Request, end to end", "request", "s"),
    ("Output tokens of an attempt", "output tokens", "tokens"),
    ("Reasoning tokens of an attempt", "reasoning tokens", "tokens"),
)


def render_html(
    analysis: Analysis,
    judged: Iterable[Examination],
    rollouts: Iterable[Rollout],
    hints: Mapping[str, str],
    news: News | None = None,
) -> str:
    """The whole page.

    Args:
        analysis: The run.
        judged: What was judged of each of its rollouts; read once.
        rollouts: The log; read once, and few of it are held at a time.
        hints: The prompt of each case.
        news: What is new since the run before.
    """
    tries = Tries(judged)
    labels = {kind: look.label for kind, look in LOOKS.items()}
    found = library(rollouts, [*tries.every, *tries.probes], _named(analysis), labels)
    names = [group.name for group in analysis.groups]
    width = max((group.tries for group in analysis.groups), default=0)
    return render_page(
        "smoke.html",
        {
            "judged": found.judged,
            "transcripts": found.transcripts,
            "without": f"there was room for {len(found.transcripts):,} of {found.rollouts:,}",
        },
        analysis=analysis,
        title=f"gpt-oss on {analysis.run.provider.name}",
        decision=analysis.verdict.decision,
        label=words.VERDICTS[analysis.verdict.decision],
        reasons=analysis.verdict.reasons,
        place=words.address(analysis.run.provider),
        models=analysis.run.provider.model,
        size=words.size(analysis),
        news=[] if news is None else news_words.sentences(news),
        next_step=_next_step(analysis),
        tiles=list(tiles(analysis)),
        statuses=statuses(analysis.checks),
        families=families(analysis.checks),
        table_rows=list(words.rows(analysis.groups)) if analysis.groups else [],
        map_groups=names,
        map=heatmap(tries.every, names, width, LOOKS, hints) if tries.every else None,
        looks=LOOKS,
        curves=[_curves(group, analysis) for group in analysis.groups if group.finished],
        speeds=list(_speeds(tries)),
        traffic=found.traffic,
        timelines=list(timelines(found.traffic)),
        rollouts=found.rollouts,
        kept=len(found.transcripts),
        command=shlex.join(analysis.run.command),
        facts=list(facts(analysis)),
    )


def _named(analysis: Analysis) -> Iterator[str]:
    for case in analysis.worst_cases:
        yield case.record
    for result in analysis.checks:
        for example in result.examples:
            yield example.evidence.record


def _next_step(analysis: Analysis) -> str:
    if analysis.complete and analysis.verdict.decision == "fail":
        if any(result.status == "failed" for result in analysis.checks):
            return (
                "Start with the failed checks below: each names what was expected and what came, "
                "and opens the transcript where it was seen."
            )
        if analysis.worst_cases:
            return "Start with the worst cases below: each opens the transcript of a failed try."
    return words.next_step(analysis, analysis.run_id)


def _curves(group: GroupAnalysis, analysis: Analysis) -> Figure:
    asked = analysis.verdict.thresholds
    drawn = [
        Curve("pass@k", "first", list(enumerate(group.pass_at, start=1))),
        Curve("pass^k", "second", list(enumerate(group.pass_hat, start=1))),
    ]
    rates: Sequence[float] = (asked.min_pass_at_k, asked.min_pass_hat_k)
    return Figure(group.name, curves(group.name, drawn, rates))


def _speeds(tries: Tries) -> Iterator[Figure]:
    for title, measure, unit in _MEASURES:
        drawing = distributions(title, unit, tries.measured(measure))
        if drawing is not None:
            yield Figure(title, drawing, unit)
