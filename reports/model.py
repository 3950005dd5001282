"""The report of a run, independent of its format. Texts are raw; each renderer escapes them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.compare.key_figures import ResultSummary
from harness.records.analysis import Analysis, RuleResult, passed_rules
from harness.records.conditions import APIS, rank
from harness.records.families import family_rank
from harness.records.figures import BaselineInfo, Decision, verdict_name
from harness.records.scores import RuleKind
from harness.statistics.intervals import ALPHA, exact_bounds
from reports import text

Tone = Literal["", "good", "poor", "bad"]
DECISION_TONES: Mapping[Decision | None, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "poor",
    None: "",
}
Status = Literal[
    "failed", "warned", "declared", "noted", "in_part", "passed", "not_verifiable", "skipped"
]
"""The status of a rule in reports: a `noted` rule passed but has findings for information; one that
passed `in_part` has replies that it could not judge."""

STATUSES: Mapping[Status, tuple[str, str]] = {
    "failed": ("✕", "failed"),
    "warned": ("!", "warned"),
    "declared": ("§", "unsupported"),
    "noted": ("i", "noted"),
    "in_part": ("◐", "passed in part"),
    "passed": ("✓", "passed"),
    "not_verifiable": ("?", "not verifiable"),
    "skipped": ("–", "skipped"),
}
"""The sign and the label of each status, the most important first."""
CLIENT_STATUSES: Mapping[str, tuple[str, Tone]] = {
    "works": ("works", "good"),
    "breaks": ("breaks", "bad"),
    "sometimes": ("breaks now and then", "poor"),
    "not_verifiable": ("not verifiable", "poor"),
}
"""The label and the tone of whether a client works."""
REPORTED: tuple[Status, ...] = ("failed", "warned", "declared", "noted")
"""The statuses of rules that have findings."""


_VAGUE = 0.5  # width of an interval from which on a frequency says nothing


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one column for each condition or figure; a head may have several lines."""

    heads: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]
    note: str = ""
    title: str = ""


NO_TABLE = Table((), ())


@dataclass(frozen=True, slots=True)
class ShownRule:
    """A check or a probe as reports show it, with its result and its findings."""

    result: RuleResult

    @property
    def status(self) -> Status:
        """The status in reports."""
        noted = self.result.status == "passed" and self.result.findings
        return "noted" if noted else "in_part" if self.result.in_part else self.result.status

    @property
    def sign(self) -> str:
        """A character for the status."""
        return STATUSES[self.status][0]

    @property
    def label(self) -> str:
        """The name of the status."""
        return STATUSES[self.status][1]

    @property
    def share(self) -> str:
        """The number of attempts with a finding, or the number that the rule applies to."""
        if self.result.findings:
            return text.share(self.result)
        return text.counted(self.result.applicable, "attempt") if self.result.applicable else ""

    @property
    def share_where(self) -> str:
        """Return the number of attempts with a finding, and where: `6 of 6 attempts, chat`."""
        return f"{self.share}, {self.where}" if "" in self.result.shares else self.share

    @property
    def where(self) -> str:
        """The conditions of the findings: `chat`, `chat · both modes, responses · streaming`."""
        groups = set(self.result.groups)
        modes = {api: {f"{api} · streaming", f"{api} · non-streaming"} for api in APIS}
        both = [api for api in APIS if modes[api] <= groups]
        rest = groups.difference(*(modes[api] for api in both))
        names = [f"{api} · both modes" if rest else api for api in both] + [*rest]
        return ", ".join(sorted(names, key=rank))

    @property
    def frequency(self) -> str:
        """Return how often: `50.0% of the time (95% interval 38–62)`; "" if it is not random.

        It depends on the condition, always happens, or depends on the request: if some requests
        always fail and others never do, the interval is much wider than that of independent tries.
        """
        rate, tries = self.result.rate, self.result.applicable
        if "" not in self.result.shares or rate is None or rate.value == 1:
            return ""
        low, high = exact_bounds(rate.value * tries, tries, ALPHA / 2)
        if rate.high - rate.low > min(_VAGUE, 1.5 * (high - low)):
            return ""
        return text.estimate(rate).replace(" (", "% of the time (95% interval ")

    @property
    def occurrence(self) -> str:
        """Where the findings occur and, unless they always do, how often."""
        return "; ".join(part for part in (self.where, self.frequency) if part)

    @property
    def rank(self) -> tuple[int, int, float, int, str]:
        """Return the sort key of rules: by status, then the finding in most replies of the run.

        Of those in equally many, the one in the larger share of its own replies comes first.
        """
        about, result = self.result.check, self.result
        most = max((some / every for some, every in result.shares.values() if every), default=0.0)
        status = list(STATUSES).index(self.status)
        return status, -result.failures, -most, family_rank(about.family), about.id

    @property
    def messages(self) -> list[str]:
        """The messages of the findings, each with its count if a few explain all findings."""
        counts = self.result.messages
        if len(counts) < 2 or sum(counts.values()) < self.result.failures:
            return [example.message for example in self.result.examples[:1]]
        return [f"{count} × {message}" for message, count in counts.items()]


@dataclass(frozen=True, slots=True)
class Family:
    """All rules about one topic, the most important first."""

    name: str
    title: str
    rules: tuple[ShownRule, ...]

    @property
    def counts(self) -> Counter[Status]:
        """The number of rules with each status."""
        return count_statuses(self.rules)


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that did not always pass, with one failed attempt as an example."""

    head: str
    sample: str
    where: str
    outcomes: str
    record: str
    outcome: str
    message: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a report or a comparison: tool calling, all evals, or a part of a comparison."""

    title: str
    table: Table = NO_TABLE  # one column for each task and condition
    summary: Table = NO_TABLE
    """The most important figures, one row for each task and condition."""
    notes: tuple[str, ...] = ()  # facts about the table or single columns, such as the grader
    details: tuple[Table, ...] = ()
    """Further tables, such as rubric scores by axis; the terminal omits them."""
    baselines: tuple[tuple[str, BaselineInfo], ...] = ()
    """The baseline of each column that has one, by the name of the column."""
    failures: tuple[Failure, ...] = ()  # the samples that failed most
    failed: int = 0  # all samples that failed


@dataclass(frozen=True, slots=True)
class Tile:
    """A key figure: its name, its value, and what it is compared with."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """The content of all reports of a run, independent of their format."""

    analysis: Analysis  # the source of the report and of its charts
    folder: str  # the run folder, as the user would type it in a command
    warnings: tuple[str, ...]  # notes that do not affect the verdict
    regressions: tuple[str, ...]  # changes since the previous run, one sentence each
    address: str
    size: str  # the planned and the finished attempts and requests
    tiles: tuple[Tile, ...]
    families: tuple[Family, ...]
    sections: tuple[Section, ...]
    summary: ResultSummary  # what can be published about the run, with the command that repeats it
    facts: tuple[tuple[str, str], ...]  # settings, data, versions and times, by name
    server: str  # options that name the server in a command, if the run does not have its address
    texts: Mapping[tuple[str, str], str]
    """The prompt or question of samples by task and sample; may be empty."""

    @property
    def verdict(self) -> str:
        """The verdict in capitals."""
        only = self.analysis.run.settings.findings_only
        return verdict_name(self.analysis.verdict.decision, only)

    @property
    def rules(self) -> list[ShownRule]:
        """All rules in order of importance."""
        return sorted((r for family in self.families for r in family.rules), key=lambda r: r.rank)

    @property
    def findings(self) -> list[ShownRule]:
        """The rules with findings in order of importance."""
        return [rule for rule in self.rules if rule.result.findings]

    def family_table(self) -> Table:
        """Return the number of rules of each family with each status."""
        counts = count_statuses(self.rules)
        seen = [status for status in STATUSES if counts[status]]
        rows = [
            Row(family.name, tuple(Cell(str(family.counts[s] or text.NOTHING)) for s in seen))
            for family in self.families
        ]
        return Table(tuple((STATUSES[status][1],) for status in seen), tuple(rows))


def count_statuses(rules: Iterable[ShownRule]) -> Counter[Status]:
    """Return the number of rules with each status; one that is noted has passed."""
    return Counter[Status](rule.result.status for rule in rules)


def rules_passed(rules: Sequence[ShownRule], kind: RuleKind) -> tuple[str, str]:
    """Return how many checks or probes passed, and the other statuses: `9 of 14`, `5 failed`.

    Both are the numbers of the verdict; the first is "" if the run has none of the kind.
    """
    those = [rule for rule in rules if rule.result.check.kind == kind]
    passed, judged = passed_rules((rule.result for rule in those), kind)
    counts = count_statuses(those)
    others = (
        f"{counts[status]:,} {name}"
        for status, (_, name) in STATUSES.items()
        if counts[status] and status != "passed"
    )
    return f"{passed:,} of {judged:,}" if those else "", ", ".join(others)
