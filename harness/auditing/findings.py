"""What an audit of a run finds. These types are written by `audit --json`; no behaviour."""

from __future__ import annotations

from typing import Literal

from harness.records.base import Record

AUDIT_VERSION = 1

BreachKind = Literal[
    "chain", "record", "repeated", "absent", "seal", "settings", "files", "judgement"
]
Conclusion = Literal["sound", "not sealed", "broken"]


class Breach(Record):
    """One thing that is not as it was recorded.

    `chain`: a line does not follow on the one before it. `record`: a line cannot be read.
    `repeated`: an attempt is recorded more than once. `absent`: planned attempts of a finished run
    are not there. `seal`: the records are not those sealed, or the seal is not the one expected.
    `settings`, `files`: run.json, or the cases and questions, are not as sealed. `judgement`: the
    analysis or a report does not follow from the records.
    """

    kind: BreachKind
    where: str
    message: str


class LogState(Record):
    """What a log holds. Times are those of its first and last request, ISO 8601 UTC.

    `unchained` counts the lines at its beginning that a version without chains wrote, `withheld`
    those whose contents were left out of a bundle.
    """

    name: str
    records: int
    unchained: int
    withheld: int
    first: str | None
    last: str | None


class Audit(Record):
    """The audit of one run.

    `sound`: everything is as it was when the run was sealed. `not sealed`: nothing is wrong, but
    nothing vouches for all of it: an older version made the run, or it was killed. `broken`: there
    are breaches.

    `seal` is the run's own; `expected` the one that it was held against, None if none was given.
    `ended` has the times at which sittings were sealed, `resumed` those of `--resume`.
    """

    version: int = AUDIT_VERSION
    run: str
    tool_version: str
    audited_by: str
    bundle: bool
    conclusion: Conclusion
    seal: str | None
    expected: str | None
    started: str
    finished: str | None
    ended: tuple[str, ...]
    resumed: tuple[str, ...]
    planned: int
    logs: tuple[LogState, ...]
    breaches: tuple[Breach, ...]
    notes: tuple[str, ...]
