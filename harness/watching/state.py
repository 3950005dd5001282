"""Rounds, incidents and undelivered alerts in SQLite. One process at a time may use a file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.watching.records import Incident, Past, Round, Watched

VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS rounds (
    id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, started REAL NOT NULL,
    folder TEXT NOT NULL, planned TEXT NOT NULL, counts TEXT,
    requests INTEGER NOT NULL, cost REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS of_provider ON rounds (provider, started);
CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS past (provider TEXT PRIMARY KEY, content TEXT NOT NULL);
"""


class State:
    """The state of a watch; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises ConfigurationError if it is in use, or RunLogError."""
        self._path = path
        try:
            with os_errors(RunLogError, f"{path.parent} cannot be written"):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=0.5, isolation_level=None)
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("BEGIN EXCLUSIVE")
            (version,) = self._base.execute("PRAGMA user_version").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables or version == VERSION:
                for statement in _TABLES.strip().rstrip(";").split(";"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {VERSION}")
            self._base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise ConfigurationError(
                    f"{path} is used by another `gpt-oss-verify watch`; stop it, or use another "
                    "--out."
                ) from None
            raise ConfigurationError(
                f"{path} cannot be used: {error}; name another folder with --out."
            ) from None
        if tables and version != VERSION:
            raise ConfigurationError(
                f"{path} was written by another version of the tool; name another folder with "
                "--out."
            )

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def begin(self, provider: str, started: float, folder: str, planned: Sequence[str]) -> Round:
        """Record that a round is about to be sampled. Raises RunLogError."""
        with self._writing():
            row = self._base.execute(
                "INSERT INTO rounds (provider, started, folder, planned, requests, cost) "
                "VALUES (?, ?, ?, ?, 0, 0)",
                (provider, started, folder, json.dumps(planned)),
            )
        return Round(row.lastrowid or 0, provider, started, folder, tuple(planned))

    def discard(self, one: Round) -> None:
        """Delete a round that sampled nothing. Raises RunLogError."""
        with self._writing():
            self._base.execute("DELETE FROM rounds WHERE id = ?", (one.id,))

    def finish(
        self, one: Round, incidents: Iterable[Incident], alerts: Iterable[tuple[str, str]]
    ) -> None:
        """Store a judged round, its incidents, and alerts by sink. Raises RunLogError."""
        with self._writing():
            self._base.execute(
                "UPDATE rounds SET folder = ?, counts = ?, requests = requests + ?, "
                "cost = cost + ? WHERE id = ?",
                (one.folder, json.dumps(one.counts), one.requests, one.cost, one.id),
            )
            self._put(incidents)
            self._base.executemany("INSERT INTO outbox (sink, content) VALUES (?, ?)", alerts)

    def accept(self, provider: str, ended: Iterable[Incident], past: Past) -> None:
        """Store accepted incidents, and the past without their counts. Raises RunLogError."""
        with self._writing():
            self._put(ended)
            self._put_past(provider, past)

    def prune(self, provider: str, past: Past, before: float) -> None:
        """Replace judged rounds, and incidents that ended before a time, with their sums."""
        with self._writing():
            self._put_past(provider, past)
            self._base.execute(
                "DELETE FROM rounds WHERE provider = ? AND started < ? AND counts IS NOT NULL",
                (provider, before),
            )
            self._base.execute(
                "DELETE FROM incidents WHERE provider = ? AND json_extract(content, '$.ended') < ?",
                (provider, before),
            )

    def watched(self, provider: str) -> Watched:
        """The judged rounds, the incidents and the past of a provider."""
        found = self._base.execute(
            "SELECT content, id FROM incidents WHERE provider = ? ORDER BY id", (provider,)
        )
        incidents = []
        for content, number in found:
            values = json.loads(content) | {"id": number}
            values |= {name: tuple(values[name]) for name in ("before", "after")}
            incidents.append(Incident(**values))
        row = self._base.execute("SELECT content FROM past WHERE provider = ?", (provider,))
        past = Past(**json.loads((row.fetchone() or ("{}",))[0]))
        return Watched(provider, list(self._rounds(provider, judged=True)), incidents, past)

    def unfinished(self, provider: str) -> Round | None:
        """The round that was interrupted, if any."""
        return next(self._rounds(provider, judged=False), None)

    def used(self, provider: str, since: float) -> tuple[int, float]:
        """Requests and dollars of the rounds that began after a time."""
        found: tuple[int, float] = self._base.execute(
            "SELECT coalesce(sum(requests), 0), coalesce(sum(cost), 0) FROM rounds "
            "WHERE provider = ? AND started > ?",
            (provider, since),
        ).fetchone()
        return found

    def undelivered(self) -> list[tuple[int, str, str]]:
        """Number, sink and content of each alert that was not delivered, oldest first."""
        return self._base.execute("SELECT id, sink, content FROM outbox ORDER BY id").fetchall()

    def delivered(self, number: int) -> None:
        """Delete a delivered alert. Raises RunLogError."""
        with self._writing():
            self._base.execute("DELETE FROM outbox WHERE id = ?", (number,))

    def _put(self, incidents: Iterable[Incident]) -> None:
        self._base.executemany(
            "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?)",
            [(each.id or None, each.provider, json.dumps(asdict(each))) for each in incidents],
        )

    def _put_past(self, provider: str, past: Past) -> None:
        content = json.dumps(asdict(past))
        self._base.execute("INSERT OR REPLACE INTO past VALUES (?, ?)", (provider, content))

    def _rounds(self, provider: str, *, judged: bool) -> Iterator[Round]:
        found = self._base.execute(
            "SELECT id, provider, started, folder, planned, counts, requests, cost FROM rounds "
            "WHERE provider = ? AND (counts IS NOT NULL) = ? ORDER BY started, id",
            (provider, judged),
        )
        for number, name, started, folder, planned, counts, requests, cost in found:
            streams, known = tuple(json.loads(planned)), json.loads(counts or "{}")
            yield Round(number, name, started, folder, streams, known, requests, cost)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._base.execute("BEGIN IMMEDIATE")
            yield
            self._base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise RunLogError(f"{self._path} cannot be written: {error}.") from None
