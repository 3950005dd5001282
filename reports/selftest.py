"""The matrix of the self-test on a terminal, as Markdown, and as an HTML page."""

from collections import Counter
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.selftest.faults import FaultRow, Matrix, RowStatus
from harness.text import percentage
from reports import markup
from reports.html.page import render_template

_STYLES: Mapping[RowStatus, str] = {
    "detected": "green",
    "clean": "green",
    "missed": "bold red",
    "false alarm": "bold red",
    "failed": "bold red",
    "not visible": "dim",
    "no detector": "yellow",
}
_HEADS = ("fault", "layer", "source", "result", "severity", "found by", "requests", "tokens")


def summary(matrix: Matrix) -> str:
    """Return the result in one sentence."""
    seen = Counter(row.status for row in matrix.rows)
    visible = seen["detected"] + seen["missed"] + seen["failed"]
    healthy = seen["clean"] + seen["false alarm"]
    innocent = matrix.innocent
    rate = (
        f"errors in {innocent.accused} of {innocent.runs} runs: at most "
        f"{percentage(innocent.rate_at_most, 2)} of runs, 95% confidence"
    )
    parts = [f"{seen['false alarm']} false alarms on {healthy} healthy servers ({rate})"]
    if visible:
        worst = Counter(row.worst for row in matrix.rows if row.status == "detected")
        ran = (row.fault for row in matrix.rows if row.status in {"detected", "missed", "failed"})
        constructed = sum(fault.source == "constructed" for fault in ran)
        parts.insert(
            0,
            f"{seen['detected']} of {visible} faults detected ({worst['error']} as errors, "
            f"{worst['warning']} as warnings, {worst['info']} only as information); "
            f"{constructed} of them constructed, the others from public reports",
        )
    if seen["no detector"]:
        parts.append(f"{seen['no detector']} without a detector")
    if seen["not visible"]:
        parts.append(f"{seen['not visible']} not visible from outside")
    return f"{'; '.join(parts)}; {matrix.seconds / 60:.0f} minutes."


def print_matrix(matrix: Matrix, console: Console) -> None:
    """Print one line per fault, and the result."""
    table = Table(*_HEADS, header_style="bold", box=None)
    for row in matrix.rows:
        name, layer, source, status, severity, found, requests, tokens = _cells(row)
        styled, named = Text(status, _STYLES[row.status]), map(Text, (name, layer, source))
        table.add_row(*named, styled, severity, Text(found), requests, tokens)
    console.print(table)
    for row in matrix.rows:
        if row.bad:
            console.print(f"{row.fault.name}: {row.note}", markup=False, soft_wrap=True)
    console.print(summary(matrix), markup=False)


def markdown(matrix: Matrix) -> str:
    """Return the matrix as a Markdown document."""
    return "\n".join(_markdown_lines(matrix)) + "\n"


def html(matrix: Matrix) -> str:
    """Return the matrix as a self-contained page."""
    return render_template(
        "selftest.html",
        heads=_HEADS,
        rows=[(row, _cells(row)) for row in matrix.rows],
        summary=summary(matrix),
        origin=_origin(matrix),
    )


def _markdown_lines(matrix: Matrix) -> Iterator[str]:
    yield from ("# Self-test", "", summary(matrix), "", _origin(matrix), "")
    yield from (markup.row(_HEADS), "|---|---|---|---|---|---|---:|---:|")
    yield from (markup.row(_cells(row)) for row in matrix.rows)
    notes = [f"- **{row.fault.name}**: {row.note}" for row in matrix.rows if row.bad]
    if notes:
        yield from ("", "## Problems", "", *notes)


def _origin(matrix: Matrix) -> str:
    return (
        f"gpt-oss-verify {matrix.tool_version}, suite {matrix.suite}, {matrix.started_at}. "
        "Requests and tokens are those needed to find the fault."
    )


def _cells(row: FaultRow) -> tuple[str, ...]:
    shown = [detection for detection in row.detections if detection.expected] or row.detections[:2]
    found = ", ".join(f"{detection.id} ({detection.severity})" for detection in shown)
    if more := len(row.detections) - len(shown):
        found += f" and {more} more"
    cost = (f"{row.requests:,}", f"{row.tokens:,}") if row.requests else ("", "")
    status = f"{row.status} ({row.accused} of {row.runs} runs)" if row.runs > 1 else row.status
    fault = row.fault
    return fault.name, fault.layer, fault.source, status, row.worst or "", found, *cost
