"""Store runs, and compute the expected figures of all stored runs again.

    python tests/characterization/record.py            # only the expected figures
    python tests/characterization/record.py RUN ...    # store these run folders first

The stored runs were sampled from the bundled engine, healthy and with known faults, by the script
of this name in commit 69d53318. Sample a run only to cover something new, and in a neutral folder,
so that no record contains a path or name of the machine. If expected figures change for unchanged
records, a verdict or a figure has changed, and that needs a reason.
"""

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import stored

DERIVED = ("analysis.json", "judgements.jsonl", "scores.jsonl", "news.json", "provider.log")
DERIVED += ("report.md", "report.html", "junit.xml")


def store(run: Path) -> None:
    """Pack the records of a run reproducibly: the same records give the same bytes."""

    def chosen(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return None if Path(member.name).name in DERIVED else member

    with tarfile.open(stored.RUNS / f"{run.name}.tar.xz", "w:xz", preset=9) as archive:
        archive.add(run, run.name, filter=chosen)


def write_figures() -> None:
    """Compute the expected figures from the stored runs."""
    stored.EXPECTED.mkdir(exist_ok=True)
    for path in stored.EXPECTED.glob("*.json"):
        path.unlink()
    for name, figures in stored.CHARACTERIZATIONS.items():
        with tempfile.TemporaryDirectory() as place:
            write_figures_of(name, figures(Path(place)))


def write_figures_of(name: str, figures: Any) -> None:
    """Write an expected file with one check, attempt or condition per line."""
    text = json.dumps(figures, ensure_ascii=False)
    if isinstance(figures, dict):
        parts = (f"{json.dumps(key)}: {lines_of(value)}" for key, value in figures.items())
        text = "{\n" + ",\n".join(parts) + "\n}"
    (stored.EXPECTED / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def lines_of(value: Any) -> str:
    """JSON with one line per member."""
    opening, closing, members = "", "", [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict) and value:
        opening, closing = "{\n ", "\n}"
        members = [f"{json.dumps(key)}: {json.dumps(one)}" for key, one in value.items()]
    elif isinstance(value, list) and value:
        opening, closing = "[\n ", "\n]"
        members = [json.dumps(one, ensure_ascii=False) for one in value]
    return opening + ",\n ".join(members) + closing


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        store(Path(folder).resolve())
    write_figures()
