"""What a comparison and a history hold; `compare.json` and `--json` are these types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.records.analysis import CheckStatus, Decision
from harness.records.base import Record
from harness.records.scores import Estimate, Finding
from harness.statistics.differences import Difference

COMPARISON_VERSION = 1
HISTORY_VERSION = 1

EntryKind = Literal["smoke test", "eval", "baseline", "published"]
Unit = Literal["share", "seconds", "tokens/s", "tokens", "status", "decision"]


class Change(Record):
    """A setting, version or hash in which two runs differ; `here` is the run that is spoken of."""

    what: str
    here: str
    there: str


class Entry(Record):
    """One column: a run, a baseline file, or published figures.

    `label` is unique in its comparison. `place` is the folder or file as it was named; None for
    published figures. `differs` says in which settings the entry is not like the reference, and
    `notes` what else must be known before the two are compared.
    """

    label: str
    kind: EntryKind
    provider: str
    model: str
    place: str | None = None
    started_at: str | None = None
    tool_version: str | None = None
    decision: Decision | None = None
    complete: bool = True
    differs: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


class Measured(Record):
    """What one entry has in one row.

    `value` is on the scale of the row's unit, with its 95 % interval where there is one; `hits` of
    `total` is what a share was counted from. A check has a `status`, `reason` and `examples`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    total: int | None = None
    status: CheckStatus | None = None
    decision: Decision | None = None
    reason: str | None = None
    examples: tuple[Finding, ...] = ()


class Row(Record):
    """One measure of all entries, in their order; None where an entry has nothing of the kind.

    `name` says what is measured (`pass@5`, a check's id), `group` of what (`chat · streaming`).
    `differences` is None where nothing is tested: for the reference itself, and for rows that are
    only shown.
    """

    section: str
    name: str
    group: str | None = None
    unit: Unit
    about: str = ""
    cells: tuple[Measured | None, ...]
    differences: tuple[Difference | None, ...]
    differs: bool


class Flip(Record):
    """A case or question that one run solves and another does not, beyond chance.

    `here` and `there` are passed tries and tries; `p` is Fisher's, two-sided.
    """

    sample: str
    group: str
    here: tuple[int, int]
    there: tuple[int, int]
    p: float

    @property
    def better(self) -> bool:
        """Whether the run that is spoken of does better."""
        return self.here[0] * self.there[1] > self.there[0] * self.here[1]


class CheckChange(Record):
    """A check that failed in one of two runs and was judged and did not fail in the other.

    `here` and `there` are failures and what could be judged; `beyond_chance` says whether the
    difference of the two shares is more than luck, taken by itself.
    """

    id: str
    before: CheckStatus
    after: CheckStatus
    here: tuple[int, int]
    there: tuple[int, int]
    beyond_chance: bool


class ScoreChange(Record):
    """A group or score that differs from the previous run; `difference` is now minus before."""

    name: str
    difference: Difference


class News(Record):
    """What is new in a run since the previous one of the same provider with the same settings."""

    run: str
    previous: str
    previous_at: str
    broken: tuple[CheckChange, ...] = ()
    fixed: tuple[CheckChange, ...] = ()
    flips: tuple[Flip, ...] = ()
    scores: tuple[ScoreChange, ...] = ()

    @property
    def quiet(self) -> bool:
        """Whether nothing changed beyond chance."""
        return not (self.broken or self.fixed or self.flips or self.scores)


class EntryFlips(Record):
    """The cases that one entry and the reference answer differently beyond chance."""

    label: str
    flips: tuple[Flip, ...]


class Comparison(Record):
    """Runs side by side; what `compare.json` holds. `tested` counts the differences tested."""

    version: int = COMPARISON_VERSION
    tool_version: str
    against: str
    entries: tuple[Entry, ...]
    rows: tuple[Row, ...]
    tested: int
    flips: tuple[EntryFlips, ...] = ()
    news: tuple[News, ...] = ()


class HistoryPoint(Record):
    """One run in time.

    Rates are those of the weakest group with `k` tries, `latency` is the median request of the
    slowest group in seconds. `changed` is what differs from the run before in settings that can
    move a result; `gap_days` is set where the run came unusually late after it.
    """

    run: str
    place: str
    started_at: str
    model: str
    decision: Decision | None
    complete: bool
    tool_version: str
    k: int | None = None
    pass_at: Estimate | None = None
    pass_hat: Estimate | None = None
    failed_checks: int | None = None
    tokens: int = 0
    latency: float | None = None
    scores: Mapping[str, Estimate] = {}
    changed: tuple[Change, ...] = ()
    gap_days: float | None = None


class Line(Record):
    """All runs of one provider and kind, the oldest first."""

    provider: str
    kind: Literal["smoke test", "eval"]
    points: tuple[HistoryPoint, ...]


class History(Record):
    """All runs of a folder in time; `unread` says, a sentence each, what could not be read."""

    version: int = HISTORY_VERSION
    folder: str
    lines: tuple[Line, ...]
    unread: tuple[str, ...] = ()
