"""A recorded run that is judged again with some of its replies changed, or only a part of it."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.golden import files as golden_files
from harness.records.analysis import Analysis, RuleResult
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.records.scores import Score
from harness.rules.account import Account
from harness.rules.clients.conversations import Conversation
from harness.tasks.attempt_order import planned_attempts
from harness.tasks.suite import restored_suite, suite_tasks
from harness.tasks.task import Task
from harness.tasks.tool_calling import NAME as TOOL_CALLING
from harness.verdict.judge import Judge

_Scored = dict[int, tuple[Rollout, ParsedRollout, Score | None]]  # by the identity of the rollout
_Probed = dict[Hashable, tuple[Task, Sequence[RuleResult]]]
"""The results of a task's probes, by the identities of the task and its replies, and by what the
account says of these."""


class _CachedJudge(Judge):
    """A judge that reuses the scores of the recorded rollouts for later judgements.

    So it does with the results of probes whose replies are the recorded ones.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Sequence[Task],
        scored: _Scored,
        probed: _Probed,
        *,
        clients: bool,
    ) -> None:
        super().__init__(folder, tasks)
        self._scored_before = scored
        self._probed_before = probed
        self._clients = clients

    def conversations(self) -> tuple[Conversation, ...]:
        """See `Judge.conversations`; they take seconds."""
        return super().conversations() if self._clients else ()

    def scored(self, task: Task, rollout: Rollout) -> tuple[ParsedRollout, Score | None]:
        """See `Judge.scored`."""
        known = self._scored_before.get(id(rollout))
        return super().scored(task, rollout) if known is None else known[1:]

    def probed(
        self, task: Task, parsed: Mapping[str, Sequence[ParsedRollout]], account: Account
    ) -> Sequence[RuleResult]:
        """See `Judge.probed`."""
        every = [each for same in parsed.values() for each in same]
        if any(id(each.rollout) not in self._scored_before for each in every):
            return super().probed(task, parsed, account)
        entries = [account.of(e.rollout.id, at.index) for e in every for at in e.exchanges]
        key = (id(task), tuple((id(e.rollout), e.under_load) for e in every), tuple(entries))
        if key not in self._probed_before:
            self._probed_before[key] = task, super().probed(task, parsed, account)
        return self._probed_before[key][1]


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run. `rollouts` are in the order of its log."""

    folder: Path
    info: RunInfo
    tasks: Sequence[Task]
    rollouts: Sequence[Rollout]
    scored: _Scored = field(default_factory=dict, repr=False)
    probed: _Probed = field(default_factory=dict, repr=False)

    def analyzed(
        self, rollouts: Iterable[Rollout], *, clients: bool = False
    ) -> tuple[Analysis, Iterable[Score]]:
        """Judge these records as if the run had only them; `clients` reads their conversations.

        Rollouts that are the same objects as the recorded ones are not parsed and scored again.
        """
        if not self.scored:
            self._score()
        judge = _CachedJudge(self.folder, self.tasks, self.scored, self.probed, clients=clients)
        for rollout in rollouts:
            judge.add(rollout)
        return judge.judged(self.info)

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """Return the same run with other settings, and those of its records that these plan."""
        other = self.info.settings.model_copy(update=settings)
        cases = self.info.task(TOOL_CALLING)
        assert cases is not None
        tasks = tuple(
            suite_tasks(
                self.info.provider,
                other,
                restored_suite(self.folder, cases.files),
                golden_files.kept(self.folder, self.info),
                tries=cases.tries,
                sampling=cases.sampling,
            )
        )
        changes = {"settings": other, "tasks": tuple(task.info for task in tasks)}
        planned = {(a.task, a.sample.id, a.condition, a.number) for a in planned_attempts(tasks)}
        places = ((one.task, one.sample, one.condition, one.attempt) for one in self.rollouts)
        kept = [one for one, at in zip(self.rollouts, places, strict=True) if at in planned]
        return replace(self, info=self.info.model_copy(update=changes), tasks=tasks, rollouts=kept)

    def _score(self) -> None:
        by_name = {task.name: task for task in self.tasks}
        for rollout in self.rollouts:
            if (task := by_name.get(rollout.task)) is not None:
                parsed = parse_rollout(rollout)
                self.scored[id(rollout)] = rollout, parsed, task.score(parsed)
