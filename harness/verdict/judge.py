"""The judge of a run: scores each attempt once, when it has ended or when its log is read."""

import traceback
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.api.statuses import failure_said, passing_failures, unanswered
from harness.records.analysis import Analysis, RuleResult
from harness.records.families import family_rank
from harness.records.figures import ExchangeCounts
from harness.records.readings import Rescored
from harness.records.rollouts import Rollout, TransportFailure
from harness.records.runs import RunInfo
from harness.records.scores import Finding, Score
from harness.records.settings import Thresholds
from harness.rescoring.accusations import accused
from harness.rescoring.log import read_readings
from harness.rules.account import NO_ACCOUNT, Account, account_of
from harness.rules.catalogue import CHECKS
from harness.rules.clients.conversations import (
    Conversation,
    conversations,
    damaging,
    is_conversation,
)
from harness.run.run_log import new_rollouts
from harness.tasks.task import Task
from harness.verdict.analyze import Judged, Scored, analyze
from harness.verdict.kept_scores import KeptScores
from harness.verdict.requirements import may_warn

_T = TypeVar("_T")
_PARTS = 60  # equal parts of the time of a run
_MOST_RECORDED = 1000  # recorded conversations that are read as clients do


class Judge:
    """Judges one run from its log, finished or still growing.

    Every record is read and scored once. The scores are kept, those of evals on disk, and the
    replies to probes, which are judged together, with the account of all replies.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        """Judge the run in `folder`, which plans these tasks; nothing is read yet."""
        self.folder = folder
        self.tasks = tasks
        self._by_name = {task.name: task for task in tasks}
        self._position = 0
        self._ids: set[str] = set()
        self._read: Counter[str] = Counter()
        self._scores: list[Score] = []
        self._evals = KeptScores()
        self._unscored: dict[str, str] = {}
        self._groups: dict[str, dict[str, list[ParsedRollout]]] = defaultdict(dict)
        self._conversations: list[ParsedRollout] = []
        probes = {task.name for task in tasks if task.info.kind == "probes"}
        self._exchanges = ExchangeCounter(probes)
        self._shared: dict[Any, Any] = {}

    def replan(self, tasks: Sequence[Task]) -> None:
        """Go on with the tasks of a longer run, which score what was read as the former ones."""
        self.tasks = tasks
        self._by_name = {task.name: task for task in tasks}

    def read(self) -> None:
        """Score what was added to the log since it was last read; of an id, the first record.

        Raises RunLogError.
        """
        for rollout, end in new_rollouts(self.folder, self._position):
            if self._is_first(rollout):
                self.add(rollout)
            self._position = end

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
        self._read[rollout.task] += not rollout.alone
        self._exchanges.add(rollout)
        if (task := self._by_name.get(rollout.task)) is None:
            return
        try:
            parsed, score = self.scored(task, rollout)
        except Exception:  # noqa: BLE001 (one attempt must not cost the verdict)
            self._unscored[rollout.id] = traceback.format_exc()
            return
        if score is not None:
            self._keep(task, self._sharing(score), parsed)

    def scored(self, task: Task, rollout: Rollout) -> tuple[ParsedRollout, Score | None]:
        """Parse and score a rollout; None for one that the task does not plan."""
        parsed = parse_rollout(rollout)
        return parsed, task.score(parsed)

    def probed(
        self, task: Task, parsed: Mapping[str, Sequence[ParsedRollout]], account: Account
    ) -> Sequence[RuleResult]:
        """Judge the replies to the requests of a task together, by sample."""
        return task.probe_results(parsed, account)

    def _keep(self, task: Task, score: Score, parsed: ParsedRollout) -> None:
        if task.info.kind == "eval":
            self._evals.append(score)
            return
        self._scores.append(score)
        recorded = task.info.kind == "traffic" and len(self._conversations) >= _MOST_RECORDED
        if is_conversation(parsed) and not recorded:
            self._conversations.append(parsed)
        if task.info.kind == "probes":
            self._groups[task.name].setdefault(score.sample, []).append(parsed)

    def judged(
        self, info: RunInfo, thresholds: Thresholds | None = None, *, growing: bool = False
    ) -> Judged:
        """Judge what was read.

        `info` is the `run.json` of the run, perhaps with other settings, such as another baseline.
        `thresholds` replace its own. A `growing` run is looked at again. Raises RunLogError if
        grades cannot be read.
        """
        for task in self.tasks:
            task.read_grades(self.folder)
        growing = growing or info.settings.ends_at_failure
        return analyze(
            self._scored(growing=growing),
            self.tasks,
            info,
            run_id=self.folder.name,
            thresholds=thresholds,
            growing=growing,
        )

    def so_far(self, info: RunInfo) -> Analysis:
        """Judge what the log has now; it will grow. Raises RunLogError."""
        self.read()
        return self.judged(info, growing=True).analysis

    def first_error(self, info: RunInfo) -> Finding | None:
        """Return the error of a single reply that harms clients most; None without any.

        The log may grow, so only findings count that are certain. Raises RunLogError.
        """
        self.read()
        certain = (
            (family_rank(CHECKS[finding.id].about.family), finding)
            for score in self._scores
            for finding in certain_errors(score, info)
        )
        return min(certain, key=itemgetter(0), default=(0, None))[1]

    def conversations(self) -> tuple[Conversation, ...]:
        """Read the conversations of clients; this takes a few milliseconds a reply."""
        return conversations(self._conversations, damaging(self._scores))

    def _scored(self, *, growing: bool) -> Scored:
        """Return what `analyze` needs: the account first, because all rules read it."""
        try:
            account = account_of(self._scores)
        except Exception:  # noqa: BLE001 (it must not cost the verdict)
            account = NO_ACCOUNT
            self._unscored["account"] = traceback.format_exc()
        passing = self._passing()
        groups = (
            self.probed(task, _without_passing(self._groups.get(task.name, {}), passing), account)
            for task in self.tasks
        )
        probes = tuple(result for results in groups for result in results)
        clients = any(result.check.family == "clients" for result in probes)
        clients = clients or any(task.info.kind == "traffic" for task in self.tasks)
        scores, rescored = self._with_readings()
        return Scored(
            scores,
            self._read,
            probes,
            self._exchanges.counts(),
            self._unscored,
            self._evals,
            account,
            self.conversations() if clients and not growing else (),
            rescored,
        )

    def _with_readings(self) -> tuple[Sequence[Score], Rescored | None]:
        """Return the scores with what a reader found of their replies, if one read them."""
        run = read_readings(self.folder)
        if run is None:
            return self._scores, None
        conditions = {score.record: score.condition.name for score in self._scores}
        readings, figures = accused(run, conditions)
        scores = [
            replace(score, readings=tuple(readings.get(score.record, ()))) for score in self._scores
        ]
        return scores, figures

    def _passing(self) -> frozenset[str]:
        """Return the failures that come and go, so that they are no evidence about a request."""
        every = {
            parsed.rollout.id: parsed
            for those in (
                self._conversations,
                *(each for group in self._groups.values() for each in group.values()),
            )
            for parsed in those
            if parsed.exchanges and parsed.rollout.recording is None
        }
        last = ((one.rollout, one.rollout.exchanges[-1]) for one in every.values())
        return passing_failures(last)

    def _sharing(self, score: Score) -> Score:
        """Return the score with one object for equal values of all scores.

        Attempts at one sample have most of these in common, and a run has tens of thousands.
        """
        traits = score.traits
        return replace(
            score,
            task=self._first(score.task),
            sample=self._first(score.sample),
            condition=self._first(score.condition),
            expected=self._first(score.expected),
            applicable=self._first(score.applicable),
            traits=replace(
                traits,
                host=self._first(traits.host),
                conversation=self._first(traits.conversation),
                options=self._first(traits.options),
                beside_user=self._first(traits.beside_user),
                invented=self._first(traits.invented),
                calls=self._first(traits.calls),
                replicas=self._first(traits.replicas),
                models=self._first(traits.models),
            ),
        )

    def _first(self, value: _T) -> _T:
        """Return the first value that equals this one."""
        first: _T = self._shared.setdefault(value, value)
        return first


def _without_passing(
    sent: Mapping[str, Sequence[ParsedRollout]], passing: Set[str]
) -> Mapping[str, Sequence[ParsedRollout]]:
    """Mark what failed as requests do now and then, if it was not made again alone."""
    if not passing:
        return sent
    return {
        sample: [
            replace(one, under_load=True)
            if not one.rollout.alone
            and one.exchanges
            and failure_said(one.rollout.exchanges[-1]) in passing
            else one
            for one in those
        ]
        for sample, those in sent.items()
    }


def judge(folder: Path, info: RunInfo, tasks: Sequence[Task]) -> Judged:
    """Judge an earlier run with these tasks, without writing files or using the network.

    `info` is as in `Judge.judged`. Raises RunLogError.
    """
    judge = Judge(folder, tasks)
    judge.read()
    return judge.judged(info)


def certain_errors(score: Score, info: RunInfo) -> Iterator[Finding]:
    """Yield the errors that no other reply of a growing run can change.

    They are those of rules that tolerate nothing and have no relation to other rules.
    """
    for finding in score.findings:
        if finding.severity == "error":
            rule = CHECKS[finding.id]
            certain = not rule.relations and (finding.proven or not rule.tolerated)
            if certain and finding.id not in may_warn(info.settings.thresholds):
                yield finding


class ExchangeCounter:
    """Counts the exchanges of rollouts, and keeps when they ended.

    Refusals in tasks of `provoking`, which a server rightly sends, are no errors over time.
    """

    def __init__(self, provoking: Collection[str] = ()) -> None:
        self._provoking = provoking
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
                if rollout.task not in self._provoking or unanswered(exchange):
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
