"""The end of a run as a terminal shows it: tables that fit its width, then the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.judgement import Analysis, FindingSummary, GroupAnalysis, WorstCase
from reports import words

_STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_SEVERITIES = {"error": "red", "warning": "yellow", "info": "cyan"}
_LABEL_WIDTH = 21
_CELL_WIDTH = 21
_WORST_SHOWN = 5


def print_analysis(analysis: Analysis, folder: str, console: Console) -> None:
    """Print a run's analysis.

    Args:
        analysis: What to print.
        folder: The run folder as the user would type it.
        console: Where to; its width and colours are respected.
    """
    console.print()
    console.print(_head(analysis))
    console.print()
    for groups in _that_fit(analysis.groups, console.width):
        console.print(_table(groups))
        console.print()
    if analysis.worst_cases:
        console.print(_section("Worst cases", _worst(analysis.worst_cases)))
    if analysis.findings:
        console.print(_section("Findings", _findings(analysis.findings)))
    console.print(_verdict(analysis, folder))


def _head(analysis: Analysis) -> Text:
    provider = analysis.run.provider
    text = Text()
    text.append(words.visible(provider.name), style="bold")
    text.append(f" · {words.visible(provider.model)} · {words.visible(provider.base_url)}\n")
    text.append(words.size(analysis), style="dim")
    return text


def _that_fit(groups: tuple[GroupAnalysis, ...], width: int) -> Iterator[tuple[GroupAnalysis, ...]]:
    at_once = max(1, (width - _LABEL_WIDTH) // _CELL_WIDTH)
    waiting = iter(groups)
    while batch := tuple(islice(waiting, at_once)):
        yield batch


def _table(groups: tuple[GroupAnalysis, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    for group in groups:
        table.add_column(group.name, justify="right", no_wrap=True)
    for label, cells in words.rows(groups):
        table.add_row(Text(label), *(Text(cell, style=_style(label, cell)) for cell in cells))
    return table


def _style(label: str, cell: str) -> str:
    if label == "invalid":
        return "green" if cell == "0" else "red"
    return ""


def _worst(cases: tuple[WorstCase, ...]) -> RenderableType:
    lines: list[RenderableType] = []
    for case in cases[:_WORST_SHOWN]:
        head = Text(f"{case.passed}/{case.tries} ", style="bold")
        head.append(f"{case.sample} · {case.group}", style="")
        lines.append(head)
        lines.append(_detail(case.example.detail))
        if case.example.expected is not None:
            lines.append(_detail(f"expected  {case.example.expected}"))
            lines.append(_detail(f"got       {case.example.got}"))
    if len(cases) > _WORST_SHOWN:
        lines.append(Text(f"… and {len(cases) - _WORST_SHOWN} more in the report", style="dim"))
    return Group(*lines)


def _findings(findings: tuple[FindingSummary, ...]) -> RenderableType:
    lines: list[RenderableType] = []
    for finding in findings:
        head = Text(f"{finding.severity} ", style=_SEVERITIES[finding.severity])
        attempts = "attempt" if finding.records == 1 else "attempts"
        head.append(finding.id, style="bold")
        head.append(f" · {finding.records} {attempts}")
        lines.append(head)
        example = finding.examples[0]
        evidence = example.evidence
        lines.append(_detail(example.message))
        lines.append(_detail(f"expected  {evidence.expected}"))
        lines.append(_detail(f"got       {evidence.got}"))
    return Group(*lines)


def _detail(text: str) -> RenderableType:
    line = Text(words.visible(text), style="dim", no_wrap=True, overflow="ellipsis")
    return Padding(line, (0, 0, 0, 6))


def _section(title: str, body: RenderableType) -> Group:
    return Group(Text(title, style="bold"), Padding(body, (0, 0, 1, 2)))


def _verdict(analysis: Analysis, folder: str) -> Text:
    verdict = analysis.verdict
    text = Text(words.VERDICTS[verdict.decision], style=_STYLES[verdict.decision])
    for number, reason in enumerate(verdict.reasons):
        text.append(f"\n{'':6}" if number else "  ", style="default")
        text.append(reason, style="not bold default")
    text.append(f"\n\nReport  {folder}/report.md", style="not bold default")
    text.append(f"\nNext    {words.next_step(analysis, folder)}", style="not bold default")
    return text
