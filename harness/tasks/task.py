"""What a task is: samples to put to a model under some conditions, and a scorer."""

from abc import ABC, abstractmethod
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.api.items import RequestSettings, Sample
from harness.api.parsed_rollout import ParsedRollout
from harness.providers.entries import Provider
from harness.records.analysis import FailedSample, RuleResult, TaskResult
from harness.records.conditions import Condition, path_of, varying
from harness.records.rollouts import Exchange, Rollout
from harness.records.runs import TaskInfo
from harness.records.scores import Outcome, Score
from harness.rules.account import Account
from harness.run.attempts import Attempt
from harness.run.budget import Budget
from harness.run.sampling import Observer

ScoreFields = Mapping[str, Any]  # fields of a `Score` that state its outcome
_SHOWN_FAILURES = 10


class Task(ABC):
    """Samples, conditions and a scorer."""

    info: TaskInfo  # the task as `run.json` describes it
    burst: int | None = None
    """Concurrent attempts, if the task needs its own number; such tasks are sampled last."""
    extra_body: Mapping[str, Any] = {}  # further members of every request body
    long_replies: bool = False
    """Whether replies are long, and a broken one is requested again several times, because it says
    nothing about what the task measures, as in evals."""

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.info.name

    @abstractmethod
    def attempts(self, number: int) -> Iterator[Attempt]:
        """Yield every planned attempt that is the `number`-th at its sample, counted from 1."""

    @abstractmethod
    def score(self, parsed: ParsedRollout) -> Score | None:
        """Score one rollout, without grades; None if it is not planned."""

    def target(self, rollout: Rollout) -> str:
        """Return the right call or answer of an attempt, as text for logs; "" without one."""
        return ""

    def with_grade(self, score: Score) -> Score:
        """Return a score of this task with the grade that was read for it, if there is one."""
        return score

    def results(self, scores: Iterable[Score]) -> Iterator[TaskResult]:
        """Yield the figures under each condition, from the scores of the task, which are read once.

        An eval takes the scores of all evals, without those that are `not_run`.
        """
        groups: dict[Condition, list[Score]] = defaultdict(list)
        for score in scores:
            groups[self.group_of(score.condition)].append(score)
        for condition in self.info.conditions:
            if (result := self._result(condition, groups[condition])) is not None:
                yield result

    def _result(self, condition: Condition, planned: Sequence[Score]) -> TaskResult | None:
        """Return the figures under one condition; None if the task has only findings."""
        return None

    def probe_results(
        self, parsed: Mapping[str, Sequence[ParsedRollout]], account: Account
    ) -> Sequence[RuleResult]:
        """Return the results of probes, which judge the planned rollouts of a task by sample."""
        return ()

    async def learn(self, provider: Provider) -> int:
        """Find out what sampling this provider needs; returns the number of requests sent.

        Raises ConfigurationError if the task cannot be sampled on this machine, and
        ProviderUnavailableError if the provider does not answer.
        """
        return 0

    async def grade(self, folder: Path, observer: Observer, budget: Budget) -> None:  # noqa: B027
        """Grade the answers in a run folder that have no grade yet, if the task has a grader."""

    def read_grades(self, folder: Path) -> None:  # noqa: B027
        """Read the grades in a run folder, for `with_grade`. Raises RunLogError."""

    def write_files(self, folder: Path) -> None:  # noqa: B027 (most tasks have none)
        """Keep in the run folder what is needed to score it again. Raises RunLogError."""

    def all_attempts(self) -> Iterator[Attempt]:
        """Yield every planned attempt, first tries first."""
        for number in range(1, self.last_try + 1):
            yield from self.attempts(number)

    @property
    def last_try(self) -> int:
        """The highest number of a planned attempt."""
        return self.info.tries

    def attempt(
        self, sample: Sample, condition: Condition, number: int, **members: object
    ) -> Attempt:
        """Return an attempt with the task's sampling, and further members of the request body."""
        sampling = self.info.sampling
        settings = RequestSettings(
            model=condition.model,
            reasoning_effort=condition.effort,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            extra_body={**self.extra_body, **members},
        )
        identity = self.attempt_id(sample.id, condition, number)
        return Attempt(identity, self.name, sample, condition, number, settings, sampling.max_turns)

    def alone(
        self, last: Mapping[str, Exchange], passing: Collection[str] = ()
    ) -> Iterator[Attempt]:
        """Yield the attempts to make again after all others, with nothing else in flight.

        `last` has the last exchange of each finished attempt by its id.
        """
        return iter(())

    def plans(self, rollout: Rollout) -> bool:
        """Return whether condition and attempt of a rollout are planned; the sample may not be."""
        planned = 1 <= rollout.attempt <= self.info.tries
        return planned and self.group_of(rollout.condition) in self.info.conditions

    def group_of(self, condition: Condition) -> Condition:
        """Return the planned condition that the condition of an attempt counts under."""
        both = condition.alternating
        return both if both in self.info.conditions else condition

    def attempt_id(self, sample: str, condition: Condition, number: int) -> str:
        """Return `<task>/<sample>/<parts of the condition that vary in the task>/<number>`."""
        parts = varying(self.info.conditions)
        middle = f"{path_of(condition, parts)}/" if parts else ""
        return f"{self.name}/{sample}/{middle}{number}"


def not_run(attempt: Attempt, value: float | None = 0.0) -> Score:
    """Return the score of a planned attempt that was not made."""
    return Score(
        record=attempt.id,
        task=attempt.task,
        sample=attempt.sample.id,
        condition=attempt.condition,
        attempt=attempt.number,
        outcome="not_run",
        value=value,
    )


class FailedSamples:
    """The samples of a task that failed, gathered attempt by attempt."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._outcomes: dict[str, Counter[Outcome]] = defaultdict(Counter)
        self._worst: dict[str, Score] = {}

    def add(self, score: Score) -> None:
        """Add one finished attempt."""
        value, sample = score.value or 0.0, score.sample
        self._values[sample].append(value)
        self._outcomes[sample][score.outcome] += 1
        worst = self._worst.get(sample)
        if value < (1.0 if worst is None else worst.value or 0.0):
            self._worst[sample] = score

    def __len__(self) -> int:
        """The number of samples of which an attempt failed."""
        return len(self._worst)

    def lowest(self, fields: Callable[[Score], Mapping[str, Any]]) -> tuple[FailedSample, ...]:
        """Return the samples with the lowest mean value, at most ten.

        Each has the record and outcome of its worst attempt, of which `fields` gives further
        members.
        """
        values = self._values
        means = {sample: sum(values[sample]) / len(values[sample]) for sample in self._worst}
        lowest = sorted(means, key=lambda sample: (means[sample], sample))[:_SHOWN_FAILURES]
        return tuple(
            FailedSample(
                sample=sample,
                mean=means[sample],
                passed=values[sample].count(1.0),
                tries=len(values[sample]),
                outcomes=dict(self._outcomes[sample].most_common()),
                record=self._worst[sample].record,
                outcome=self._worst[sample].outcome,
                **fields(self._worst[sample]),
            )
            for sample in lowest
        )
