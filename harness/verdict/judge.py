"""The judge of a run: scores each attempt once, when it has ended or when its log is read."""

import traceback
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.records.analysis import Analysis, RuleResult
from harness.records.families import family_rank
from harness.records.figures import ExchangeCounts
from harness.records.rollouts import Rollout, TransportFailure
from harness.records.runs import RunInfo, Thresholds
from harness.records.scores import Finding, Outcome, Score
from harness.rules.catalogue import RULES
from harness.rules.evidence.account import account_of
from harness.run.run_log import new_rollouts
from harness.tasks.attempt_order import FIRST_PORTION
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, Scored, analyze, rules_so_far
from harness.verdict.kept_scores import KeptScores

_T = TypeVar("_T")
_PARTS = 60  # equal parts of the time of a run


@dataclass
class Counts:
    """Totals for the progress line: the attempts that are scored."""

    finished: int = 0
    passed: float = 0.0  # the sum of the values of those that have one
    valued: int = 0
    tokens: int = 0
    findings: int = 0  # rules that fail, as of the last look at them
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    probes: Counter[Outcome] = field(default_factory=Counter)

    def add(self, score: Score, *, probe: bool) -> None:
        """Count one more attempt."""
        self.finished += 1
        self.tokens += score.usage.output or 0
        (self.probes if probe else self.outcomes)[score.outcome] += 1
        if score.value is not None:
            self.passed += score.value
            self.valued += 1


class Judge:
    """Judges one run from its log, finished or still growing.

    Every record is read and scored once. The scores are kept, those of evals on disk, and the
    replies to probes, which are judged together with the account of all replies. The live line reads `counts`;
    the early stop and the budget read `so_far`; the verdict is `judged`.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        """Judge the run in `folder`, which plans these tasks; nothing is read yet."""
        self.folder = folder
        self.tasks = tasks
        self.counts = Counts()
        self._by_name = {task.name: task for task in tasks}
        self._position = 0
        self._ids: set[str] = set()
        self._read: Counter[str] = Counter()
        self._scores: list[Score] = []
        self._evals = KeptScores()
        self._unscored: dict[str, str] = {}
        self._groups: dict[str, dict[str, list[ParsedRollout]]] = defaultdict(dict)
        self._exchanges = ExchangeCounter()
        self._shared: dict[Any, Any] = {}
        self._suspects: set[str] = set()
        self._examined: set[str] = set()
        self._next_look = FIRST_PORTION
        self._told = False

    def read(self, look: Callable[[], None] | None = None) -> None:
        """Score what was added to the log since it was last read; of an id, the first record.

        `look` is called after each record. Raises RunLogError.
        """
        for rollout, end in new_rollouts(self.folder, self._position):
            if self._is_first(rollout):
                self.add(rollout)
            self._position = end
            if look is not None:
                look()

    def _is_first(self, rollout: Rollout) -> bool:
        """Return whether an id is new; attempts at evals are counted instead, without their ids."""
        task = self._by_name.get(rollout.task)
        if task is not None and task.info.kind == "eval":
            place = (rollout.task, rollout.sample, rollout.condition, rollout.attempt)
            return task.plans(rollout) and not self._evals.has(*place)
        known = len(self._ids)
        self._ids.add(rollout.id)
        return len(self._ids) > known

    def add(self, rollout: Rollout) -> None:
        """Score one rollout."""
        self._read[rollout.task] += 1
        self._exchanges.add(rollout)
        if (task := self._by_name.get(rollout.task)) is None:
            return
        parsed = parse_rollout(rollout)
        try:
            score = task.score(parsed)
        except Exception:  # noqa: BLE001 (one attempt must not cost the verdict)
            self._unscored[rollout.id] = traceback.format_exc()
            return
        if score is not None:
            self._keep(task, self._sharing(score), parsed)

    def _keep(self, task: Task, score: Score, parsed: ParsedRollout) -> None:
        self.counts.add(score, probe=task.info.kind == "probes")
        if task.info.kind == "eval":
            self._evals.append(score)
            return
        self._scores.append(score)
        self._suspect(score.findings)
        if task.info.kind != "probes":
            return
        self._groups[task.name].setdefault(score.sample, []).append(parsed)

    def judged(self, info: RunInfo, thresholds: Thresholds | None = None) -> Judged:
        """Judge what was read.

        `info` is the `run.json` of the run, perhaps with other settings, such as another baseline.
        `thresholds` replace its own. Raises RunLogError if grades cannot be read.
        """
        for task in self.tasks:
            task.read_grades(self.folder)
        scored = self._scored(probes=True)
        return analyze(scored, self.tasks, info, run_id=self.folder.name, thresholds=thresholds)

    def so_far(self, info: RunInfo) -> Analysis:
        """Judge what the log has now. Raises RunLogError."""
        self.read()
        return self.judged(info).analysis

    def look(self, info: RunInfo, tell: Callable[[str], None]) -> None:
        """Score what was added to the log since it was last read, and tell the first finding, once.

        `info` is the `run.json` of the run. Raises RunLogError.
        """
        self.read(partial(self._look, info, tell))

    def first_finding(self, analysis: Analysis) -> str | None:
        """Return why a failed run failed, in a sentence, unless a finding was told before."""
        if self._told or analysis.verdict.decision != "fail":
            return None
        self._told = True
        return _worst(analysis.checks) or f"first finding: {analysis.verdict.reasons[0]}"

    def _look(self, info: RunInfo, tell: Callable[[str], None]) -> None:
        """Count the findings, and tell the first one.

        A rule that reports an error for the first time is examined at once. Tolerances and
        comparisons of rollouts need many attempts: they are examined as the run grows by halves.
        """
        suspects = self._suspects - self._examined
        early = not self._told and suspects
        if not early and len(self._scores) < self._next_look:
            return
        self._examined |= suspects
        if len(self._scores) >= self._next_look:
            self._next_look += max(FIRST_PORTION, len(self._scores) // 2)
        rules = rules_so_far(self._scored(probes=False), self.tasks, info)
        self.counts.findings = sum(rule.status == "failed" for rule in rules)
        if not self._told and (found := _worst(rules)) is not None:
            self._told = True
            tell(found)

    def _suspect(self, findings: Iterable[Finding]) -> None:
        """Note the rules whose errors only a server can cause."""
        for finding in findings:
            if finding.severity == "error" and not RULES[finding.id].tolerated:
                self._suspects.add(finding.id)

    def _scored(self, *, probes: bool) -> Scored:
        """Return what `analyze` needs: the account first, because all rules read it."""
        account = account_of(self._scores)
        groups = (
            task.probe_results(self._groups.get(task.name, {}), account)
            for task in (self.tasks if probes else ())
        )
        return Scored(
            self._scores,
            self._read,
            tuple(result for results in groups for result in results),
            self._exchanges.counts(),
            self._unscored,
            self._evals,
            account,
        )

    def _sharing(self, score: Score) -> Score:
        """Return the score with one object for equal values of all scores.

        Attempts at one sample have most of these in common, and a run has tens of thousands.
        """
        found = score.traits
        return replace(
            score,
            task=self._one(score.task),
            sample=self._one(score.sample),
            condition=self._one(score.condition),
            expected=self._one(score.expected),
            applicable=self._one(score.applicable),
            traits=replace(
                found,
                host=self._one(found.host),
                conversation=self._one(found.conversation),
                user=self._one(found.user),
                invented=self._one(found.invented),
                calls=self._one(found.calls),
                replicas=self._one(found.replicas),
                models=self._one(found.models),
            ),
        )

    def _one(self, value: _T) -> _T:
        """Return the first value that equals this one."""
        first: _T = self._shared.setdefault(value, value)
        return first


def judge(folder: Path, info: RunInfo, tasks: Sequence[Task]) -> Judged:
    """Judge an earlier run with these tasks, without writing files or using the network.

    `info` is as in `Judge.judged`. Raises RunLogError.
    """
    judge = Judge(folder, tasks)
    judge.read()
    return judge.judged(info)


def _worst(rules: Iterable[RuleResult]) -> str | None:
    """Return the failed rule that harms clients most, in a sentence; None if no rule failed."""
    failed = [rule for rule in rules if rule.status == "failed"]
    if not failed:
        return None
    worst = min(failed, key=lambda rule: family_rank(rule.check.family))
    message = worst.examples[0].message if worst.examples else worst.check.summary
    return f"first finding: {worst.check.id}: {message}"


class ExchangeCounter:
    """Counts the exchanges of rollouts, and keeps when they ended."""

    def __init__(self) -> None:
        self._rollouts = self._served = self._after_failures = 0
        self._first = float("inf")
        self._errors, self._retries = Counter[str](), Counter[str]()
        self._ended, self._failed, self._retried = (array("d") for _ in range(3))

    def add(self, rollout: Rollout) -> None:
        """Count the exchanges of one rollout whose time is known."""
        self._rollouts += 1
        for exchange in rollout.exchanges:
            try:
                began = datetime.fromisoformat(exchange.started_at).timestamp()
            except ValueError:
                continue
            ended = began + exchange.elapsed
            self._first = min(began, self._first)
            self._ended.append(ended)
            response, failure = exchange.response, exchange.failure
            if failure is not None or response is None or not response.good_status:
                status = None if response is None else response.status
                self._errors[_cause(status, failure)] += 1
                self._failed.append(ended)
            else:
                self._served += 1
                self._after_failures += any(retry.server_failed for retry in exchange.retries)
            self._retries.update(_cause(retry.status, retry.failure) for retry in exchange.retries)
            self._retried.extend([ended] * len(exchange.retries))

    def counts(self) -> ExchangeCounts:
        """Return the numbers of exchanges, errors and retries, in total and over time."""
        seconds = max(self._ended) - self._first if self._ended else 0.0
        return ExchangeCounts(
            rollouts=self._rollouts,
            total=len(self._ended),
            served=self._served,
            after_failures=self._after_failures,
            seconds=seconds,
            errors=dict(self._errors.most_common()),
            retries=dict(self._retries.most_common()),
            ended=self._parts(self._ended, seconds),
            failed=self._parts(self._failed, seconds),
            retried=self._parts(self._retried, seconds),
        )

    def _parts(self, times: Sequence[float], seconds: float) -> tuple[int, ...]:
        counts = [0] * _PARTS if times else []
        width = (seconds / _PARTS) or 1.0
        for time in times:
            counts[min(_PARTS - 1, int((time - self._first) / width))] += 1
        return tuple(counts)


def _cause(status: int | None, failure: TransportFailure | None) -> str:
    return f"status {status}" if failure is None else failure.kind.replace("_", " ")
