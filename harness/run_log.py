"""The run folder on disk: `run.json` and the append-only `rollouts.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.records import Rollout, RunInfo

RUN_FILE = "run.json"
ROLLOUTS_FILE = "rollouts.jsonl"


def write_run_info(folder: Path, info: RunInfo) -> None:
    """Write `run.json`, replacing an older one in one step. Raises RunLogError."""
    raise NotImplementedError


def read_run_info(folder: Path) -> RunInfo:
    """Read `run.json`. Raises RunLogError if there is none or it is not ours."""
    raise NotImplementedError


def read_rollouts(folder: Path) -> Iterator[Rollout]:
    """The finished rollouts of a run one by one, in the order they finished, each id once.

    A torn last line is passed over. Raises RunLogError naming the line if any other is damaged.
    """
    raise NotImplementedError


class RunLog:
    """Appends finished rollouts to a run folder; opening it heals a torn last line.

    Only one process at a time can hold the log of a run. Use as a context manager.
    """

    finished: set[str]

    def __init__(self, folder: Path) -> None:
        """Open or create the log. Raises RunLogError."""
        raise NotImplementedError

    def append(self, rollout: Rollout) -> None:
        """Write one rollout; it survives the death of the process once this returns.

        A rollout whose id is already there is ignored. Raises RunLogError, for instance when the
        disk is full; the log then still holds exactly the rollouts appended before.
        """
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError
