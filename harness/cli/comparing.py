"""From names on the command line to a comparison, on the screen and in files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from evals.comparison import comparing
from evals.comparison.news import news
from evals.comparison.reading import read_column, read_run
from evals.comparison.records import Comparison, News
from evals.comparison.runs import Compared, ScoredRun, SmokeRun
from evals.comparison.runs_folder import previous

from harness.cli.bundle import opened_to_stay
from harness.cli.jobs import DEFAULT_OUT
from harness.cli.screen import print_raw, stdout
from harness.errors import ConfigurationError, RunLogError
from harness.storage import run_folder
from reports.compare_markdown import render_compare_markdown
from reports.compare_terminal import print_comparison
from reports.html.compare import render_compare_html

STEM = "compare"
_GZIP = b"\x1f\x8b"
"""What a bundle begins with."""


def compare(names: Sequence[str], against: str | None, out: Path | None, *, as_json: bool) -> None:
    """Compare, and say what came of it; files are written unless JSON goes to the screen.

    Raises:
        ConfigurationError: A name stands for nothing that can be compared, or is there twice.
        RunLogError: A run cannot be read, or a file not be written.
    """
    found = _compared(names, against)
    if as_json and out is None:
        folder = None
    else:
        folder = out or run_folder.create(DEFAULT_OUT, STEM, datetime.now(UTC))
        _write(found, folder)
    if as_json:
        print_raw(found.model_dump_json(indent=2))
    else:
        print_comparison(found, f"{folder}/{STEM}.html", stdout())


def _compared(names: Sequence[str], against: str | None) -> Comparison:
    chosen = list(names)
    if against is not None and against not in chosen:
        chosen.insert(0, against)
    twice = [name for name in chosen if chosen.count(name) > 1]
    if twice:
        raise ConfigurationError(f"{twice[0]} is named twice; name each run once.")
    columns = comparing.labelled([read_column(_opened(name)) for name in chosen])
    _require_runs(columns)
    return comparing.compare(
        columns,
        0 if against is None else chosen.index(against),
        version("gpt-oss-verify"),
        [one for one in map(_news, columns) if one is not None],
    )


def _opened(name: str) -> str:
    """The name; of a bundle that of the folder it was opened in, which is kept."""
    path = Path(name)
    if not path.is_file():
        return name
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return str(opened_to_stay(path)) if packed else name


def _require_runs(columns: Sequence[Compared]) -> None:
    if not any(isinstance(one, SmokeRun | ScoredRun) for one in columns):
        raise ConfigurationError(
            "Only published figures were named; name a run to be compared with them too."
        )


def _news(column: Compared) -> News | None:
    """What is new in a run since the one before it in its folder."""
    if column.entry.kind not in {"smoke test", "eval"} or column.entry.place is None:
        return None
    before = previous(Path(column.entry.place))
    if before is None or not isinstance(column, SmokeRun | ScoredRun):
        return None
    try:
        earlier = read_run(before)
    except RunLogError:
        return None
    return news(column, earlier)


def _write(comparison: Comparison, folder: Path) -> None:
    """Write compare.html, compare.md and compare.json."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunLogError(f"{folder} cannot be made: {error.strerror}.") from None
    texts = {
        "html": render_compare_html(comparison, folder),
        "md": render_compare_markdown(comparison),
        "json": comparison.model_dump_json(indent=2) + "\n",
    }
    for suffix, text in texts.items():
        run_folder.write_text(folder / f"{STEM}.{suffix}", text)
