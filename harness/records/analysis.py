"""The results of judging a run; `analysis.json` is an `Analysis`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from harness.records.conditions import APIS, Api, Condition, Mode, parts_of, rank
from harness.records.diagnosis import Cause, Diagnosis
from harness.records.figures import (
    AtK,
    BaselineVerdict,
    Decision,
    ExchangeCounts,
    Latency,
    MeanScore,
    ProgramUse,
    RubricSummary,
    TokenCounts,
    UnreadAnswers,
)
from harness.records.readings import Rescored
from harness.records.reasons import ONE_API_JUDGED, PARTLY_JUDGED, Lacks, Reason
from harness.records.record import Record
from harness.records.runs import DatasetInfo, RunInfo
from harness.records.scores import Description, Estimate, Finding, Outcome, RuleKind
from harness.records.settings import Thresholds

RuleStatus = Literal["failed", "warned", "declared", "not_verifiable", "skipped", "passed"]


class FailingRequest(NamedTuple):
    """A request of a probe, and the API over which it has a finding."""

    api: Api
    request: str


class FailedSample(Record):
    """A sample that did not always pass, with one failed attempt; evals have no `prompt`."""

    sample: str
    mean: float = Field(description="mean value of the finished attempts")
    passed: int = Field(description="finished attempts with the value 1")
    tries: int = Field(description="attempts that were made")
    outcomes: Mapping[Outcome, int]
    record: str = Field(description="id of the failed attempt")
    outcome: Outcome
    detail: str = ""
    expected: str | None = None
    got: str | None = None
    answer: str | None = None
    order: tuple[int, ...] | None = None
    tool: str | None = None
    prompt: str | None = None


class PassedTries(NamedTuple):
    """Passed, finished and planned tries."""

    passed: int
    finished: int
    planned: int


class TaskResult(Record):
    """The figures of one task under one condition.

    The denominator of rates is `finished`. `invalid`, `exact` and `cases` are for tool calling;
    `score`, `openai_score`, `dataset` and `baseline` for evals; `rubric` and `grader` for graded
    evals. `best_pass_at` and `best_pass_hat` are the highest values that the last pass@k and
    pass^k could reach if every attempt that is missing or got no reply passed.
    """

    task: str
    condition: Condition
    samples: int = Field(description="cases or questions")
    tries: int = Field(description="attempts at each sample that count")
    planned: int = Field(description="attempts that count, made or not")
    finished: int = Field(description="attempts that were made, however they ended")
    outcomes: Mapping[Outcome, int] = Field(description="attempts by outcome")
    invalid: int = Field(default=0, description="attempts with an unreadable reply or an error")
    exact: int = Field(default=0, description="successes with exactly the expected arguments")
    cases: Mapping[str, tuple[int, int]] = Field(
        default={}, description="successes and finished attempts of each case"
    )
    no_reply: Mapping[str, int] = Field(
        default={}, description="attempts at each case that failed only because no reply came"
    )
    further: Mapping[str, int] = Field(
        default={}, description="planned attempts at each case beyond `tries`"
    )
    modes: Mapping[Mode, Mapping[str, PassedTries]] = Field(
        default={}, description="tries of each case in each mode, if the modes alternate"
    )
    at_k: tuple[AtK, ...] = ()
    best_pass_at: float = 1.0
    best_pass_hat: float = 1.0
    score: MeanScore | None = None
    copies: tuple[tuple[str, int], ...] = Field(
        default=(), description="question and number of tries that are copies, and do not count"
    )
    openai_score: float | None = None
    unread: UnreadAnswers | None = None
    programs: ProgramUse | None = Field(default=None, description="None if the model had no Python")
    tokens: TokenCounts = TokenCounts()
    latency: Latency = Latency()
    requests: int = 0
    retries: int = 0
    failures: tuple[FailedSample, ...] = Field(default=(), description="the worst of them")
    failed: int = Field(default=0, description="samples of which an attempt failed")
    dataset: DatasetInfo | None = None
    rubric: RubricSummary | None = None
    grader: str | None = None
    baseline: BaselineVerdict | None = None

    @property
    def name(self) -> str:
        """API and mode: `responses · streaming`."""
        return self.condition.name

    @property
    def is_eval(self) -> bool:
        """Whether these are the figures of an eval, not of tool calling."""
        return self.dataset is not None


class RuleResult(Record):
    """The result of one check or probe in a whole run.

    `failed` has a finding of severity error, `warned` one of severity warning; `not_verifiable`
    had nothing to judge; `skipped` does not apply to the APIs and modes of the run; `declared`
    found a capability missing that the provider's entry declares missing. `reasons` explain every
    status but the first two and a plain pass. Of the `applicable` rollouts (for a probe:
    repetitions) `failures` had a finding; `rate` is their share, None where nothing was applicable.
    """

    check: Description
    status: RuleStatus
    reasons: tuple[Reason, ...] = ()
    applicable: int = Field(
        default=0, description="rollouts (probe: repetitions) with something to judge"
    )
    failures: int = Field(default=0, description="applicable ones with a finding")
    rate: Estimate | None = Field(
        default=None, description="failures / applicable, clustered by sample"
    )
    findings: int = Field(default=0, description="number of findings; a rollout may have several")
    counts: Mapping[str, tuple[int, int]] = Field(
        default={}, description="failures and applicable ones by condition (probe: by API)"
    )
    independent: Mapping[str, float] = Field(
        default={}, description="the independent ones that they are worth, by condition"
    )
    modes: tuple[Mode, ...] = Field(
        default=(), description="modes of the replies with findings, of a probe"
    )
    repeated: tuple[int, int] = Field(
        default=(0, 0),
        description="failures and tries of the samples with a finding and several tries under one "
        "condition",
    )
    failing: Annotated[
        tuple[FailingRequest, ...],
        # Versions up to 0.5 stored `chat NAME`.
        BeforeValidator(
            lambda stored: [e.split(" ", 1) if isinstance(e, str) else e for e in stored]
        ),
    ] = Field(default=(), description="of a probe: the APIs and requests with a finding")
    messages: Mapping[str, int] = Field(
        default={}, description="attempts by message of a finding; the most frequent messages"
    )
    examples: tuple[Finding, ...] = ()
    traceback: str | None = Field(default=None, description="of a rule that raised")

    @property
    def of_probe(self) -> bool:
        """Whether its rule is a probe."""
        return self.check.kind == "probe"

    @property
    def found(self) -> tuple[Finding, ...]:
        """The examples that count: those that are not only information, if there are any."""
        return tuple(e for e in self.examples if e.severity != "info") or self.examples

    @property
    def reason(self) -> str | None:
        """Return the reasons as sentences; None without any."""
        return " ".join(dict.fromkeys(reason.text for reason in self.reasons)) or None

    @property
    def until(self) -> str | None:
        """Return what would make a rule verifiable that is not; None for others."""
        if self.status != "not_verifiable":
            return None
        return " ".join(dict.fromkeys(reason.until for reason in self.reasons if reason.until))

    @property
    def lacks(self) -> Collection[Lacks]:
        """Return what a rule that is not verifiable lacked."""
        if self.status != "not_verifiable":
            return ()
        return {reason.lacks for reason in self.reasons if reason.lacks is not None}

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the conditions (of a probe: the APIs) with failures."""
        return tuple(name for name, (failures, _) in self.counts.items() if failures)

    @property
    def in_part(self) -> bool:
        """Return whether it passed, but has replies that break what it says and are not judged."""
        codes = {reason.code for reason in self.reasons}
        return self.status == "passed" and not codes.isdisjoint((PARTLY_JUDGED, ONE_API_JUDGED))

    @property
    def affected(self) -> tuple[int, int]:
        """Return failures and applicable rollouts under the conditions with failures."""
        counts = [self.counts[name] for name in self.groups]
        return sum(failures for failures, _ in counts), sum(every for _, every in counts)

    @property
    def apis(self) -> tuple[Api, ...]:
        """Return the APIs with failures."""
        return tuple(api for api in APIS if any(group.startswith(api) for group in self.groups))

    @property
    def shares(self) -> Mapping[str, tuple[int, int]]:
        """Return failures and applicable rollouts, by condition if they depend on it.

        The keys are APIs, modes, or both where neither of them explains the failures, most failures
        first; otherwise the only key is "".
        """
        return self.shares_by(separation([self]))

    def shares_by(self, parts: Sequence[int]) -> Mapping[str, tuple[int, int]]:
        """Return failures and applicable rollouts by the parts of the condition (`separation`)."""
        if not parts:
            return {"": (self.failures, self.applicable)}
        summed = {
            name: (sum(failures for failures, _ in counts), sum(every for _, every in counts))
            for name, counts in self._grouped(parts).items()
        }
        shown = sorted(summed, key=lambda name: (-summed[name][0] / summed[name][1], rank(name)))
        return {name: summed[name] for name in shown}

    def trials_in(self, part: str, parts: Sequence[int]) -> float:
        """Return the independent rollouts that those in one of the parts are worth."""
        named = {name: self.independent.get(name, float(n)) for name, (_, n) in self.counts.items()}
        return sum(n for name, n in named.items() if _part(name, parts) == part) or self.applicable

    def _grouped(self, parts: Sequence[int]) -> dict[str, list[tuple[int, int]]]:
        groups: dict[str, list[tuple[int, int]]] = {}
        for name, count in self.counts.items():
            groups.setdefault(_part(name, parts), []).append(count)
        return groups

    @property
    def share(self) -> str:
        """Return the shares in words: `3 of 40`, or `chat 6 of 6, responses 0 of 6`."""
        return share_text(self.shares)


def _part(condition: str, parts: Sequence[int]) -> str:
    words = parts_of(condition)
    return " · ".join(words[part] for part in parts if part < len(words))


def passed_rules(results: Iterable[RuleResult], kind: RuleKind) -> tuple[int, int]:
    """Return how many checks, or probes, passed, and how many had something to judge."""
    statuses = [result.status for result in results if result.check.kind == kind]
    judged = [status for status in statuses if status not in ("not_verifiable", "skipped")]
    return judged.count("passed"), len(judged)


def separation(results: Sequence[RuleResult]) -> tuple[int, ...]:
    """Return the parts of conditions (0: API, 1: mode) on which failures of a rule depend.

    They depend on a part if the rule fails always, sometimes or never under some conditions and not
    under others. With several results, the parts explain all of them.
    """
    candidates: tuple[tuple[int, ...], ...] = ((), (0,), (1,))
    for parts in candidates:
        groups = (counts for result in results for counts in result._grouped(parts).values())
        if all(len(set(map(_extent, counts))) == 1 for counts in groups):
            return parts
    return (0, 1)


def share_text(shares: Mapping[str, tuple[int, int]]) -> str:
    """Return shares in words: `3 of 40`, or `chat 6 of 6, responses 0 of 6`."""
    return ", ".join(
        f"{name} {failures:,} of {every:,}".lstrip() for name, (failures, every) in shares.items()
    )


class GuideRule(Record):
    """The decision of OpenAI's guide about a complete run: pass@k and pass^k above thresholds.

    `pass_at` and `pass_hat` are those of the worst condition. `false_alarm` is the probability that
    the rule fails a run of this size if every try succeeds independently with the rate `rate`.
    """

    decision: Decision
    k: int
    pass_at: float
    pass_hat: float
    rate: float
    false_alarm: float


class ClientResult(Record):
    """Whether a client works over one API: what it sends is accepted, what it gets usable."""

    client: str = Field(description="its name, and the version whose requests are known")
    api: Api
    status: Literal["works", "breaks", "sometimes", "not_verifiable"]
    breaking: tuple[str, ...] = Field(
        default=(), description="forms and kinds of conversations that do not work"
    )
    sometimes: tuple[str, ...] = Field(
        default=(), description="kinds of conversations of which fewer than half do not work"
    )
    breaking_on_request: tuple[str, ...] = Field(
        default=(), description="those that it sends only if its user asks for them"
    )
    not_verifiable: tuple[str, ...] = Field(default=(), description="forms that were not judged")
    returns_cot: str = Field(description="whether it returns the CoT of earlier replies")
    read_by: str = Field(
        default="", description="the installed package that read the replies; else, a table decides"
    )


RetestStatus = Literal["fixed", "still there", "not verifiable", "new"]


class RetestedFinding(Record):
    """What a retest says about a finding of the run, or about a rule that failed only now.

    `rule` is "tool calls" for their success rate. `enough` tries would tell whether a finding that
    is not verifiable is fixed.
    """

    rule: str
    status: RetestStatus
    before: str = Field(default="", description="failures and tries in the run")
    now: str = Field(default="", description="failures and tries in the retest")
    enough: int | None = None
    reason: str | None = Field(default=None, description="why it is not verifiable")
    decisive: bool = True


class Verdict(Record):
    """What the gate decides, and why, most important reason first.

    `decision` is None for a complete run without anything to compare it with: sample questions
    without a measured baseline. `warnings` do not affect the decision, but should
    be known. `guide` is None without tool calling, or if it is incomplete. `enough_tries` at each
    case would decide an inconclusive run at the same success rate, if any number would.
    `internal_errors` has the tracebacks of the rules that raised, and of the attempts that could
    not be scored, by id. `too_slow` has the violated limits of the gate on speed, in sentences.
    """

    decision: Decision | None
    reasons: tuple[str, ...]
    thresholds: Thresholds
    warnings: tuple[str, ...] = ()
    guide: GuideRule | None = None
    enough_tries: int | None = None
    internal_errors: Mapping[str, str] = {}
    too_slow: tuple[str, ...] = ()


class Analysis(Record):
    """The results of a run, as in `analysis.json`."""

    version: Literal[6] = 6
    run_id: str
    run: RunInfo
    bad_lines: int = Field(default=0, description="lines of the case file that were left out")
    complete: bool = Field(description="whether everything planned was sampled and graded")
    probe_attempts: int = Field(default=0, description="planned attempts of probes")
    probe_attempts_made: int = Field(default=0, description="those that were made")
    probe_tokens: int = Field(
        default=0, description="input and output of probes and recorded traffic, as reported"
    )
    results: tuple[TaskResult, ...]
    checks: tuple[RuleResult, ...]
    clients: tuple[ClientResult, ...] = ()
    recorded: Latency = Field(
        default=Latency(), description="of recorded traffic with the times of its events"
    )
    verdict: Verdict
    exchanges: ExchangeCounts
    retest: tuple[RetestedFinding, ...] = ()
    rescored: Rescored | None = Field(
        default=None, description="None if no reference read the replies"
    )
    diagnosis: Diagnosis | None = Field(
        default=None, description="likely causes of errors and warnings; null without any"
    )

    @property
    def found(self) -> bool:
        """Whether a rule has findings."""
        return any(result.findings for result in self.checks)

    @property
    def tool_calling(self) -> tuple[TaskResult, ...]:
        """The results of tool calling."""
        return tuple(result for result in self.results if not result.is_eval)

    @property
    def attempts(self) -> int:
        """The attempts that were made."""
        return sum(result.finished for result in self.results) + self.probe_attempts_made

    @property
    def tokens(self) -> int:
        """The input and output tokens that the provider reported."""
        used = sum(result.tokens.input + result.tokens.output for result in self.results)
        return used + self.probe_tokens

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The likely causes of the findings, those of errors first."""
        return () if self.diagnosis is None else self.diagnosis.causes

    @property
    def evals(self) -> tuple[TaskResult, ...]:
        """The results of evals."""
        return tuple(result for result in self.results if result.is_eval)


def _extent(count: tuple[int, int]) -> str:
    failures, every = count
    return "never" if not failures else "always" if failures == every else "sometimes"
