"""A walk through a log, line by line: its chain, its ids, its times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.auditing.findings import Breach, BreachKind, LogState
from harness.errors import RunLogError
from harness.records.runs import LogSeal
from harness.storage import chain


class Walk:
    """What a log says of itself.

    Attributes:
        ids: How often each id is recorded.
        breaches: What is wrong in the log alone.
        torn: Bytes after the last whole line.
    """

    def __init__(self, path: Path, counts: Collection[int]) -> None:
        """Walk through the log; `counts` are numbers of lines after which the chain is noted.

        Raises:
            RunLogError: It cannot be read.
        """
        self.name = path.name
        self.ids: Counter[str] = Counter()
        self.breaches: list[Breach] = []
        self.torn = 0
        self._counts = counts
        self._head = chain.beginning(path.name)
        self._heads = {0: self._head}
        self._records = self._unchained = self._withheld = 0
        self._times: list[str] = []
        try:
            with path.open("rb") as file:
                for line in file:
                    self._take(line)
        except OSError as error:
            raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
        self._look_for_repeats()

    @property
    def state(self) -> LogState:
        """What the log holds."""
        return LogState(
            name=self.name,
            records=self._records,
            unchained=self._unchained,
            withheld=self._withheld,
            first=min(self._times, default=None),
            last=max(self._times, default=None),
        )

    def fits(self, sealed: LogSeal) -> str | None:
        """What keeps the log from beginning with what was sealed, if anything does."""
        short = sealed.records - self._records
        if short > 0:
            return f"{short} of {sealed.records} sealed records are missing"
        if self._heads[sealed.records].hex() != sealed.chain:
            return f"its first {sealed.records} records are not those that were sealed"
        if min(self._unchained, sealed.records) != sealed.unchained:
            return "lines have lost their place in the chain"
        return None

    def beyond(self, sealed: LogSeal) -> int:
        """How many records there are after those sealed."""
        return self._records - sealed.records

    def _take(self, line: bytes) -> None:
        if not line.endswith(b"\n"):
            self.torn = len(line)
            return
        self._records += 1
        link = chain.read_link(line)
        bare = link.chain is None
        if not link.follows(self._head) or (bare and self._unchained < self._records - 1):
            self._add("chain", "does not follow on the line before it")
        self._unchained += bare
        self._withheld += link.withheld
        self._head = link.chain or chain.following(self._head, link.digest)
        if self._records in self._counts:
            self._heads[self._records] = self._head
        self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record: Mapping[str, Any] = orjson.loads(line)
            self.ids[str(record["id"])] += 1
            times = [str(exchange["started_at"]) for exchange in record["exchanges"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self._add("record", "is no record")
            return
        if times:
            ends = [*self._times, times[0], times[-1]]
            self._times = [min(ends), max(ends)]

    def _look_for_repeats(self) -> None:
        for name, count in self.ids.items():
            if count > 1:
                message = f"{name} is recorded {count} times; only the first was judged"
                self.breaches.append(Breach(kind="repeated", where=self.name, message=message))

    def _add(self, kind: BreachKind, message: str) -> None:
        where = f"{self.name}, line {self._records}"
        self.breaches.append(Breach(kind=kind, where=where, message=message))
