"""The commands and links of the documentation pages."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "reference_engine" / "small" / "checkpoint" / "MODEL_CARD.md",
    ROOT / "reference_engine" / "kernels" / "README.md",
    ROOT / "benchmarks" / "gpu" / "README.md",
)
_BLOCK = re.compile(r"^```console(?P<mark>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<path>[^)#\s]*)(?:#(?P<place>[^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command of a code block, without its comment."""

    page: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


@dataclass(frozen=True)
class Block:
    page: str
    needs_provider: bool
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        return str(self.commands[0])


def blocks() -> Iterator[Block]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            mark = match["mark"].strip()
            assert mark in {"", "provider"}, f"{name}: {mark} is no mark of a block"
            text = match["text"].replace("\\\n", " ")
            lines = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
            yield Block(name, mark == "provider", tuple(_command(name, line) for line in lines))


def _command(page: str, line: str) -> Command:
    words = shlex.split(line, comments=True)
    variables = []
    while match := re.fullmatch(r"([A-Z_]+)=(.*)", words[0]):
        variables.append((match[1], match[2]))
        del words[0]
    if "<" in words:
        del words[words.index("<") :]
    return Command(page, tuple(words), tuple(variables))


def links() -> Iterator[tuple[Path, str, str]]:
    """Page, path and fragment of every link within the repository."""
    for page in PAGES:
        for match in _LINK.finditer(page.read_text(encoding="utf-8")):
            yield page, match["path"], match["place"] or ""


def headings(page: Path) -> set[str]:
    """The fragments of the headings of a page, as GitHub generates them."""
    found = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}
