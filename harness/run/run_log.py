"""`run.json`, and append-only logs such as `rollouts.jsonl`."""

import fcntl
import gzip
import os
import re
import time
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self, cast

import orjson
from pydantic import TypeAdapter

from harness.errors import RunLogError, os_errors
from harness.records.record import Record, problem_of
from harness.records.rollouts import Rollout
from harness.records.runs import SCHEMA_VERSION, RunInfo

RUN_FILE = "run.json"
ROLLOUTS_FILE = "rollouts.jsonl"
COMPRESSED = ".gz"  # the ending of the large files of a published run
SECONDS_BETWEEN_SYNCS = 2.0
_ROLLOUT = TypeAdapter(Rollout)
_ID = re.compile(rb'\{"id":"([^"\\]*)"')
"""The id at the beginning of a line, if it has no escapes."""


def write_run_info(folder: Path, info: Record) -> None:
    """Write `run.json`, replacing an older one atomically. Raises RunLogError."""
    with replacing(folder / RUN_FILE) as file:
        file.write(info.model_dump_json(indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A draft that atomically replaces a file at the end of the block. Raises RunLogError."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise RunLogError(f"{path} cannot be written: {error.strerror}.") from None


def read_run_info(folder: Path) -> RunInfo:
    """Read `run.json`. Raises RunLogError."""
    path = folder / RUN_FILE
    try:
        content = path.read_bytes()
        members = orjson.loads(content)
        version = members.get("schema_version") if isinstance(members, dict) else None
        if version not in (None, SCHEMA_VERSION):
            raise RunLogError(
                f"{path} has schema version {version}, but this tool reads {SCHEMA_VERSION}; use "
                "the version of the tool that wrote it"
            )
        return RunInfo.model_validate_json(content)
    except (FileNotFoundError, NotADirectoryError):
        raise RunLogError(
            f"{folder} is not a run folder: it has no {RUN_FILE}"
            if folder.exists()
            else f"There is no folder {folder}."
        ) from None
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise RunLogError(f"{path} is damaged: Invalid JSON: {error}") from None
    except ValueError as error:
        raise RunLogError(f"{path} is damaged: {problem_of(error)}") from None


def read_rollouts(folder: Path, name: str = ROLLOUTS_FILE) -> Iterator[Rollout]:
    """Yield the rollouts of a log, each id once, without a torn last line. Raises RunLogError."""
    seen: set[str] = set()
    for rollout, _ in new_rollouts(folder, name=name):
        if rollout.id not in seen:
            seen.add(rollout.id)
            yield rollout


def new_rollouts(
    folder: Path,
    start: int = 0,
    *,
    name: str = ROLLOUTS_FILE,
    chosen: Collection[str] | None = None,
) -> Iterator[tuple[Rollout, int]]:
    """Yield the lines of a log from `start`, each with its end in bytes; no torn last line.

    The log may grow meanwhile. `start` is the end of a line. Lines that begin with an id that is
    not in `chosen` are left out. Raises RunLogError.

    orjson and then pydantic take two thirds of the time that pydantic takes to read JSON.
    """
    path, end = folder / name, start
    with os_errors(RunLogError, f"{path} cannot be read"), opened(path) as file:
        file.seek(start)
        for line in file:
            end += len(line)
            begun = None if chosen is None else _ID.match(line)
            left_out = begun and begun[1].decode(errors="replace") not in (chosen or ())
            if left_out or line == b"\n":
                continue
            try:
                record = Rollout.model_validate(orjson.loads(line))
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                number = path.read_bytes()[:end].count(b"\n")
                raise RunLogError(
                    f"{path}, line {number} is damaged: {problem_of(error)}"
                ) from None
            yield record, end
            if not line.endswith(b"\n"):
                return


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, or the compressed file that a published run has instead.

    Raises OSError, also if the compressed file is damaged.
    """
    packed = path.with_name(f"{path.name}{COMPRESSED}")
    try:
        if path.exists() or not packed.exists():
            with path.open("rb") as file:
                yield file
        else:
            with gzip.open(packed) as unpacked:
                yield cast("BinaryIO", unpacked)
    except (EOFError, zlib.error):
        raise OSError(None, "the compressed data is damaged") from None


def read_chosen(folder: Path, ids: Collection[str]) -> Iterator[Rollout]:
    """Yield the rollouts with these ids, each once; of other lines, only the id is read.

    Raises RunLogError.
    """
    left = set(ids)
    for rollout, _ in new_rollouts(folder, chosen=left):
        if rollout.id in left:
            left.remove(rollout.id)
            yield rollout


def log_files(folder: Path) -> list[Path]:
    """Return the logs in a run folder: rollouts, and the grades of each grader."""
    rollouts = [folder / ROLLOUTS_FILE] if any(folder.glob(f"{ROLLOUTS_FILE}*")) else []
    return sorted([*rollouts, *folder.glob("grades-*.jsonl")])


class RunLog:
    """Appends finished rollouts to a file in a run folder; opening it removes a torn last line.

    Only one process at a time can open a log. Use as a context
    manager.

    Attributes:
        finished: The ids that were in the log when it was opened. Appended ones are only counted,
            so that memory does not grow with the run.
        count: How many rollouts are in the log.
    """

    def __init__(self, folder: Path, name: str = ROLLOUTS_FILE) -> None:
        """Open or create the log. Raises RunLogError."""
        self._path = folder / name
        with os_errors(RunLogError, f"{self._path} cannot be opened"):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ids, self._size = _scan(self._path)
            os.ftruncate(self._file, self._size)
        except BlockingIOError:
            os.close(self._file)
            raise RunLogError(
                f"{self._path} is being written by another process; wait for it, or stop it"
            ) from None
        except BaseException:
            os.close(self._file)
            raise
        self.finished = frozenset(ids)
        self.count = len(ids)
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="fsync")
        self._syncing: Future[None] | None = None
        self._synced_at = time.monotonic()

    def append(self, rollout: Rollout) -> None:
        """Write one rollout; it survives a crash of the process once this returns.

        A rollout that was in the log when it was opened is ignored. Raises RunLogError, for
        example if the disk is full; the log then has exactly the rollouts appended before.
        """
        if rollout.id in self.finished:
            return
        line = _ROLLOUT.dump_json(rollout) + b"\n"
        try:
            self._write(line)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise self._failed(error) from error
        self._size += len(line)
        self.count += 1

    def _write(self, line: bytes) -> None:
        """Write all of `line`, and sync to disk periodically.

        A slow disk must not block the event loop, because recorded arrival times would be wrong.
        """
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if time.monotonic() - self._synced_at < SECONDS_BETWEEN_SYNCS:
            return
        if self._syncing is None or self._syncing.done():
            if self._syncing is not None:
                self._syncing.result()
            self._syncing = self._syncer.submit(os.fsync, self._file)
            self._synced_at = time.monotonic()

    def _failed(self, error: OSError) -> RunLogError:
        return RunLogError(
            f"{self._path} cannot be written: {error.strerror}; the {self.count} "
            f"finished attempts are kept; fix the problem and continue with --resume "
            f"{self._path.parent}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._syncer.shutdown()
        try:
            os.fsync(self._file)
        except OSError as failed:
            raise self._failed(failed) from failed
        finally:
            os.close(self._file)


def _scan(path: Path) -> tuple[set[str], int]:
    """Return the ids in a log, and the length of its intact part. Raises RunLogError."""
    finished: set[str] = set()
    size = 0
    with os_errors(RunLogError, f"{path} cannot be read"), path.open("rb") as file:
        whole = os.fstat(file.fileno()).st_size
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    break
                finished.add(str(orjson.loads(line)["id"]))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                if size + len(line) == whole:  # the last line
                    break
                problem = f"{path}, line {number} is damaged; restore or remove it"
                raise RunLogError(problem) from None
            size += len(line)
    return finished, size
