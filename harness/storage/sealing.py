"""The seal of a run: one hash for its settings, its cases or questions, and all its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError, RunLogError
from harness.records.base import Record
from harness.records.runs import LogSeal, Seal
from harness.storage import chain
from harness.storage.run_folder import CASES_FILE, GOLDEN_FILE, TOOLS_FILE
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE, write_run_json

SEALS = "seals"
_LOGS = (ROLLOUTS_FILE, "grades-*.jsonl")
_FILES = (CASES_FILE, TOOLS_FILE, GOLDEN_FILE, "questions-*.jsonl")


@dataclass
class Ending:
    """What `run.json` is to say once the block is over; None to leave it as it is."""

    info: Record | None = None


@contextmanager
def sealed(folder: Path) -> Iterator[Ending]:
    """Seal the run in `folder` at the end of the block, however that ends.

    What the block notes as its ending is written together with the seal: no process can be killed
    between the two and leave a finished run without one.

    Raises:
        RunLogError: The run cannot be read, or the seal not be written.
    """
    ending = Ending()
    try:
        yield ending
    except HarnessError as stop:
        try:
            seal(folder)
        except RunLogError:
            # Whatever made the block fail is what the user has to know.
            raise stop from None
        raise
    seal(folder, ending.info)


def seal(folder: Path, info: Record | None = None) -> None:
    """Add a seal of the present state to `run.json`, unless nothing was recorded or has changed.

    Args:
        folder: The run's.
        info: What `run.json` is to say, if not what it says.

    Raises:
        RunLogError: The run cannot be read, or the seal not be written.
    """
    members = read_members(folder) if info is None else info.model_dump(mode="json")
    earlier = [Seal.model_validate(one) for one in members.get(SEALS, [])]
    before = earlier[-1] if earlier else None
    made = _made(folder, members, before)
    same = before is not None and made.run == before.run and made.logs == before.logs
    empty = not any(log.records for log in made.logs.values())
    seals = earlier if same or empty else [*earlier, made]
    whole = members | {SEALS: [one.model_dump(mode="json") for one in seals]}
    write_run_json(folder, orjson.dumps(whole, option=orjson.OPT_INDENT_2))


def hash_of(one: Seal) -> str:
    """What the hash of a seal must be."""
    return sha256(_canonical(one.model_dump(mode="json", exclude={"hash"}))).hexdigest()


def member_hashes(members: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each member of `run.json` but the seals, in canonical JSON."""
    return {
        name: sha256(_canonical(value)).hexdigest()
        for name, value in members.items()
        if name != SEALS
    }


def run_hash(members: Mapping[str, str]) -> str:
    """The hash of `run.json`, from those of its members."""
    return sha256(_canonical(members)).hexdigest()


def read_members(folder: Path) -> dict[str, Any]:
    """The members of `run.json` as JSON values. Raises RunLogError."""
    path = folder / RUN_FILE
    try:
        members = orjson.loads(path.read_bytes())
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise RunLogError(f"{path} is damaged: {error}.") from None
    if not isinstance(members, dict):
        raise RunLogError(f"{path} is damaged: it is not a JSON object.")
    return members


def logs_of(folder: Path) -> list[Path]:
    """The logs in a run folder: rollouts, and the grades of each grader."""
    return sorted(path for pattern in _LOGS for path in folder.glob(pattern))


def file_hashes(folder: Path) -> dict[str, str]:
    """The hashes of the files that say what was asked. Raises RunLogError."""
    return {
        path.name: hash_of_file(path) for pattern in _FILES for path in sorted(folder.glob(pattern))
    }


def hash_of_file(path: Path) -> str:
    """The hash of a file's bytes. Raises RunLogError."""
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None


def _made(folder: Path, members: Mapping[str, Any], before: Seal | None) -> Seal:
    one = Seal(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        run=run_hash(member_hashes(members)),
        files=file_hashes(folder),
        logs={path.name: _log_seal(path) for path in logs_of(folder)},
        before=before.hash if before else None,
        hash="",
    )
    return one.model_copy(update={"hash": hash_of(one)})


def _log_seal(path: Path) -> LogSeal:
    head = chain.beginning(path.name)
    records = unchained = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    records += 1
                    unchained += not chain.is_chained(line)
                    head = chain.after(line, head)
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    return LogSeal(records=records, chain=head.hex(), unchained=unchained)


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
