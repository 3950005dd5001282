"""`rescored.jsonl`: appended reply by reply, so that a kill loses no finished one."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from harness.errors import RunLogError, os_errors
from harness.records.readings import RESCORED_FILE, ReaderInfo, Reading
from harness.run.run_log import opened


def read_readings(folder: Path) -> tuple[ReaderInfo, list[Reading]] | None:
    """Read who read the replies of a run, and the readings, without a torn last line.

    None if they were not read. Raises RunLogError.
    """
    path = folder / RESCORED_FILE
    if not path.exists() and not path.with_name(f"{path.name}.gz").exists():
        return None
    with os_errors(RunLogError, f"{path} cannot be read"), opened(path) as file:
        lines = [line for line in file if line.endswith(b"\n")]
    if not lines:
        return None
    try:
        return ReaderInfo.model_validate_json(lines[0]), [
            Reading.model_validate_json(line) for line in lines[1:]
        ]
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
        if before is not None and before[0] != reader:
            raise RunLogError(
                f"{self._path} has readings of {before[0].name} ({before[0].model}); remove it to "
                "read the replies again with another reader"
            )
        self.done = {reading.key for reading in before[1]} if before else set()
        with os_errors(RunLogError, f"{self._path} cannot be opened"):
            self._file = self._path.open("ab")
            if before is None:
                self._file.truncate(0)
                self._write([reader.model_dump_json().encode()])
            else:
                data = self._path.read_bytes()
                self._file.truncate(data.rfind(b"\n") + 1)

    def append(self, readings: Iterator[Reading] | list[Reading]) -> None:
        """Write readings; they survive a crash once this returns. Raises RunLogError."""
        with os_errors(RunLogError, f"{self._path} cannot be written"):
            self._write(
                [reading.model_dump_json(exclude_defaults=True).encode() for reading in readings]
            )

    def _write(self, lines: list[bytes]) -> None:
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
