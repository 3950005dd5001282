"""The pages of a site: providers, their runs over time, and the methodology; badges; a history."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from harness.compare.history import History, HistoryPoint, ProviderHistory
from harness.compare.key_figures import ResultSummary
from harness.compare.site import Site, SiteRun
from harness.records.analysis import RuleStatus
from harness.records.families import short_title
from harness.records.figures import Decision, verdict_name
from harness.run.run_folder import PAGE_FILE
from harness.text import percentage
from reports import history as text
from reports.html.charts.rates import over_time
from reports.html.charts.svg import Figure, tag
from reports.html.page import render_page
from reports.model import STATUSES, Cell, Row, Table, Tone
from reports.text import NOTHING, estimate, moment

INDEX, METHODS, DATA, BADGE = "index.html", "methodology.html", "index.json", "badge.svg"

_TONES: Mapping[RuleStatus, Tone] = {"failed": "bad", "warned": "poor", "passed": "good"}
"""The statuses that the table shows, the most important first."""


def render_site(site: Site, history: History) -> Mapping[str, str]:
    """Return the files of a site by name, except those of runs; `history` has the same runs."""
    latest = [next(run for run in site.runs if run.run == name) for name in site.latest]
    lines = [line for line in history.lines if len(line.points) > 1]
    index = render_page(
        "site.html",
        {},
        own_scripts=(),
        own_styles=("compare.css", "site.css"),
        site=site,
        label="Providers",
        title="gpt-oss on inference providers",
        heads=[
            "checks passed",
            "probes passed",
            "tool calls, %",
            *(f"{name}, %" for name in _scores(latest)),
            "first token, s",
            "tokens/s",
            "$/M tokens",
        ],
        rows=[(run, list(_cells(run, latest))) for run in latest],
        verdict_name=verdict_name,
        date=moment,
        folder=quote,
        families=_families(latest),
        lines=[(line, text.table(line), list(_figures(line))) for line in lines],
        link=lambda point: f"{quote(point.run)}/{PAGE_FILE}",
        text=text,
    )
    methods = render_page(
        "methodology.html",
        {},
        own_scripts=(),
        site=site,
        label="Methodology",
        title="How providers are verified",
    )
    badges = {f"{run.run}/{BADGE}": badge(run.summary) for run in site.runs}
    return {INDEX: index, METHODS: methods, DATA: site.model_dump_json(indent=2) + "\n", **badges}


def render_history(history: History, folder: Path, version: str) -> str:
    """Return the page of a history. Links to the reports of the runs are relative to its folder."""

    def link(point: HistoryPoint) -> str | None:
        report = Path(point.place) / PAGE_FILE
        return quote(os.path.relpath(report, folder)) if report.exists() else None

    return render_page(
        "history.html",
        {},
        own_scripts=(),
        own_styles=("compare.css", "site.css"),
        label="History",
        title=f"{history.folder}: runs over time",
        lines=[(line, text.table(line), list(_figures(line))) for line in history.lines],
        unread=history.unread,
        link=link,
        version=version,
        text=text,
    )


def _scores(runs: Sequence[SiteRun]) -> list[str]:
    return list(dict.fromkeys(scored.name for run in runs for scored in run.summary.evals))


def _cells(run: SiteRun, runs: Sequence[SiteRun]) -> Iterator[Cell]:
    summary = run.summary
    failed = any(counts.get("failed") for counts in run.families.values())
    for passed in (summary.checks, summary.probes):
        others: Tone = "bad" if failed else "poor"
        tone = others if passed.passed < passed.total else ""
        yield Cell(f"{passed.passed} of {passed.total}", tone) if passed.total else Cell(NOTHING)
    scores = {scored.name: scored.score for scored in summary.evals}
    calls = None if summary.tool_calls is None else summary.tool_calls.rate
    for rate in (calls, *(scores.get(name) for name in _scores(runs))):
        yield Cell(NOTHING if rate is None else estimate(rate))
    yield Cell(NOTHING if run.first_token is None else f"{run.first_token:.2f}")
    yield Cell(NOTHING if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}")
    price = run.price
    yield Cell(NOTHING if price is None else f"{price.input:g} in, {price.output:g} out")


def _families(runs: Sequence[SiteRun]) -> Table:
    """Return the checks of each family that failed, warned or passed on each provider."""
    names = dict.fromkeys(name for run in runs for name in run.families)
    rows = (
        Row(short_title(name), tuple(_counts(run.families.get(name, {})) for run in runs))
        for name in names
    )
    heads = tuple((run.summary.provider, run.summary.model) for run in runs)
    return Table(heads, tuple(rows))


def _counts(counts: Mapping[RuleStatus, int]) -> Cell:
    shown = [status for status in _TONES if counts.get(status)]
    signs = (f"{STATUSES[status][0]} {counts[status]}" for status in shown)
    return Cell(" ".join(signs) or NOTHING, _TONES[shown[0]] if shown else "")


def _figures(line: ProviderHistory) -> Iterator[Figure]:
    for name, values in text.series(line).items():
        yield Figure(name, over_time(name, line.points, values))


_COLOURS: Mapping[Decision | None, str] = {
    "pass": "#006b50",
    "fail": "#a63a00",
    "inconclusive": "#6b5000",
    None: "#00558a",
}
"""Contrast with white of at least 4.5 to 1, as WCAG 2.2 requires of text."""
_LABEL = "gpt-oss"
_CHARACTER = 6.6  # width of a character in pixels; `textLength` fits the text to it in every font
_PADDING = 6.0


def badge(summary: ResultSummary) -> str:
    """Return a badge such as `gpt-oss | PASS · tool calls 98.1% · 2026-11-21` as SVG.

    Its title, which browsers show and screen readers read, is the whole line of the summary.
    """
    rate = None if summary.tool_calls is None else summary.tool_calls.rate
    calls = [] if rate is None else [f"tool calls {percentage(rate.value)}"]
    name = verdict_name(summary.decision, summary.findings_only, summary.found)
    verdict = " · ".join([name, *calls, summary.date])
    left, right = (len(part) * _CHARACTER + 2 * _PADDING for part in (_LABEL, verdict))
    return str(
        tag(
            "svg",
            tag("title", summary.line),
            tag("rect", width=left, height=20, fill="#2b2f33"),
            tag("rect", x=left, width=right, height=20, fill=_COLOURS[summary.decision]),
            _text(_LABEL, _PADDING),
            _text(verdict, left + _PADDING),
            xmlns="http://www.w3.org/2000/svg",
            width=f"{left + right:.1f}",
            height=20,
            role="img",
            aria_label=summary.line,
        )
    )


def _text(content: str, x: float) -> str:
    return tag(
        "text",
        content,
        x=f"{x:.1f}",
        y=14,
        textLength=f"{len(content) * _CHARACTER:.1f}",
        fill="#ffffff",
        font_family="Verdana, DejaVu Sans, sans-serif",
        font_size=11,
    )
