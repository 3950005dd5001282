"""Measured baselines: the scores of a run, question by question, in a file that can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evals.judgement import CellScores
from harness.errors import ConfigurationError
from harness.records.base import Record

BASELINE_VERSION: Literal[1] = 1


class MeasuredBaseline(Record):
    """A baseline file. It holds ids and scores of questions, never their text.

    `provider` is the name of the provider that was measured; `created_at` is ISO 8601 UTC.
    """

    kind: Literal["gpt-oss-verify baseline"] = "gpt-oss-verify baseline"
    version: Literal[1] = BASELINE_VERSION
    tool_version: str
    provider: str
    created_at: str
    cells: tuple[CellScores, ...]


def create_baseline(
    cells: Sequence[CellScores], provider: str, tool_version: str, created_at: datetime
) -> MeasuredBaseline:
    """Make a baseline of a finished run.

    Raises:
        ConfigurationError: If the run has no scores, or is not finished.
    """
    if not cells:
        raise ConfigurationError("A run without scores is no baseline; run an eval first.")
    for scores in cells:
        if scores.missing:
            raise ConfigurationError(
                f"{scores.missing} planned tries of {scores.cell.name} are missing; finish the run"
                " (resume it) before making it a baseline."
            )
    return MeasuredBaseline(
        tool_version=tool_version,
        provider=provider,
        created_at=created_at.isoformat(timespec="seconds"),
        cells=tuple(cells),
    )


def write_baseline(baseline: MeasuredBaseline, path: Path) -> None:
    """Write a baseline file.

    Raises:
        ConfigurationError: If it cannot be written there.
    """
    try:
        path.write_text(baseline.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"The baseline cannot be written to {path}: {error.strerror}."
        ) from error


def read_baseline(path: Path) -> MeasuredBaseline:
    """Read a baseline file.

    Raises:
        ConfigurationError: If it is not there, or is no baseline of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"The baseline {path} cannot be read: {reason}.") from error
    try:
        return MeasuredBaseline.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(
            f"{path} is no baseline of version {BASELINE_VERSION} ({place}: {first['msg']});"
            " make one with `gpt-oss-verify baseline create RUN`."
        ) from error
