"""`rescored.jsonl`: appended reply by reply, so that a kill loses no finished one."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import ValidationError

from harness.errors import RunLogError, os_errors
from harness.records.readings import RESCORED_FILE, PromptFault, ReaderInfo, Reading
from harness.records.record import Record
from harness.run.run_log import COMPRESSED, opened

_CAUSE = b'{"fault"'  # the beginning of its line


class ReadRun(NamedTuple):
    """What was read of a run: by whom, what was found, and which fault explains it."""

    reader: ReaderInfo
    readings: list[Reading]
    cause: PromptFault | None = None


def read_readings(folder: Path) -> ReadRun | None:
    """Read the file of a run, without a torn last line; None without one. Raises RunLogError."""
    path = folder / RESCORED_FILE
    if not path.exists() and not path.with_name(f"{path.name}{COMPRESSED}").exists():
        return None
    with os_errors(RunLogError, f"{path} cannot be read"), opened(path) as file:
        lines = [line for line in file if line.endswith(b"\n")]
    if not lines:
        return None
    try:
        causes = [line for line in lines[1:] if line.startswith(_CAUSE)]
        readings = [line for line in lines[1:] if not line.startswith(_CAUSE)]
        return ReadRun(
            ReaderInfo.model_validate_json(lines[0]),
            [Reading.model_validate_json(line) for line in readings],
            PromptFault.model_validate_json(causes[-1]) if causes else None,
        )
    except ValidationError:
        raise RunLogError(
            f"{path} is damaged or was written by another version; remove it, and read the "
            f"replies again: gpt-oss-verify rescore {folder}"
        ) from None


class RescoredLog:
    """Appends readings to the file of a run; opening it removes a torn last line.

    Attributes:
        done: The keys of the replies that were read before.
    """

    def __init__(self, folder: Path, reader: ReaderInfo) -> None:
        """Open or create the file. Raises RunLogError if another reader wrote it."""
        self._path = folder / RESCORED_FILE
        before = read_readings(folder)
        if before is not None and before.reader != reader:
            raise RunLogError(
                f"{self._path} has readings of {before.reader.name} ({before.reader.model}); "
                "remove it to read the replies again with another reader"
            )
        self.done = {reading.key for reading in before.readings} if before else set()
        with os_errors(RunLogError, f"{self._path} cannot be opened"):
            self._file = self._path.open("ab")
            whole = self._path.read_bytes().rfind(b"\n") + 1 if before else 0
            self._file.truncate(whole)
        if before is None:
            self._write(reader)

    def append(self, readings: Sequence[Reading]) -> None:
        """Write readings; they survive a crash once this returns. Raises RunLogError."""
        self._write(*readings)

    def append_cause(self, cause: PromptFault) -> None:
        """Write what explains the readings. Raises RunLogError."""
        self._write(cause)

    def _write(self, *records: Record) -> None:
        lines = (record.model_dump_json(exclude_defaults=True).encode() for record in records)
        with os_errors(RunLogError, f"{self._path} cannot be written"):
            self._file.write(b"".join(line + b"\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
