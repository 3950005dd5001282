"""A table of a page that a command prints: between `<!-- NAME -->` and `<!-- end of NAME -->`."""

from collections.abc import Sequence
from pathlib import Path


def table_row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |\n"


def keep(
    page: Path, name: str, headings: Sequence[str], lines: Sequence[str], *, write: bool
) -> int:
    """Return 1 if the page lacks one of the lines; `write` puts them there.

    A line replaces that with the same first cell; the others stay. Raises SystemExit if the page
    lacks the comments.
    """
    begin, end = f"<!-- {name} -->\n\n", f"\n<!-- end of {name} -->"
    before, begins, rest = page.read_text("utf-8").partition(begin)
    old, ends, after = rest.partition(end)
    if not (begins and ends):
        raise SystemExit(f"{page} lacks the comments that enclose the table; restore them.")
    if write:
        rows = {each.split("|")[1]: each for each in [*old.splitlines(keepends=True)[2:], *lines]}
        table = table_row(*headings) + table_row(*["---"] * len(headings)) + "".join(rows.values())
        page.write_text(f"{before}{begin}{table}{end}{after}", encoding="utf-8")
        return 0
    return int(any(each not in old for each in lines))
