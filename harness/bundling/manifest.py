"""What a bundle says of itself: what it holds, and what was taken out of the run and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from harness.errors import RunLogError
from harness.records.base import Record

MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1


class Removal(Record):
    """Something that was taken out: how many times, and why."""

    what: str
    why: str
    count: int


class Manifest(Record):
    """`manifest.json` of a bundle. Hashes are SHA-256, hexadecimal.

    With `run_members`, `replaced` and the hashes that withheld records carry, the chain and the
    seal of the run can be followed although the originals are not there.
    """

    version: int = MANIFEST_VERSION
    run: str
    tool_version: str = Field(description="the version that made the bundle and judged it")
    seal: str | None = Field(description="hash of the run's last seal")
    removals: tuple[Removal, ...]
    run_members: Mapping[str, str] = Field(
        description="hashes of those members of run.json, as they were, that were shortened"
    )
    replaced: Mapping[str, str] = Field(
        description="hashes of files, as they were, that were replaced by others of the same name"
    )
    withheld_records: Mapping[str, int] = Field(
        description="by log, how many records carry the hash of contents that were left out"
    )
    files: Mapping[str, str] = Field(description="hashes of the files in the bundle")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an opened bundle; None if the folder is none. Raises RunLogError."""
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError:
        raise RunLogError(f"{path} is damaged, or of another version of this tool.") from None
