"""Pieces of Markdown that their content cannot break out of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports import words

MOST_CHARACTERS = 60_000
"""A comment on GitHub may have 65,536."""

_CUT = "\n\n(The rest did not fit: it is in report.html.)\n"


def row(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def code(text: str) -> str:
    """A code span that its text cannot leave."""
    shown = words.visible(text) or " "
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def plain(text: str) -> str:
    """Text that cannot turn into markup, nor call people (`@name`) where it is posted."""
    escaped = re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", words.visible(text))
    return escaped.replace("@", "@\N{ZERO WIDTH SPACE}")


def fitted(text: str) -> str:
    """A report, cut at the end of a line where it is longer than `MOST_CHARACTERS`."""
    if len(text) <= MOST_CHARACTERS:
        return text
    kept, _, _ = text[: MOST_CHARACTERS - len(_CUT)].rpartition("\n")
    return kept + _CUT
