"""Rules, the problems that they detect, and the findings that report them.

Checks, cross-checks and probes are all rules. The docstring of the function that judges
documents its rule: the first sentence is the summary, the rest explains why the rule matters.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict, TypeVar

from harness.api.parsed_request import differing_members
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import APIS, BOTH_APIS, MODES, Api, Mode
from harness.records.diagnosis import Example
from harness.records.families import FAMILIES
from harness.records.reasons import Lacks
from harness.records.rollouts import Lost, Rollout
from harness.records.runs import Capability
from harness.records.scores import Description, Evidence, Finding, Score, Severity
from harness.records.settings import SuiteName
from harness.rules.components import COMPONENTS, Component
from harness.rules.habits import Habit

GUIDE = "https://cookbook.openai.com/articles/gpt-oss/verifying-implementations"
RAW_COT = "https://cookbook.openai.com/articles/gpt-oss/handle-raw-cot"
HARMONY = "https://cookbook.openai.com/articles/openai-harmony"
CHAT = "https://platform.openai.com/docs/api-reference/chat/object"
CHAT_STREAM = "https://platform.openai.com/docs/api-reference/chat-streaming"
RESPONSES = "https://platform.openai.com/docs/api-reference/responses/object"
RESPONSES_STREAM = "https://platform.openai.com/docs/api-reference/responses-streaming"
OPEN_RESPONSES = "https://www.openresponses.org/specification"
SERVER_SENT_EVENTS = "https://html.spec.whatwg.org/multipage/server-sent-events.html"
FUNCTION_CALLING = "https://platform.openai.com/docs/guides/function-calling"
TOOL_CHOICE = f"{FUNCTION_CALLING}#tool-choice"
ERRORS = "https://platform.openai.com/docs/guides/error-codes/api-errors"
STRUCTURED = "https://platform.openai.com/docs/guides/structured-outputs"
STOP_IN_COT = "https://github.com/vllm-project/vllm/issues/38499"

_LONGEST_EXCERPT = 300


@dataclass(frozen=True)
class Problem:
    """A violation in one exchange; `path` (JSON path) or `event` (number) locates it.

    Its severity is that of its rule, unless it has its own.
    """

    exchange: ParsedExchange
    message: str
    expected: str
    got: str
    path: str | None = None
    event: int | None = None
    proven: bool = False
    """Whether the evidence excludes the model as the cause, so that no share of it is tolerated."""
    severity: Severity | None = None


@dataclass(frozen=True)
class VoidIf:
    """A finding with evidence only at `path` is discarded if another rule shows that it is wrong.

    The other rule has failed or warned; with `when`, the scores of the run decide instead. `code`
    is that of the reason (see `harness.records.reasons`), here as in the other relations.
    """

    rule: str
    path: str
    code: str
    when: Callable[[Iterable[Score]], bool] | None = None
    words: ClassVar[str] = "discarded if {rule} also fails and the evidence is only at {path}"


@dataclass(frozen=True)
class ExcusedIf:
    """A finding is the model's own if another rule passed."""

    rule: str
    code: str
    words: ClassVar[str] = "excused if {rule} passed"


@dataclass(frozen=True)
class OnceWith:
    """Refusals with the same text as those of other rules count once, under another rule.

    At least `fewest` rules must be refused alike. If the other rule did not find this refusal, the
    first of them reports it.
    """

    rule: str
    fewest: int
    words: ClassVar[str] = "merged into {rule} if {fewest} rules are refused with one text"


@dataclass(frozen=True)
class WarnsInRecordings:
    """A finding is only a warning in recorded traffic."""

    code: str
    words: ClassVar[str] = "only a warning in recordings"


@dataclass(frozen=True)
class ShowsLack:
    """The rule shows that replies lack something without which other rules judge nothing.

    If it fails in every reply, the rules that are not verifiable for that reason are one warning of
    the verdict.
    """

    lacks: Lacks
    code: str
    words: ClassVar[str] = "reported once for all rules missing {lacks}"


Relation = VoidIf | ExcusedIf | OnceWith | WarnsInRecordings | ShowsLack
R = TypeVar("R", VoidIf, ExcusedIf, OnceWith, WarnsInRecordings, ShowsLack)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A check or probe."""

    about: Description  # what the rule requires and where it applies, as written into results
    component: str
    """The part of a server that is at fault if it fails (see `harness.rules.components`)."""
    own_fix: str | None = None  # how the defect is corrected, if not as others of the component
    witness: bool = False
    """Whether it shows only that something is wrong, and not what: then it names a cause only if
    no other rule failed."""
    behaviour: bool = False
    """Whether its evidence is what the model does with its prompt. If the logprobs differ from
    gpt-oss's, and no other rule shows why, the model is the cause of that, too."""
    counts: bool = False
    """Whether its evidence is how many tokens a reply has. It shows nothing in an API and mode in
    which most counts are proven to be wrong."""
    example: Example | None = None  # a known defect, if the catalogue of faults has none
    habit: Habit | None = None
    """The share of rollouts (or of trials of a probe) in which the model causes the problem at
    most; None if only a server can. Problems are info unless their number exceeds it
    significantly; see `harness.statistics.rates`."""
    error_above: float | None = None
    """The share of rollouts that no usable model exceeds; unproven problems are errors above it,
    and warnings below."""
    needs: Capability | None = None  # a capability that a provider's entry may declare missing
    suite: SuiteName = "tools"  # the smallest suite that includes the rule
    relations: tuple[Relation, ...] = ()
    """How its findings depend on those of other rules; `harness.verdict.relations` applies it."""
    reads: tuple[Lost, ...] = ()  # what a recording must preserve for it
    recordings: bool = True  # whether it can judge recorded traffic at all
    of_readings: bool = False  # whether it judges only runs whose replies a reference has read
    of_run: ClassVar[bool] = False  # whether it compares the replies of a whole run
    of_account: ClassVar[bool] = False  # whether it only reports what the account says

    def related(self, kind: type[R]) -> Iterator[R]:
        """Yield its relations of one kind."""
        return (relation for relation in self.relations if isinstance(relation, kind))

    def __post_init__(self) -> None:
        """Refuse a component that does not exist. Raises ValueError."""
        if self.component not in COMPONENTS:
            raise ValueError(f"{self.about.id}: there is no component {self.component!r}")

    @property
    def tolerated(self) -> float:
        """The share of its habit, 0 without one."""
        return self.habit.share if self.habit else 0.0

    @property
    def part(self) -> Component:
        """The part of a server that is at fault if it fails."""
        return COMPONENTS[self.component]

    @property
    def fix(self) -> str:
        """How the defect is corrected, in a sentence."""
        return self.own_fix or self.part.fix

    @property
    def id(self) -> str:
        """Stable dotted id."""
        return self.about.id

    @property
    def scope(self) -> str:
        """The APIs and modes it applies to, as text."""
        about = self.about
        apis = {len(APIS): "all APIs", len(BOTH_APIS): "both APIs"}.get(
            len(about.apis), about.apis[0]
        )
        return apis if len(about.modes) == len(MODES) else f"{apis}, {about.modes[0]}"


class Declared(TypedDict, total=False):
    """What is declared where a rule is registered.

    None means what it shares with others. `Rule` describes the members that are not described here.
    """

    family: str | None
    severity: Severity
    """Error if it violates the specification or harms the model's replies; warning if clients
    cope."""
    source: str | None  # documents the requirement
    apis: Iterable[Api] | None
    modes: Iterable[Mode] | None
    component: str | None
    fix: str | None  # `Rule.own_fix`
    witness: bool
    behaviour: bool
    counts: bool
    example: Sequence[str] | None
    """A known defect that the catalogue of faults lacks: what a server did, and the reports."""
    habit: Habit | None
    error_above: float | None
    needs: Capability | None
    suite: SuiteName | None
    relations: Iterable[Relation]  # in addition to those that are shared
    reads: tuple[Lost, ...]
    recordings: bool
    of_readings: bool


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the rules of a family or of a probe group have in common, unless one has its own."""

    family: str
    source: str
    component: str
    apis: tuple[Api, ...]
    modes: tuple[Mode, ...]
    suite: SuiteName = "tools"
    needs: Capability | None = None
    relations: tuple[Relation, ...] = ()


class Members(TypedDict):
    """The members of a `Rule`, which describes them."""

    about: Description
    component: str
    own_fix: str | None
    witness: bool
    behaviour: bool
    counts: bool
    example: Example | None
    habit: Habit | None
    error_above: float | None
    needs: Capability | None
    suite: SuiteName
    relations: tuple[Relation, ...]
    reads: tuple[Lost, ...]
    recordings: bool
    of_readings: bool


def members(
    kind: Literal["check", "probe"], rule_id: str, text: str | None, given: Declared, shared: Shared
) -> Members:
    """Return the members of a `Rule`; `text` is its summary (one sentence) and the reason."""
    summary, _, why = " ".join((text or "").split()).partition(". ")
    habit, error_above = given.get("habit"), given.get("error_above")
    severity = given.get("severity") or "error"
    if habit is not None and error_above is None and severity == "error":
        error_above = habit.error_above
    shown, *reports = given.get("example") or [""]
    return {
        "about": Description(
            id=rule_id,
            kind=kind,
            family=given.get("family") or shared.family,
            severity=severity,
            summary=f"{summary}.",
            why=why,
            source=given.get("source") or shared.source,
            apis=tuple(given.get("apis") or shared.apis),
            modes=tuple(given.get("modes") or shared.modes),
        ),
        "component": given.get("component") or shared.component,
        "own_fix": given.get("fix"),
        "witness": given.get("witness", False),
        "behaviour": given.get("behaviour", False),
        "counts": given.get("counts", False),
        "example": Example(description=shown, sources=tuple(reports)) if shown else None,
        "habit": habit,
        "error_above": error_above,
        "needs": given.get("needs") or shared.needs,
        "suite": given.get("suite") or shared.suite,
        "relations": (*shared.relations, *given.get("relations", ())),
        "reads": given.get("reads", ()),
        "recordings": given.get("recordings", True),
        "of_readings": given.get("of_readings", False),
    }


def finding_of(about: Description, record: str, problem: Problem) -> Finding:
    """Report a problem in the rollout with the id `record`."""
    evidence = Evidence(
        record=record,
        exchange=problem.exchange.index,
        path=problem.path and excerpt(problem.path),
        event=problem.event,
        expected=excerpt(problem.expected),
        got=excerpt(problem.got),
        received=problem.exchange.received,
    )
    message = excerpt(problem.message)
    return Finding(
        id=about.id,
        severity=problem.severity or about.severity,
        message=message,
        evidence=evidence,
        proven=problem.proven,
        own=about.family not in FAMILIES,
    )


def compared_with(finding: Finding, own: Rollout, other: Rollout | None) -> Finding:
    """Return the finding with the record with which its reply is compared, if there is one."""
    if other is None:
        return finding
    here, there = own.exchanges[finding.evidence.exchange], other.exchanges[-1]
    differing = tuple(differing_members(here.request.body or {}, there.request.body or {}))
    changes = {"compared": other.id, "differing": differing}
    return finding.model_copy(update={"evidence": finding.evidence.model_copy(update=changes)})


def as_warning(finding: Finding) -> Finding:
    """Return the same finding, with severity error lowered to warning."""
    if finding.severity != "error":
        return finding
    return finding.model_copy(update={"severity": "warning"})


def tolerated(finding: Finding) -> Finding:
    """Return the finding of a problem that the model may have caused: information, no problem."""
    return finding.model_copy(update={"severity": "info"})


def excerpt(text: str) -> str:
    """Shorten text for a report and escape what UTF-8 cannot encode."""
    text = text[: _LONGEST_EXCERPT + 1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}…"
