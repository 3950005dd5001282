"""The seal of a run: one hash over its settings, the files of its tasks, and all its records."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError, RunLogError, os_errors
from harness.records.record import Record
from harness.records.runs import SCHEMA_VERSION, LogSeal, Seal
from harness.run.run_folder import CASES_FILE, GOLDEN_FILE, TOOLS_FILE
from harness.run.run_log import ROLLOUTS_FILE, read_members, write_run_json
from harness.storage import chain

SEALS = "seals"
_LOGS = (ROLLOUTS_FILE, "grades-*.jsonl")
_FILES = (CASES_FILE, TOOLS_FILE, GOLDEN_FILE, "questions-*.jsonl")


@dataclass
class Ending:
    """The `run.json` to write when the session ends; None keeps the current one."""

    info: Record | None = None


@contextmanager
def sealed(folder: Path) -> Iterator[Ending]:
    """Seal the run in `folder` when the block ends, with or without an error.

    `run.json` and the seal are written together, so that a process that is killed never leaves a
    finished run without a seal.

    Raises RunLogError if the run cannot be read or sealed, or an older version recorded it.
    """
    if read_members(folder).get("schema_version") != SCHEMA_VERSION:
        raise RunLogError(
            f"{folder} was recorded by an older version, and only that version can add records to "
            "it; this version can audit, recheck and compare it."
        )
    ending = Ending()
    try:
        yield ending
    except HarnessError:
        with suppress(RunLogError):  # The first error is the one that matters to the user.
            seal(folder)
        raise
    seal(folder, ending.info)


def seal(folder: Path, info: Record | None = None) -> None:
    """Write `run.json`, or `info` as `run.json`, sealed if it changed. Raises RunLogError."""
    members = read_members(folder) if info is None else info.model_dump(mode="json")
    seals = [Seal.model_validate(each) for each in members.get(SEALS, [])]
    last = seals[-1] if seals else None
    new = _new_seal(folder, members, last)
    unchanged = last is not None and (new.run, new.logs) == (last.run, last.logs)
    if not unchanged and any(log.records for log in new.logs.values()):
        seals.append(new)
    content = members | {SEALS: [each.model_dump(mode="json") for each in seals]}
    write_run_json(folder, orjson.dumps(content, option=orjson.OPT_INDENT_2))


def hash_of(one: Seal) -> str:
    """The correct hash of a seal."""
    return json_hash(one.model_dump(mode="json", exclude={"hash"}))


def member_hashes(members: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each member of `run.json` except the seals."""
    return {name: json_hash(value) for name, value in members.items() if name != SEALS}


def logs_of(folder: Path) -> list[Path]:
    """The logs in a run folder: rollouts, and the grades of each grader."""
    return sorted(path for pattern in _LOGS for path in folder.glob(pattern))


def file_hashes(folder: Path) -> dict[str, str]:
    """The hashes of cases, tools, questions and golden file. Raises RunLogError."""
    paths = (path for pattern in _FILES for path in sorted(folder.glob(pattern)))
    return {path.name: hash_of_file(path) for path in paths}


def hash_of_file(path: Path) -> str:
    """The hash of a file's bytes. Raises RunLogError."""
    with os_errors(RunLogError, f"{path} cannot be read"), path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _new_seal(folder: Path, members: Mapping[str, Any], last: Seal | None) -> Seal:
    new = Seal(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        run=json_hash(member_hashes(members)),
        files=file_hashes(folder),
        logs={path.name: _log_seal(path) for path in logs_of(folder)},
        before=last.hash if last else None,
        hash="",
    )
    return new.model_copy(update={"hash": hash_of(new)})


def _log_seal(path: Path) -> LogSeal:
    head = chain.beginning(path.name)
    records = unchained = 0
    with os_errors(RunLogError, f"{path} cannot be read"), path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                records += 1
                unchained += not chain.is_chained(line)
                head = chain.after(line, head)
    return LogSeal(records=records, chain=head.hex(), unchained=unchained)


def json_hash(value: object) -> str:
    """The hash of a JSON value; `run.json` is identified by the hash of its members' hashes."""
    return sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
