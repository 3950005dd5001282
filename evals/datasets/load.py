"""From a place to checked rows: the hub, a local file or folder, or the samples we ship."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Generic, Literal, TypeAlias

from evals.datasets.files import RawRow, read_file
from evals.datasets.hub import read_hub
from evals.datasets.identity import rows_sha256
from evals.datasets.rows import RowT, read_rows
from evals.datasets.sources import Source
from harness.errors import ConfigurationError
from harness.records.runs import DatasetInfo

Place: TypeAlias = Literal["hub", "samples"] | Path


@dataclass(frozen=True)
class Loaded(Generic[RowT]):
    """The rows of a data set, and what they are."""

    rows: tuple[RowT, ...]
    info: DatasetInfo


@dataclass(frozen=True)
class _Raw:
    """Rows before they are checked, where they are from, and the revision if it is known."""

    rows: tuple[RawRow, ...]
    name: str
    revision: str | None


def load_rows(source: Source, place: Place, model: type[RowT]) -> Loaded[RowT]:
    """Read a data set and check it.

    A local copy that has not as many rows as the published set is taken, but counts as a sample.

    Args:
        source: The published data set.
        place: Where to read it: the hub, our samples, a local file, or a local folder that holds
            the files under their published names.
        model: What a row must be.

    Raises:
        ConfigurationError: If there is nothing to read, a row is bad, or the hub's rows are not
            as many as were published.
    """
    raw = _read(source, place)
    rows = read_rows(raw.rows, model)
    if not rows:
        raise ConfigurationError(f"{raw.name} holds no rows.")
    whole = len(rows) == source.rows
    if place == "hub" and not whole:
        raise ConfigurationError(
            f"{raw.name} has {len(rows)} rows at revision {raw.revision}, not {source.rows}: "
            "clear the cache of the Hugging Face libraries, or give a local copy with --data-file."
        )
    info = DatasetInfo(
        eval=source.name,
        source=raw.name,
        revision=raw.revision,
        rows=len(rows),
        sha256=rows_sha256(row.content() for row in rows),
        sample=place == "samples" or not whole,
        gated=source.gated and place != "samples",
    )
    return Loaded(rows, info)


def _read(source: Source, place: Place) -> _Raw:
    if place == "hub":
        return _Raw(read_hub(source), source.repository, source.revision)
    if place == "samples":
        shipped = resources.files("evals") / "data" / "samples" / source.sample
        with resources.as_file(shipped) as path:
            return _Raw(read_file(path, source.sample), f"samples/{source.sample}", None)
    files = [place / file for file in source.files] if place.is_dir() else [place]
    rows = tuple(row for file in files for row in read_file(file))
    return _Raw(rows, str(place), _known_revision(source, files))


def _known_revision(source: Source, files: Sequence[Path]) -> str | None:
    """The published revision that `files` are byte for byte, if they are known."""
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    revisions = {source.known.get(checksum) for checksum in sums}
    return revisions.pop() if len(revisions) == 1 else None
