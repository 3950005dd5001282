"""Load the questions of an eval from the hub, a local file or folder, or the shipped samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Generic, TypeAlias

from evals.datasets.hub import read_named, read_published
from evals.datasets.published import PublishedDataset
from evals.datasets.rows import DataRow, RawRow, RowT, read_file, rows_sha256, validate_rows
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo

DataSource: TypeAlias = str | Path
"""Where rows come from.

`hub`: the published files at their pinned revision. `samples`: the rows that ship with the tool.
`hf:NAME` or `hf:NAME@REVISION`: another dataset on the hub. Any other string is a path: a JSONL or
CSV file, or a folder with the published files. All need the columns of the published dataset.
"""

HUB_PREFIX = "hf:"


@dataclass(frozen=True)
class Loaded(Generic[RowT]):
    """The rows of a dataset and their origin."""

    rows: tuple[RowT, ...]
    info: DatasetInfo


@dataclass(frozen=True)
class _Raw:
    """Rows before validation, the name of their origin, and its revision if known."""

    rows: tuple[RawRow, ...]
    name: str
    revision: str | None


def load_rows(dataset: PublishedDataset, source: DataSource, model: type[RowT]) -> Loaded[RowT]:
    """Load and validate the rows of an eval.

    Data with another number of rows than the published dataset count as a sample, whose scores
    are not compared with published ones.

    Raises:
        ConfigurationError: There are no rows, a row is invalid, or the hub returns another number
            of rows than published.
    """
    raw = _read(dataset, source, model)
    rows = validate_rows(raw.rows, model)
    if not rows:
        raise ConfigurationError(f"{raw.name} has no rows.")
    complete = len(rows) == dataset.rows
    if source == "hub" and not complete:
        raise ConfigurationError(
            f"{raw.name} has {len(rows)} rows at revision {raw.revision}, not {dataset.rows}: "
            "clear the cache of the Hugging Face libraries, or pass a local copy with --data-file."
        )
    info = DatasetInfo(
        eval=dataset.name,
        source=raw.name,
        revision=raw.revision,
        rows=len(rows),
        sha256=rows_sha256(row.content() for row in rows),
        sample=source == "samples" or not complete,
        gated=dataset.gated and source != "samples",
    )
    return Loaded(rows, info)


def _read(dataset: PublishedDataset, source: DataSource, model: type[DataRow]) -> _Raw:
    if source == "hub":
        return _Raw(read_published(dataset, model), dataset.repository, dataset.revision)
    if source == "samples":
        shipped = resources.files("evals") / "data" / "samples" / dataset.sample
        with resources.as_file(shipped) as path:
            return _Raw(read_file(path, dataset.sample), f"samples/{dataset.sample}", None)
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        name, _, revision = source.removeprefix(HUB_PREFIX).partition("@")
        return _Raw(read_named(name, revision or None), HUB_PREFIX + name, revision or None)
    path = Path(source)
    files = [path / file for file in dataset.files] if path.is_dir() else [path]
    rows = tuple(row for file in files for row in read_file(file))
    return _Raw(rows, str(path), _known_revision(dataset, files))


def _known_revision(dataset: PublishedDataset, files: Sequence[Path]) -> str | None:
    """The published revision that `files` are identical to, if any."""
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    revisions = {dataset.known.get(checksum) for checksum in sums}
    return revisions.pop() if len(revisions) == 1 else None
