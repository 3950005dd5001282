"""A comparison on a terminal, and as `compare.md`."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from harness.comparison.records import Comparison
from reports import markup
from reports.compare import MARKS, changes, entry_line, sections
from reports.terminal import STYLES, TONES, print_table
from reports.text import VERDICTS, visible


def print_comparison(comparison: Comparison, written: str | None, console: Console) -> None:
    """Print a comparison, and the page that it was written to; its width is that of the console."""
    console.print()
    for entry in comparison.entries:
        verdict = (
            (f"  {VERDICTS[entry.decision]}", STYLES[entry.decision]) if entry.decision else ""
        )
        about = f"  {visible(entry_line(entry, Path()))}"
        role = "  reference" if entry.label == comparison.against else ""
        head = Text.assemble((visible(entry.label), "bold"), verdict, about, (role, "cyan"))
        console.print(head, soft_wrap=True)
        differs = [f"settings differ: {changes(entry.differs)}"] if entry.differs else []
        for note in (*differs, *entry.notes):
            console.print(Text(f"  {visible(note)}", style="yellow"), soft_wrap=True)
    console.print()
    for section in sections(comparison, most_checks=25, most_cases=10):
        if not (section.lines or section.table):
            continue
        console.print(Text(visible(section.title), style="bold"))
        if section.table is not None:
            print_table(section.table, console)
        for line in section.lines:
            console.print(
                Padding(
                    Text(visible(line.text), style=TONES[line.tone]), (0, 0, 0, 2), expand=False
                )
            )
        if section.lines:
            console.print()
    if written is not None:
        console.print(Text(f"Report  {visible(written)}"), soft_wrap=True)


def render_compare_markdown(comparison: Comparison, folder: Path) -> str:
    """`compare.md`, for a comment on a pull request; places of runs are relative to its folder."""
    return "\n".join(_markdown(comparison, folder)) + "\n"


def _markdown(comparison: Comparison, folder: Path) -> Iterator[str]:
    against = markup.code(comparison.against)
    yield f"# gpt-oss: {len(comparison.entries) - 1} compared with {against}"
    yield ""
    for entry in comparison.entries:
        verdict = f"**{VERDICTS[entry.decision]}** · " if entry.decision else ""
        about = markup.plain(entry_line(entry, folder))
        yield f"- {markup.code(entry.label)}: {verdict}{about}"
        differs = [f"Settings differ: {changes(entry.differs)}"] if entry.differs else []
        yield from (f"  - {markup.prose(note)}" for note in (*differs, *entry.notes))
    yield ""
    for section in sections(comparison, most_checks=60, most_cases=30):
        if not (section.lines or section.table):
            continue
        yield from (f"## {markup.plain(section.title)}", "")
        if section.table is not None:
            yield from markup.table(section.table)
        for line in section.lines:
            text = markup.plain(line.text)
            found = line.text.startswith((MARKS["better"], MARKS["worse"]))
            yield f"- **{text}**" if found else f"- {text}"
        yield ""
