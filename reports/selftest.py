"""The self-test's matrix as a terminal table, as Markdown, and as one HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.selftest.matrix import Detection, Matrix, Row, RowStatus

_STYLES: Mapping[RowStatus, str] = {
    "detected": "green",
    "clean": "green",
    "missed": "bold red",
    "false alarm": "bold red",
    "failed": "bold red",
    "not visible": "dim",
    "no detector": "yellow",
}
_HEADS = ("fault", "layer", "came out", "found by", "requests", "tokens")
_PAGE_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;
color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;
padding:.35rem .6rem;border-bottom:1px solid #ddd}td.n{text-align:right}
th{position:sticky;top:0;background:#fff}code{font-size:.9em}small{color:#555}
.detected,.clean{color:#11692e}.missed,.false-alarm,.failed{color:#b00020;font-weight:600}
.not-visible,.no-detector{color:#666}
.error{color:#b00020}.warning{color:#8a5a00}.info{color:#555}
@media (prefers-color-scheme:dark){body,th{background:#161616;color:#e6e6e6}
small{color:#aaa}th,td{border-color:#333}.detected,.clean{color:#5fc47c}
.missed,.false-alarm,.failed,.error{color:#ff7a8a}.warning{color:#e0b050}.info{color:#aaa}}
"""


def summary(matrix: Matrix) -> str:
    """The result in one sentence."""
    seen = Counter(row.status for row in matrix.rows)
    visible = seen["detected"] + seen["missed"] + seen["failed"]
    healthy = seen["clean"] + seen["false alarm"]
    told = [
        f"{seen['detected']} of {visible} faults detected",
        f"{seen['false alarm']} false alarms on {healthy} healthy servers ({_rate(matrix)})",
    ]
    if seen["no detector"]:
        told.append(f"{seen['no detector']} without a detector")
    if seen["not visible"]:
        told.append(f"{seen['not visible']} not visible from outside")
    return f"{'; '.join(told)}; {matrix.seconds / 60:.0f} minutes."


def _rate(matrix: Matrix) -> str:
    found = matrix.innocent
    return (
        f"errors in {found.accused} of {found.runs} runs: at most {found.rate_at_most:.2%} of "
        "runs, 95 % confidence"
    )


def print_matrix(matrix: Matrix, console: Console) -> None:
    """Print one line a fault, and the result."""
    table = Table(*_HEADS, header_style="bold", box=None)
    for row in matrix.rows:
        name, layer, status, found, requests, tokens = _cells(row)
        style = _STYLES[row.status]
        cells = (Text(name), Text(layer), Text(status, style), Text(found), requests, tokens)
        table.add_row(*cells)
    console.print(table)
    for row in matrix.rows:
        if row.bad:
            console.print(f"{row.fault.name}: {row.note}", markup=False, soft_wrap=True)
    console.print(summary(matrix), markup=False)


def markdown(matrix: Matrix) -> str:
    """The matrix as a Markdown document."""
    return "\n".join(_markdown_lines(matrix)) + "\n"


def html(matrix: Matrix) -> str:
    """The matrix as a page that needs nothing else."""
    heads = "".join(f"<th>{head}</th>" for head in _HEADS)
    rows = "\n".join(map(_html_row, matrix.rows))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>gpt-oss-verify: self-test</title><style>{_PAGE_STYLE}</style></head><body>"
        f"<h1>Self-test</h1><p>{escape(summary(matrix))} {escape(_origin(matrix))}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>"
        "</body></html>\n"
    )


def _markdown_lines(matrix: Matrix) -> Iterator[str]:
    yield from ("# Self-test", "", summary(matrix), "", _origin(matrix), "")
    yield f"| {' | '.join(_HEADS)} |"
    yield "|---|---|---|---|---:|---:|"
    for row in matrix.rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in _cells(row))} |"
    notes = [f"- **{row.fault.name}**: {row.note}" for row in matrix.rows if row.bad]
    if notes:
        yield from ("", "## What must not be so", "", *notes)


def _origin(matrix: Matrix) -> str:
    return (
        f"gpt-oss-verify {matrix.tool_version}, suite {matrix.suite}, {matrix.started_at}. "
        "Requests and tokens are those it took to find the fault."
    )


def _cells(row: Row) -> tuple[str, ...]:
    found = ", ".join(f"{each.id} ({each.severity})" for each in _shown(row))
    more = len(row.detections) - len(_shown(row))
    if more:
        found += f" and {more} more"
    cost = (f"{row.requests:,}", f"{row.tokens:,}") if row.requests else ("", "")
    status = f"{row.status} ({row.accused} of {row.runs} runs)" if row.runs > 1 else row.status
    return row.fault.name, row.fault.layer, status, found, *cost


def _shown(row: Row) -> Sequence[Detection]:
    """The expected detections, else the first of the others."""
    return [each for each in row.detections if each.expected] or row.detections[:2]


def _html_row(row: Row) -> str:
    found = "<br>".join(_html_detection(each) for each in row.detections)
    note = f"<br><small>{escape(row.note)}</small>" if row.note else ""
    cost = "".join(f'<td class="n">{cell}</td>' for cell in _cells(row)[-2:])
    source = f" <small>{escape(row.fault.source)}</small>" if row.fault.source else ""
    return (
        f"<tr><td><code>{escape(row.fault.name)}</code><br>"
        f"<small>{escape(row.fault.description)}</small>{source}</td>"
        f"<td>{escape(row.fault.layer)}</td>"
        f'<td class="{row.status.replace(" ", "-")}">{_cells(row)[2]}{note}</td>'
        f"<td>{found}</td>{cost}</tr>"
    )


def _html_detection(found: Detection) -> str:
    name = f"<code>{escape(found.id)}</code>"
    shown = f"<b>{name}</b>" if found.expected else name
    rate = f"{found.failures} of {found.applicable}"
    return f'<span class="{found.severity}" title="{escape(found.message)}">{shown} {rate}</span>'
