"""The end of an eval run as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from evals.results import CellResult, EvalAnalysis
from reports import eval_words, words
from reports.columns import tables
from reports.terminal import STYLES, verdict_lines

_SCORED = "bold cyan"
_BAD = ("truncated", "no_answer", "refused", "provider_error", "grader_error", "not_run")


def print_eval_analysis(analysis: EvalAnalysis, folder: str, console: Console) -> None:
    """Print the analysis of an eval run.

    Args:
        analysis: What to print.
        folder: The run folder as the user would type it.
        console: Where to; its width and colours are respected.
    """
    cells = analysis.cells
    console.print()
    console.print(_head(analysis))
    console.print()
    heads = eval_words.heads(cells, models=len(analysis.run.settings.models) > 1)
    rows = eval_words.rows(cells, every_k=False)
    for table in tables(heads, rows, console.width, _style):
        console.print(table)
        console.print()
    console.print(eval_words.HOW_TO_READ, style="dim")
    console.print()
    for cell in cells:
        for line in _rubric(cell):
            console.print(line)
    if any(cell.dataset.sample for cell in cells):
        console.print(eval_words.SAMPLES, style="dim")
        console.print()
    label = words.VERDICTS[analysis.decision]
    style = _SCORED if analysis.decision is None else STYLES[analysis.decision]
    console.print(verdict_lines(label, style, analysis.reasons))
    for warning in dict.fromkeys(w for cell in cells for w in cell.verdict.warnings):
        console.print(Text(f"Note    {warning}", style="yellow"), soft_wrap=True)
    console.print()
    console.print(Text(f"Report  {folder}/report.html"), soft_wrap=True)
    if (seal := words.seal(analysis.run.seals)) is not None:
        console.print(Text(f"Seal    {seal}"), soft_wrap=True)
    console.print(Text(f"Next    {eval_words.next_step(analysis, folder)}"), soft_wrap=True)


def _head(analysis: EvalAnalysis) -> Text:
    provider = analysis.run.provider
    text = Text()
    text.append(words.visible(provider.name), style="bold")
    models = ", ".join(map(words.visible, analysis.run.settings.models))
    text.append(f" · {models} · {words.address(provider)}\n")
    text.append(f"{eval_words.size(analysis)} · {analysis.run.settings.api}", style="dim")
    return text


def _style(label: str, cell: str) -> str:
    if label == eval_words.SCORE:
        return "bold"
    if label in _BAD:
        return "" if cell == "0" else "yellow"
    if label == "verdict":
        return {"pass": "green", "fail": "red", "inconclusive": "yellow"}.get(cell, "")
    return ""


def _rubric(cell: CellResult) -> Iterator[Text]:
    """The axes of a graded cell on one line, and who graded it."""
    if cell.rubric is None:
        return
    axes = ", ".join(f"{axis} {figure.mean * 100:.0f}" for axis, figure in cell.rubric.axes.items())
    yield Text(f"{eval_words.name(cell)}: by axis, in %: {axes}")
    graded = cell.rubric.items - cell.rubric.ungraded_items
    yield Text(
        f"{graded:,} of {cell.rubric.items:,} rubric items graded by {cell.grader}", style="dim"
    )
    yield Text()
