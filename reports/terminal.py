"""The end of a run as a terminal shows it: tables that fit its width, then the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evals.comparison.records import News
from harness.records.analysis import Analysis, CheckResult, CheckStatus, WorstCase
from reports import news_words, words
from reports.columns import tables

STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_MARKS: Mapping[CheckStatus, tuple[str, str]] = {
    "failed": ("error", "red"),
    "warned": ("warning", "yellow"),
    "declared": ("declared", "cyan"),
}
_INFORMATION = ("info", "cyan")
_WORST_SHOWN = 5
_HOW_TO_READ = (
    "Of planned attempts; times and speeds p50 / p90 of whole replies; in brackets 95 % intervals"
)


def print_analysis(
    analysis: Analysis, folder: str, console: Console, news: News | None = None
) -> None:
    """Print a run's analysis.

    Args:
        analysis: What to print.
        folder: The run folder as the user would type it.
        console: Where to; its width and colours are respected.
        news: What is new since the run before.
    """
    console.print()
    console.print(_head(analysis))
    console.print()
    heads = [f"{group.api}\n{group.mode}" for group in analysis.groups]
    for table in tables(heads, list(words.rows(analysis.groups)), console.width, _style):
        console.print(table)
        console.print(_HOW_TO_READ, style="dim")
        console.print()
    for line in _worst(analysis.worst_cases):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    console.print(_checks(analysis.checks))
    console.print()
    for line in _findings(words.found(analysis.checks)):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    verdict = analysis.verdict
    label = words.VERDICTS[verdict.decision]
    console.print(verdict_lines(label, STYLES[verdict.decision], verdict.reasons))
    console.print()
    if news is not None:
        console.print(Text(words.visible(" ".join(news_words.sentences(news)))))
        console.print()
    for label, text in (
        ("Report", f"{folder}/report.html"),
        ("Seal", words.seal(analysis.run.seals)),
        ("Next", words.next_step(analysis, folder)),
    ):
        if text is None:
            continue
        console.print(Text(f"{label:8}{text}"), soft_wrap=True)


def _head(analysis: Analysis) -> Text:
    provider = analysis.run.provider
    text = Text()
    text.append(words.visible(provider.name), style="bold")
    text.append(f" · {words.visible(provider.model)} · {words.address(provider)}\n")
    text.append(words.size(analysis), style="dim")
    return text


def _style(label: str, cell: str) -> str:
    if label == words.INVALID:
        return "green" if cell == "0" else "red"
    return ""


def _worst(cases: tuple[WorstCase, ...]) -> Iterator[Text]:
    if not cases:
        return
    yield Text("Worst cases", style="bold")
    for case in cases[:_WORST_SHOWN]:
        yield Text(f"  {case.passed}/{case.tries} {case.sample} · {case.group}")
        yield _detail(case.example.detail)
        if case.example.expected is not None:
            yield _detail(f"expected  {case.example.expected}")
            yield _detail(f"got       {case.example.got}")
    if len(cases) > _WORST_SHOWN:
        yield Text(f"  … and {len(cases) - _WORST_SHOWN} more in the report", style="dim")
    yield Text()


def _checks(results: Sequence[CheckResult]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    (_, *statuses), *rows = words.families(results)
    table.add_column("checks", no_wrap=True)
    for status in statuses:
        table.add_column(status, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _findings(found: Sequence[CheckResult]) -> Iterator[Text]:
    if not found:
        return
    yield Text("Findings", style="bold")
    for result in found:
        mark, style = _MARKS.get(result.status, _INFORMATION)
        yield Text.assemble(f"  {mark} ", (result.check.id, style), f" · {words.share(result)}")
        example = result.examples[0]
        yield _detail(example.message)
        yield _detail(f"expected  {example.evidence.expected}")
        yield _detail(f"got       {example.evidence.got}")
    yield Text()


def _detail(text: str) -> Text:
    return Text(f"      {words.visible(text)}", style="dim")


def verdict_lines(label: str, style: str, reasons: Sequence[str]) -> Table:
    """The verdict with its reasons beside it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    head = Text(label, style=style)
    for reason in reasons:
        table.add_row(head, Text(reason))
        head = Text()
    return table
