"""The types of comparisons; `--json` prints them."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from harness.compare.differing_settings import SettingChange
from harness.records.analysis import RuleStatus
from harness.records.figures import Decision
from harness.records.record import Record
from harness.records.scores import Finding
from harness.statistics.differences import Difference

COMPARISON_VERSION = 4

VERDICTS = "Verdict"
RATES = "Pass rates"
SCORES = "Scores"
OUTCOMES = "Outcomes"
TIMES = "Times"
CHECKS = "Checks: "
JUDGED = frozenset({"passed", "warned", "failed", "declared"})
"""Statuses of a check that had something to judge."""

EntryKind = Literal["run", "log", "baseline", "published"]
Unit = Literal["share", "seconds", "tokens/s", "tokens", "status", "decision"]
_ADDRESS = re.compile(r"(?:localhost|\d+(?:\.\d+){3}|\[.*\]|(?:[\w-]+\.)+[a-z]{2,})[:-]\d{2,5}")


class ComparedEntry(Record):
    """One column: a run, a log, a baseline file, or a published baseline.

    `label` is unique in its comparison. `place` is the folder or file as given; None for a
    published baseline. `reason` is the first reason of the verdict, and `causes` describes the
    likely causes of its findings. `differs` has the settings that differ from the reference, and
    `notes` what limits the comparison.
    """

    label: str
    kind: EntryKind
    provider: str
    model: str
    tasks: tuple[str, ...] = ()
    place: str | None = None
    started_at: str | None = None
    tool_version: str | None = None
    decision: Decision | None = None
    findings_only: bool = Field(default=False, description="recorded traffic without a verdict")
    found: bool = Field(default=True, description="whether a rule has findings")
    reason: str | None = None
    causes: tuple[str, ...] = ()
    complete: bool = True
    differs: tuple[SettingChange, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unnamed(self) -> bool:
        """Whether the provider is only known by its host and port: `127.0.0.1-8000`."""
        return _ADDRESS.fullmatch(self.provider) is not None


class Measured(Record):
    """The value of one row in one column.

    `value` has the unit of the row, with its 95% interval where there is one; `hits` of `total`
    are the counts behind a share. A check has a `status`, `reason` and `examples`.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    hits: int | None = None
    total: int | None = None
    status: RuleStatus | None = None
    decision: Decision | None = None
    reason: str | None = None
    examples: tuple[Finding, ...] = ()


class ComparedRow(Record):
    """One measure in all columns; a cell is None if the column has no such measure.

    `name` is the measure (`pass@5`, the id of a check), `group` the task and condition
    (`chat · streaming`). A check whose failures depend on the API or mode has a row for each of
    them. A difference is None if it is not tested: for the reference itself, and in rows that are
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

    def compares(self, at: int, base: int) -> bool:
        """Return whether a column was tested against the reference, or both judge a check."""
        here, there = self.cells[at], self.cells[base]
        judged = here and there and {here.status, there.status} <= JUDGED
        return self.differences[at] is not None or bool(judged)


class ChangedCase(Record):
    """A case or question whose results differ between two runs by more than chance.

    `here` and `there` are passed and all tries; `p` is the two-sided p-value of Fisher's test.
    """

    sample: str
    group: str
    here: tuple[int, int]
    there: tuple[int, int]
    p: float

    @property
    def better(self) -> bool:
        """Whether `here` is the better one."""
        return self.here[0] * self.there[1] > self.there[0] * self.here[1]


class CheckChange(Record):
    """A check or probe that failed in one of two runs, and was judged without failing in the other.

    `here` and `there` are failures and applicable rollouts by API or mode, if failures depend on
    it; otherwise the only key is "". `beyond_chance` is the test of these shares alone.
    """

    id: str
    before: RuleStatus
    after: RuleStatus
    here: Mapping[str, tuple[int, int]]
    there: Mapping[str, tuple[int, int]]
    beyond_chance: bool

    @property
    def rarer(self) -> bool:
        """Whether the one that does not fail has a lower share where the other has failures."""
        shares = (self.here, self.there) if self.before == "failed" else (self.there, self.here)
        parts = [part for part, (failures, _) in shares[1].items() if failures]
        failures, tries, others, every = (
            sum(each.get(part, (0, 0))[at] for part in parts) for each in shares for at in (0, 1)
        )
        return not tries or failures * every < others * tries

    @property
    def untested(self) -> tuple[str, ...]:
        """The APIs or modes in which the reference fails, and which the run did not test."""
        failing = (part for part, (failures, _) in self.there.items() if part and failures)
        return tuple(part for part in failing if not self.here.get(part, (0, 0))[1])


class RateChange(Record):
    """A pass rate or score that differs from that of the reference by more than chance."""

    name: str
    difference: Difference


class Changes(Record):
    """What is different in one column, compared with the reference.

    `broken` and `fixed` are all checks that failed in only one of the two, and `untested` those of
    the reference that this one did not test where they fail; `cases` and `rates` differ by more
    than chance. `worse` tells whether a run got worse by more than chance in anything: a verdict
    from pass to fail, a rate or score, a case, or a check.
    """

    label: str
    broken: tuple[CheckChange, ...] = ()
    fixed: tuple[CheckChange, ...] = ()
    untested: tuple[CheckChange, ...] = ()
    cases: tuple[ChangedCase, ...] = ()
    rates: tuple[RateChange, ...] = ()
    worse: bool = False

    @property
    def unchanged(self) -> bool:
        """Return whether nothing changed by more than chance."""
        return not (self.broken or self.fixed or self.cases or self.rates)


class ShownAnswer(Record):
    """One answer of a column to a question, with its score."""

    value: float
    text: str


class AnsweredQuestion(Record):
    """A question with an answer of each entry; None where it gave none."""

    sample: str
    group: str
    question: str
    answers: tuple[ShownAnswer | None, ...]


class Comparison(Record):
    """A comparison, as in `compare.json`. `tested` is the number of tested differences."""

    version: int = COMPARISON_VERSION
    tool_version: str
    against: str
    entries: tuple[ComparedEntry, ...]
    rows: tuple[ComparedRow, ...]
    tested: int
    changes: tuple[Changes, ...] = Field(
        default=(), description="one for each column but the reference"
    )
    answers: tuple[AnsweredQuestion, ...] = Field(
        default=(), description="those that differ most from the reference first"
    )

    @property
    def worse(self) -> bool:
        """Return whether a column got worse than the reference by more than chance."""
        return any(change.worse for change in self.changes)

    @property
    def uncompared(self) -> tuple[str, ...]:
        """The labels of runs of which no sample and no check was compared with the reference.

        Baselines beside the reference are shown for information, unless nothing else was compared.
        """
        base = [entry.label for entry in self.entries].index(self.against)
        others = [(at, entry) for at, entry in enumerate(self.entries) if at != base]
        unknown = [e for at, e in others if not any(row.compares(at, base) for row in self.rows)]
        every = len(unknown) == len(others)
        return tuple(e.label for e in unknown if every or e.kind in ("run", "log"))
