"""One pass over a log for an audit: its hash chain, its ids, its times."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import orjson

from harness.errors import RunLogError, os_errors
from harness.integrity.records import AuditProblem, LogState, ProblemKind
from harness.records.runs import LogSeal
from harness.storage import chain


class ScannedLog:
    """The facts about one log."""

    def __init__(self, path: Path, sealed_at: Collection[int]) -> None:
        """Scan a log, given the numbers of lines at which seals were made. Raises RunLogError."""
        self.name = path.name
        self.ids: Counter[str] = Counter()  # how often each id is recorded
        self.torn = 0  # bytes after the last complete line
        self._problems: list[AuditProblem] = []
        self._head = chain.beginning(path.name)
        self._sealed = {0: self._head} | dict.fromkeys(sealed_at, b"")
        self._records = self._unchained = self._withheld = 0
        self._first: str | None = None
        self._last: str | None = None
        with os_errors(RunLogError, f"{path} cannot be read"), path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._add(line)
                else:
                    self.torn = len(line)

    @property
    def state(self) -> LogState:
        """A summary of the log."""
        return LogState(
            name=self.name,
            records=self._records,
            unchained=self._unchained,
            withheld=self._withheld,
            first=self._first,
            last=self._last,
        )

    def problems(self) -> Iterator[AuditProblem]:
        """The problems that are visible in the log alone."""
        yield from self._problems
        for name, count in self.ids.items():
            if count > 1:
                message = f"{name} is recorded {count} times; only the first record was judged"
                yield AuditProblem(kind="duplicate", where=self.name, message=message)

    def difference(self, sealed: LogSeal) -> str | None:
        """How the beginning of the log differs from its seal; None if it does not."""
        missing = sealed.records - self._records
        if missing > 0:
            return f"{missing} of {sealed.records} sealed records are missing"
        if self._sealed[sealed.records].hex() != sealed.chain:
            return f"the first {sealed.records} records differ from the sealed ones"
        if min(self._unchained, sealed.records) != sealed.unchained:
            return "the chain hashes of some lines were removed"
        return None

    def unsealed(self, sealed: LogSeal | None) -> int:
        """The number of records after the sealed ones."""
        return self._records - (sealed.records if sealed else 0)

    def _add(self, line: bytes) -> None:
        self._records += 1
        link = chain.read_link(line)
        unchained = link.chain is None
        if not link.follows(self._head) or (unchained and self._unchained < self._records - 1):
            self._report("chain", "does not continue the hash chain of the line before it")
        self._unchained += unchained
        self._withheld += link.withheld
        self._head = link.chain or chain.following(self._head, link.digest)
        if self._records in self._sealed:
            self._sealed[self._records] = self._head
        try:
            record = orjson.loads(line)
            self.ids[str(record["id"])] += 1
            times = [str(exchange["started_at"]) for exchange in record["exchanges"]]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self._report("record", "is not a rollout")
            return
        if times:
            self._first = min(self._first or times[0], times[0])
            self._last = max(self._last or times[-1], times[-1])

    def _report(self, kind: ProblemKind, message: str) -> None:
        where = f"{self.name}, line {self._records}"
        self._problems.append(AuditProblem(kind=kind, where=where, message=message))
