"""From names on the command line to a comparison, on the terminal and in files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from evals.baselines.columns import baseline_column
from harness.cli.bundle import opened_to_stay
from harness.cli.options import DEFAULT_OUT
from harness.cli.screen import print_raw, stdout
from harness.comparison.columns import Column, read_run
from harness.comparison.compare import compare as compare_columns
from harness.comparison.compare import labelled
from harness.comparison.records import Comparison
from harness.comparison.regressions import regressions_of
from harness.errors import ConfigurationError, RunLogError
from harness.storage import run_folder
from reports.compare_formats import print_comparison, render_compare_markdown
from reports.html.compare import render_compare_html

STEM = "compare"


def compare(names: Sequence[str], against: str | None, out: Path | None, *, as_json: bool) -> None:
    """Compare, print the result, and write files unless only JSON is requested.

    Raises:
        ConfigurationError: A name is unknown or given twice.
        RunLogError: A run cannot be read, or a file cannot be written.
    """
    found = _comparison(names, against)
    folder = out
    if not as_json:
        folder = out or run_folder.create(DEFAULT_OUT, STEM, datetime.now(UTC))
    if folder is not None:
        _write(found, folder)
    if as_json:
        print_raw(found.model_dump_json(indent=2))
    else:
        print_comparison(found, f"{folder}/{STEM}.html", stdout())


def _comparison(names: Sequence[str], against: str | None) -> Comparison:
    chosen = list(names)
    if against is not None and against not in chosen:
        chosen.insert(0, against)
    twice = [name for name in chosen if chosen.count(name) > 1]
    if twice:
        raise ConfigurationError(f"{twice[0]} is given twice; name each run once.")
    columns = labelled([_column(name) for name in chosen])
    if all(column.entry.kind == "published" for column in columns):
        raise ConfigurationError("Only published baselines are given; add a run to compare.")
    return compare_columns(
        columns,
        0 if against is None else chosen.index(against),
        version("gpt-oss-verify"),
        [found for found in map(regressions_of, columns) if found is not None],
    )


def _column(name: str) -> Column:
    path = Path(name)
    if path.is_dir():
        return read_run(path)
    return read_run(opened_to_stay(path)) if _is_bundle(path) else baseline_column(name)


def _is_bundle(path: Path) -> bool:
    """Whether a path is a gzip file, as bundles are; baseline files are JSON."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _write(comparison: Comparison, folder: Path) -> None:
    """Write compare.html, compare.md and compare.json."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunLogError(f"{folder} cannot be created: {error.strerror}.") from None
    texts = {
        "html": render_compare_html(comparison, folder),
        "md": render_compare_markdown(comparison, folder),
        "json": comparison.model_dump_json(indent=2) + "\n",
    }
    for suffix, text in texts.items():
        run_folder.write_text(folder / f"{STEM}.{suffix}", text)
