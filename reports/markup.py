"""Markdown that is escaped so that content cannot change its structure."""

import re
from collections.abc import Iterator, Sequence

from reports.model import Table
from reports.text import visible

MOST_CHARACTERS = 60_000  # a comment on GitHub has at most 65,536 characters

_CUT = "\n\n(The rest does not fit here; report.html has all of it.)\n"


def row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def table(shown: Table) -> Iterator[str]:
    """Yield a table with its note, line by line."""
    yield row(["", *(plain(", ".join(head)) for head in shown.heads)])
    yield row(["---", *("---:" for _ in shown.heads)])
    for line in shown.rows:
        yield row([plain(line.label), *(plain(cell.text) for cell in line.cells)])
    yield ""
    if shown.note:
        yield from (plain(shown.note), "")


def code(text: str) -> str:
    """Return a code span, fenced so that the text cannot end it."""
    shown = visible(text) or " "
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def plain(text: str) -> str:
    """Return text that cannot become markup or mention people (`@name`)."""
    escaped = re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", visible(text))
    return re.sub("(?<![A-Za-z0-9])@", "@\N{ZERO WIDTH SPACE}", escaped)


def prose(text: str) -> str:
    """Return text with the parts in backticks as code spans."""
    parts = re.split("`([^`]+)`", text)
    return "".join(code(part) if index % 2 else plain(part) for index, part in enumerate(parts))


def fitted(text: str) -> str:
    """Return a report, cut at the end of a line if it is longer than `MOST_CHARACTERS`."""
    if len(text) <= MOST_CHARACTERS:
        return text
    kept, _, _ = text[: MOST_CHARACTERS - len(_CUT)].rpartition("\n")
    return kept + _CUT
