"""A run folder as an audit sees it: run.json with its seals, the logs, a bundle's manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.auditing.logs import Walk
from harness.bundling.manifest import Manifest, read_manifest
from harness.errors import RunLogError
from harness.records.runs import Seal
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE
from harness.storage.sealing import logs_of, member_hashes, read_members, run_hash


class RunHead(BaseModel):
    """What `run.json` has for every kind of run."""

    tool_version: str
    planned: int
    started_at: str
    finished_at: str | None = None
    ended: str | None = None
    resumed: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    merged_seals: tuple[str | None, ...] = ()
    seals: tuple[Seal, ...] = ()


@dataclass(frozen=True)
class Folder:
    """A run folder as it was read for an audit; `members` are those of its `run.json`."""

    path: Path
    members: dict[str, Any]
    head: RunHead
    walks: tuple[Walk, ...]
    manifest: Manifest | None

    @property
    def seals(self) -> tuple[Seal, ...]:
        """Its seals, oldest first."""
        return self.head.seals

    @property
    def finished(self) -> bool:
        """Whether all was sampled that was to be."""
        return self.head.finished_at is not None

    @property
    def judged_by(self) -> str:
        """The version that judged the run first; for a bundle the one that packed it."""
        packed = self.manifest.tool_version if self.manifest else None
        return packed or self.head.tool_version

    @property
    def unsealed(self) -> int:
        """How many records there are beyond the last seal."""
        sealed = self.seals[-1].logs if self.seals else {}
        return sum(
            walk.beyond(sealed[walk.name]) if walk.name in sealed else walk.state.records
            for walk in self.walks
        )

    @property
    def as_sealed(self) -> bool:
        """Whether run.json is as sealed last; a bundle has the hashes of what it shortened."""
        hashes = member_hashes(self.members)
        if self.manifest is not None:
            hashes |= self.manifest.run_members
        return bool(self.seals) and run_hash(hashes) == self.seals[-1].run

    @property
    def cut(self) -> bool:
        """Whether the last sitting was killed, so that no seal speaks of it."""
        if self.finished or not self.seals:
            return not self.finished
        begun = self.head.resumed[-1:] >= (self.seals[-1].at,)
        return self.unsealed > 0 or (begun and not self.as_sealed)


def read_folder(path: Path) -> Folder:
    """Read what an audit looks at. Raises RunLogError if it cannot be read."""
    members = read_members(path)
    try:
        head = RunHead.model_validate(members)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise RunLogError(f"{path / RUN_FILE} is damaged: {place} cannot be read.") from None
    logs = logs_of(path)
    if not any(log.name == ROLLOUTS_FILE for log in logs):
        raise RunLogError(f"{path} has no {ROLLOUTS_FILE}: there is nothing to audit.")
    counts = {
        log.name: {one.logs[log.name].records for one in head.seals if log.name in one.logs}
        for log in logs
    }
    walks = tuple(Walk(log, counts[log.name]) for log in logs)
    return Folder(path, members, head, walks, read_manifest(path))
