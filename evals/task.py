"""An eval as a task: its questions are sampled, its answers marked or graded, its mean compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from evals import python_tool
from evals.base import AnswerEval
from evals.baselines.choice import choose_baseline
from evals.baselines.scores import EvalScores
from evals.datasets.load import Loaded
from evals.datasets.rows import questions_file, select
from evals.healthbench.grader import (
    ITEM,
    GradingTask,
    grades_file,
    grading_tasks,
    run_answers,
    unread_tasks,
)
from evals.healthbench.grades import Verdicts, verdicts_in
from evals.healthbench.grading import grade_run
from evals.healthbench.rows import HealthBench
from evals.healthbench.rubric import rubric_score, summarise
from evals.outcomes import ending, refusal_phrase
from evals.prompts import our_prompts, wording
from evals.registry import ROWS, AnyEval, make_eval
from evals.results import (
    curve,
    failed_samples,
    filled,
    grader_reads,
    program_use,
    rounds_of,
)
from evals.verdict import default_margin, forecast, hold_back_ungraded, judge_scores
from harness.api.base import Reply, Settings
from harness.parsing.rollout import ParsedRollout
from harness.providers.entries import Provider
from harness.records.analysis import RubricSummary, TaskResult
from harness.records.conditions import Condition
from harness.records.runs import PromptsInfo, Sampling, TaskInfo
from harness.records.scores import Outcome, Score
from harness.sampling.attempts import Attempt, Sample
from harness.sampling.budget import Budget
from harness.sampling.run import Watcher
from harness.scoring.measure import latency, measured_score, token_counts
from harness.statistics.estimators import Scores
from harness.statistics.mean_scores import mean_score
from harness.storage.run_folder import write_text
from harness.storage.run_log import read_rollouts
from harness.tasks.base import Task

_ANSWERED: tuple[Outcome, ...] = ("graded", "grader_error")


@dataclass(frozen=True)
class EvalOptions:
    """What all evals of a run share.

    Attributes:
        examples: Questions to sample, chosen by `seed`; None for all of them.
        seed: Chooses questions and orders the choices of multiple-choice questions.
        prompts: The prompts; None for ours.
        extra_body: Further members of every request body.
        grader: The model that grades: its entry's name and model, if any eval is graded.
        unread_grader: Likewise the model that reads answers that the rules cannot.
        baseline: The name or file of the baseline.
        margins: Non-inferiority margins by eval, on the scale of scores, where not the default.
        until_decided: Whether the run samples in rounds until its verdict is settled.
        sharded: Whether the run is a part of a run.
    """

    examples: int | None = None
    seed: int = 0
    prompts: PromptsInfo | None = None
    extra_body: Mapping[str, Any] | None = None
    grader: tuple[str, str] | None = None
    unread_grader: tuple[str, str] | None = None
    baseline: str | None = None
    margins: Mapping[str, float] | None = None
    until_decided: bool = False
    sharded: bool = False


class EvalTask(Task):
    """One eval of a run.

    Attributes:
        test: The eval.
        question_ids: The ids of the questions to sample.
    """

    patient = True

    def __init__(
        self,
        data: Loaded[Any],
        conditions: Sequence[Condition],
        tries: int | None,
        sampling: Sampling,
        options: EvalOptions,
        grader: Provider | None = None,
    ) -> None:
        """Prepare an eval.

        Args:
            data: Its rows.
            conditions: The conditions to sample under.
            tries: Attempts at each question under each condition; None for the eval's default.
            sampling: The sampling parameters.
            options: What all evals of the run share.
            grader: The provider that grades; None if nothing is to be graded now.

        Raises:
            ConfigurationError: The eval has fewer questions than `options.examples`.
        """
        self.test: AnyEval = make_eval(data, options.seed, options.prompts)
        self._data = data
        self._options = options
        self._grader = grader
        self._verdicts: Verdicts = {}
        self.question_ids = tuple(
            question.id for question in select(self.test.questions, options.examples, options.seed)
        )
        self._question_set = frozenset(self.question_ids)
        tries = tries or self.test.tries
        self.info = TaskInfo(
            name=data.info.eval,
            kind="eval",
            conditions=tuple(conditions),
            samples=len(self.question_ids),
            tries=tries,
            planned=len(self.question_ids) * len(conditions) * tries,
            sampling=sampling,
            dataset=data.info,
        )

    @cached_property
    def graded(self) -> bool:
        """Whether answers are graded against rubrics."""
        return isinstance(self.test, HealthBench)

    @property
    def _graded_by(self) -> tuple[str, str] | None:
        """The grader of this eval's answers, or of those that the rules cannot read."""
        return self._options.grader if self.graded else self._options.unread_grader

    def write_files(self, folder: Path) -> None:
        """Keep the rows, so that the run can be judged again. Raises RunLogError."""
        if self.name in ROWS:
            rows = (row.model_dump_json(by_alias=True) for row in self._data.rows)
            write_text(folder / questions_file(self.name), "".join(f"{row}\n" for row in rows))

    def attempts(self, number: int) -> Iterator[Attempt]:
        """The `number`-th attempt at every question under every condition."""
        if number > self.info.tries:
            return
        for condition in self.info.conditions:
            for question in self.question_ids:
                yield self._attempt(question, condition, number)

    def score(self, parsed: ParsedRollout, *, checks: bool = True) -> Score | None:
        """Score one attempt; replies to evals are not subject to the checks."""
        rollout = parsed.rollout
        if rollout.sample not in self._question_set or not self.plans(rollout):
            return None
        score = measured_score(parsed, checks=False)
        if self.info.sampling.python is not None:
            score = replace(score, programs=python_tool.programs(parsed))
        reply, failure = ending(parsed)
        if self.graded:
            return replace(score, **(failure or self._grade_of(rollout.id, rollout.sample)))
        marked = {} if reply is None else self._marked(parsed, reply)
        return replace(score, **{"openai_value": 0.0, **marked, **(failure or {})})

    def results(self, scores: Sequence[Score]) -> Iterator[TaskResult]:
        """The mean score, its comparison with the baseline, and more, under each condition."""
        groups: dict[Condition, list[Score]] = defaultdict(list)
        for score in scores:
            groups[score.condition].append(score)
        for condition in self.info.conditions:
            yield self._result(condition, groups[condition])

    async def learn(self, provider: Provider) -> int:
        """Find out who runs Python programs, if the model can use any; see `Task`."""
        found, requests = await python_tool.found(self.info.sampling, provider)
        self.info = self.info.model_copy(update={"sampling": found})
        return requests

    async def grade(self, folder: Path, watcher: Watcher, budget: Budget) -> None:
        """Grade every answer without a grade.

        Raises:
            ProviderUnavailableError: The grader could not be used at all.
            RunLogError: A log could not be read or written.
        """
        if self._grader is None or self._graded_by != (self._grader.name, self._grader.model):
            return
        unit = "rubric items" if self.graded else "answers"
        tasks = partial(self._grading_tasks, folder)
        await grade_run(tasks, folder, self._grader, watcher, budget, unit)

    def _grading_tasks(self, folder: Path) -> Iterator[GradingTask]:
        """One for every rubric item of an answer, or every answer that the rules cannot read."""
        rollouts = (each for each in read_rollouts(folder) if each.task == self.name)
        if isinstance(self.test, HealthBench):
            return grading_tasks(self.test, run_answers(rollouts, self.test.rows))
        return unread_tasks(self.test, rollouts, self._options.prompts)

    def read_grades(self, folder: Path) -> None:
        """Read the grades of the run's grader, if there are any. Raises RunLogError."""
        self._verdicts = {}
        if self._graded_by is not None:
            self._verdicts = verdicts_in(folder, grades_file(*self._graded_by))

    def eval_scores(self, condition: Condition, scores: Sequence[Score]) -> EvalScores:
        """What is compared with a baseline, and what a measured baseline consists of."""
        return EvalScores(
            eval=self.name,
            model=condition.model,
            effort=condition.effort or "default",
            dataset=self._data.info,
            api=condition.api,
            sampling=self.info.sampling.model_copy(update={"seed": None}),
            grader=self._options.grader[1] if self.graded and self._options.grader else None,
            prompts=wording(self._options.prompts or our_prompts(), self.name),
            planned=self.info.tries,
            scores=self._by_question(scores),
        )

    def forecasts(self) -> Iterator[str]:
        """What a good provider can expect of the planned tries under each condition."""
        options = self._options
        margin = (options.margins or {}).get(self.name, default_margin(self.name))
        for condition in self.info.conditions:
            planned = self.eval_scores(condition, ())
            yield forecast(
                planned, choose_baseline(options.baseline), margin, options.until_decided
            )

    def _attempt(self, question: str, condition: Condition, number: int) -> Attempt:
        sampling = self.info.sampling
        tools, members = python_tool.offered(sampling.python)
        settings = Settings(
            model=condition.model,
            reasoning_effort=condition.effort,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            extra_body={**(self._options.extra_body or {}), **members},
        )
        sample = Sample(question, self.test.prompt(question, number).messages, tools=tools)
        identity = self.attempt_id(question, condition, number)
        return Attempt(identity, self.name, sample, condition, number, settings, sampling.max_turns)

    def _marked(self, parsed: ParsedRollout, reply: Reply) -> dict[str, Any]:
        test: AnswerEval = self.test  # type: ignore[assignment]
        sample, number = parsed.rollout.sample, parsed.rollout.presentation
        mark = test.mark(sample, number, reply.text)
        refused = mark.marking == "no_answer" and refusal_phrase(reply.text)
        return {
            "outcome": "refused" if refused else mark.marking,
            "value": float(mark.marking == "correct"),
            "answer": mark.answer,
            "openai_value": mark.openai_score,
            "grader_reads": self._verdicts.get(parsed.rollout.id, {}).get(ITEM),
            "order": test.prompt(sample, number).order,
        }

    def _grade_of(self, record: str, question: str) -> dict[str, Any]:
        test: HealthBench = self.test  # type: ignore[assignment]
        found = rubric_score(test.rows[question], self._verdicts.get(record, {}))
        if not found.ungraded:
            return {"outcome": "graded", "value": found.score.value}
        detail = (
            f"{found.ungraded} of {found.items} rubric items without a grade: "
            f"between {found.score.low:.3f} and {found.score.high:.3f}"
        )
        return {"outcome": "grader_error", "value": found.score.value, "detail": detail}

    def _result(self, condition: Condition, planned: Sequence[Score]) -> TaskResult:
        made = [score for score in planned if score.finished]
        own = self.eval_scores(condition, made)
        counted = self._counted(own.scores)
        total = sum(map(len, counted))
        tries = max(map(len, counted))
        outcomes = Counter[Outcome](score.outcome for score in made)
        if missing := max(0, total - len(made)):
            outcomes["not_run"] = missing
        openai = [score.openai_value for score in made if score.openai_value is not None]
        rubric = self._rubric(planned)
        options = self._options
        margins = options.margins or {}
        verdict = judge_scores(
            own,
            choose_baseline(options.baseline),
            margins.get(self.name, default_margin(self.name)),
            every_round=options.until_decided,
        )
        unreported = sum(score.usage.output is None for score in made)
        return TaskResult(
            task=self.name,
            condition=condition,
            samples=len(counted),
            tries=tries,
            planned=total,
            finished=len(made),
            outcomes=dict(outcomes.most_common()),
            at_k=() if rubric else tuple(curve(made, self.question_ids, counted, tries)),
            score=mean_score(counted),
            grader_reads=grader_reads(made),
            programs=program_use(made),
            openai_score=sum(openai) / max(total, len(openai)) if openai else None,
            tokens=token_counts(made).model_copy(update={"unreported": unreported}),
            latency=latency(made),
            requests=sum(score.requests for score in made),
            retries=sum(score.retries for score in made),
            failures=tuple(failed_samples(made)),
            dataset=self._data.info,
            rubric=rubric,
            grader=own.grader,
            baseline=verdict if rubric is None else hold_back_ungraded(verdict, own, rubric),
        )

    def _by_question(self, scores: Sequence[Score]) -> dict[str, tuple[float, ...]]:
        """The values of the finished attempts at every question, in the order of their numbers."""
        found: dict[str, list[tuple[int, float]]] = {question: [] for question in self.question_ids}
        for score in scores:
            found[score.sample].append((score.attempt, score.value or 0.0))
        return {
            question: tuple(value for _, value in sorted(tries))
            for question, tries in found.items()
        }

    def _counted(self, scores: Mapping[str, tuple[float, ...]]) -> Scores:
        """The attempts that the score is the mean of."""
        if self._options.sharded:
            return [found for found in scores.values() if found] or [(0.0,)]
        rounds = rounds_of(scores) if self._options.until_decided else 0
        return filled(scores, rounds or self.info.tries)

    def _rubric(self, planned: Sequence[Score]) -> RubricSummary | None:
        if not isinstance(self.test, HealthBench):
            return None
        rows = self.test.rows
        found = [
            rubric_score(
                rows[score.sample],
                self._verdicts.get(score.record, {}) if score.outcome in _ANSWERED else None,
            )
            for score in planned
        ]
        return summarise(found) if found else None
