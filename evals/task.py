"""An eval as a task: samples questions, marks or grades answers, and compares the mean score."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from evals import python_tool
from evals.answer_eval import AnswerEval
from evals.baselines.baseline_verdict import (
    default_margin,
    forecast,
    judge_scores,
    with_grades,
    with_scorer_errors,
    with_unread,
)
from evals.baselines.choice import choose_baseline
from evals.baselines.eval_scores import EvalScores, Reading
from evals.datasets import Loaded, questions_file, select
from evals.declaration import AnyEval
from evals.grading import GRADER, GRADER_SYSTEM
from evals.grading.graded_eval import GradedEval
from evals.grading.grades import Verdicts, verdicts_in
from evals.grading.requests import (
    ITEM,
    GradingTask,
    grade_with,
    grader_api,
    grades_file,
    grading_tasks,
    run_answers,
    unread_tasks,
)
from evals.grading.rubric import rubric_score, told_items
from evals.outcomes import ending
from evals.own.scorer import ScorerError, scorer_file
from evals.prompts import our_prompts, wording
from evals.registry import eval_of, make_eval
from evals.tally import Tally
from harness.api.items import Reply, Sample
from harness.api.parsed_rollout import ParsedRollout
from harness.errors import not_tested
from harness.providers.entries import Provider
from harness.records.analysis import TaskResult
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.runs import ProviderInfo, RunSettings, TaskInfo
from harness.records.scores import Outcome, Score
from harness.records.settings import Sampling
from harness.rules.measured import measured_score
from harness.run.attempts import Attempt
from harness.run.budget import Budget
from harness.run.preflight import preflight
from harness.run.run_folder import write_text
from harness.run.run_log import read_rollouts
from harness.run.sampling import Observer
from harness.statistics.copies import copies_sentence, said
from harness.statistics.mean_scores import mean_score
from harness.tasks.task import Task
from harness.text import refusal_phrase

_SHOWN_OF_FAILURES = ("answer", "expected", "got", "order", "detail")
_LONGEST_END = 200  # characters of a text without an answer
_ANSWERED: tuple[Outcome, ...] = ("graded", "grader_error")


class EvalTask(Task):
    """One eval of a run, with the ids of the questions to sample."""

    long_replies = True

    def __init__(
        self,
        data: Loaded[Any],
        conditions: Sequence[Condition],
        tries: int | None,
        sampling: Sampling,
        settings: RunSettings,
        *,
        extra_body: Mapping[str, Any] = {},
        grader: Provider | None = None,
    ) -> None:
        """Prepare an eval with these rows; `tries` None means the default of the eval.

        The `seed` of the settings chooses questions and orders the choices of multiple-choice
        questions. Nothing is graded without a `grader`.

        Raises ConfigurationError if the eval has fewer questions than `settings.examples`.
        """
        self.test: AnyEval = make_eval(data, settings.seed or 0, settings.prompts)
        self._data = data
        self._settings = settings
        self.extra_body = extra_body
        self._grader = grader
        self._verdicts: Verdicts = {}
        self.question_ids = tuple(
            question.id
            for question in select(self.test.questions, settings.examples, settings.seed or 0)
        )
        self._question_set = frozenset(self.question_ids)
        self.declared = eval_of(data.info)
        default = 1 if data.info.shipped else self.declared.facts.tries
        tries = tries or default  # sample questions only test the installation
        self.info = TaskInfo(
            name=data.info.eval,
            kind="eval",
            conditions=tuple(conditions),
            samples=len(self.question_ids),
            tries=tries,
            planned=len(self.question_ids) * len(conditions) * tries,
            sampling=sampling,
            dataset=self.test.info,
        )

    @cached_property
    def graded(self) -> bool:
        """Whether answers are graded against rubrics."""
        return isinstance(self.test, GradedEval)

    @property
    def _graded_by(self) -> ProviderInfo | None:
        """The grader of this eval's answers, or of those that the rules cannot read."""
        return self._settings.grader if self.graded else self._settings.unread_grader

    def write_files(self, folder: Path) -> None:
        """Write the rows, so that the run can be judged again. Raises RunLogError."""
        if self._data.rows:
            rows = (row.model_dump_json(by_alias=True) for row in self._data.rows)
            write_text(folder / questions_file(self.name), "".join(f"{row}\n" for row in rows))
        if self._data.code:
            write_text(folder / scorer_file(self._data.info), self._data.code)

    def attempts(self, number: int) -> Iterator[Attempt]:
        """Yield the `number`-th attempt at every question under every condition."""
        if number > self.info.tries:
            return
        tools, members = python_tool.offered(self.info.sampling.python)
        for condition in self.info.conditions:
            for question in self.question_ids:
                messages = self.test.prompt(question, number).messages
                yield self.attempt(
                    Sample(question, messages, tools=tools), condition, number, **members
                )

    def target(self, rollout: Rollout) -> str:
        """Return the right answer as it is extracted, or the rubric: `+5 Names the antidote.`."""
        if isinstance(self.test, GradedEval):
            items = self.test.rows[rollout.sample].items
            return "\n".join(f"{item.points:+g} {item.criterion}" for item in items)
        return self.test.key(rollout.sample, rollout.presentation)

    def score(self, parsed: ParsedRollout) -> Score | None:
        """Score one attempt; replies to evals are not subject to the checks."""
        rollout = parsed.rollout
        if rollout.sample not in self._question_set or not self.plans(rollout):
            return None
        reply, failure = ending(parsed)
        if self.graded:
            outcome = failure or {"outcome": "graded"}
        else:
            marked = {} if reply is None else self._marked(parsed, reply)
            outcome = {"openai_value": 0.0, **marked, **(failure or {})}
        programs = None if self.info.sampling.python is None else python_tool.programs(parsed)
        text = "\n".join(reply.generated for _, reply in parsed.replies)
        spoken = said(text, parsed.exchanges[0].prompt if parsed.exchanges else "")
        return measured_score(
            parsed, {**outcome, "programs": programs, "said": spoken}, checks=False
        )

    def with_grade(self, score: Score) -> Score:
        """Return the score with its rubric score, or with what a grader read in an answer."""
        if self.graded and score.outcome == "graded":
            return replace(score, **self._grade_of(score.record, score.sample))
        if self.graded or score.record not in self._verdicts:
            return score
        return replace(score, grader_reads=self._verdicts[score.record].get(ITEM))

    async def learn(self, provider: Provider) -> int:
        """Find out who runs Python programs, if the model may run any; see `Task`.

        A grader that is another provider must answer too, or the run would end without grades. One
        that is launched is not needed before the grading.
        """
        sampling, requests = await python_tool.settled(self.info.sampling, provider)
        self.info = self.info.model_copy(update={"sampling": sampling})
        grader = self._grader
        if grader is None or grader.launch is not None or grader.name == provider.name:
            return requests
        with not_tested():
            return requests + await preflight(grader, (grader_api(grader),))

    async def grade(self, folder: Path, observer: Observer, budget: Budget) -> None:
        """Grade every answer without a grade. Raises ProviderUnavailableError or RunLogError."""
        by, grader = self._graded_by, self._grader
        if by is None or grader is None or (by.name, by.model) != (grader.name, grader.model):
            return
        unit = "rubric items" if self.graded else "answers"
        tasks = partial(self._grading_tasks, folder)
        with not_tested():
            await grade_with(grader, tasks, folder, observer, budget, unit)

    def _grading_tasks(self, folder: Path) -> Iterator[GradingTask]:
        """Return tasks for all rubric items of answers, or for answers that no rule reads."""
        rollouts = (rollout for rollout in read_rollouts(folder) if rollout.task == self.name)
        if isinstance(self.test, GradedEval):
            return grading_tasks(self.test, run_answers(rollouts, self.test.rows))
        return unread_tasks(self.test, rollouts, self._settings.prompts)

    def read_grades(self, folder: Path) -> None:
        """Read the grades of the run's grader, if there are any. Raises RunLogError."""
        self._verdicts = {}
        if (by := self._graded_by) is not None:
            self._verdicts = verdicts_in(folder, grades_file(by.name, by.model))

    def tallies(self, scores: Iterable[Score] = ()) -> dict[Condition, Tally]:
        """Gather the finished attempts of this task by condition; keeps no score."""
        tallies = {condition: Tally(self.question_ids) for condition in self.info.conditions}
        for score in scores:
            if score.task != self.name or not score.finished:
                continue
            tally = tallies[self.group_of(score.condition)]
            tally.add(score)
            if isinstance(self.test, GradedEval):
                graded = score.outcome in _ANSWERED
                met = self._verdicts.get(score.record, {}) if graded else None
                tally.rubrics.add(rubric_score(self.test.rows[score.sample], met))
        return tallies

    def eval_scores(
        self,
        condition: Condition,
        tally: Tally,
        reading: Reading = "ours",
        unread: float | None = None,
    ) -> EvalScores:
        """Return the scores that are compared with a baseline, or that a baseline file contains.

        `unread` is the value of unread answers that no grader decided; see `Tally.values`.
        """
        return EvalScores(
            eval=self.name,
            model=condition.model,
            effort=condition.effort or "default",
            dataset=self.test.info,
            api=condition.api,
            sampling=self.info.sampling.model_copy(update={"seed": None}),
            grader=self._graded_by.model if self.graded and self._graded_by else None,
            prompts=wording(self._settings.prompts or our_prompts(), self._templates),
            reading=reading,
            planned=self.info.tries,
            copies=len(tally.copies),
            scores=tally.values(reading, unread),
        )

    @property
    def _templates(self) -> tuple[str, ...]:
        """The names of the templates that the scores depend on."""
        if self.graded:
            return GRADER, GRADER_SYSTEM
        return tuple(self.declared.facts.templates)

    def forecasts(self) -> Iterator[str]:
        """Yield a sentence per condition about the verdict that a good provider can expect."""
        baseline = choose_baseline(self._settings.baseline)
        for condition, tally in self.tallies().items():
            planned = self.eval_scores(condition, tally)
            yield forecast(planned, baseline, self._margin, self._settings.until_decided)

    @property
    def _margin(self) -> float:
        """The non-inferiority margin on the scale of scores; the setting is in points."""
        settings = self._settings
        stated = settings.margins.get(self.name) if settings.margin is None else settings.margin
        return default_margin(self.name) if stated is None else stated / 100

    def _marked(self, parsed: ParsedRollout, reply: Reply) -> dict[str, Any]:
        test: AnswerEval = self.test  # type: ignore[assignment]
        sample, number = parsed.rollout.sample, parsed.rollout.presentation
        try:
            mark = test.mark(sample, number, reply.text)
        except ScorerError as error:
            return {"outcome": "grader_error", "value": 0.0, "detail": str(error)}
        refused = mark.marking == "unread" and refusal_phrase(reply.text)
        failed = self._shown(sample, number, mark.answer, reply.text)
        return {
            "outcome": "refused" if refused else mark.marking,
            "value": mark.value,
            "answer": mark.answer,
            "openai_value": mark.openai_score,
            "order": test.prompt(sample, number).order,
            **({} if mark.marking == "correct" else failed),
        }

    def _shown(self, sample: str, number: int, answer: str | None, text: str) -> dict[str, str]:
        """Return the right answer of a try, and the one read or the end of a text without one.

        Texts of gated questions are not shown.
        """
        test: AnswerEval = self.test  # type: ignore[assignment]
        if self._data.info.gated:
            read = {} if answer is None else {"got": answer}
            return {"expected": test.key(sample, number), **read}
        got = _end_of(text) if answer is None else test.shown(sample, number, answer)
        return {"expected": test.right(sample, number), "got": got}

    def _grade_of(self, record: str, question: str) -> dict[str, Any]:
        test: GradedEval = self.test  # type: ignore[assignment]
        row, met = test.rows[question], self._verdicts.get(record, {})
        graded = rubric_score(row, met)
        got = told_items(row.items, met)
        if not graded.ungraded:
            return {"outcome": "graded", "value": graded.score, "got": got}
        detail = f"{graded.ungraded} of {graded.items} rubric items without a grade"
        return {"outcome": "grader_error", "value": None, "got": got, "detail": detail}

    def results(self, scores: Iterable[Score]) -> Iterator[TaskResult]:
        """Yield the figures under each condition; see `Task`."""
        for condition, tally in self.tallies(scores).items():
            yield self._figures(condition, tally)

    def _figures(self, condition: Condition, tally: Tally) -> TaskResult:
        """Return the mean score, its comparison with the baseline, and other figures."""
        own = self.eval_scores(condition, tally)
        rounds = own.rounds if self._settings.until_decided else 0
        # The score is the mean of the complete rounds, or of all attempts.
        made = (own.filled(0.0, rounds) if rounds else own).scores.values()
        counted = [scores for scores in made if scores]
        samples, tries = len(self.question_ids), rounds or self.info.tries
        planned = samples * tries
        outcomes = Counter(tally.outcomes)
        if missing := max(0, planned - tally.sums.finished):
            outcomes["not_run"] = missing
        rubric = tally.rubrics.summary()
        baseline = choose_baseline(self._settings.baseline)
        every_round = self._settings.until_decided
        worst, best = (
            judge_scores(
                self.eval_scores(condition, tally, baseline.reading, unread),
                baseline,
                self._margin,
                every_round=every_round,
            )
            for unread in (0.0, 1.0)
        )
        verdict = worst if tally.unread is None else with_unread(worst, best, own, tally.unread)
        if own.copies:
            why = copies_sentence(own.copies, tally.sums.finished, own.sampling.temperature)
            verdict = verdict.model_copy(update={"warnings": (*verdict.warnings, why)})
        return TaskResult(
            task=self.name,
            condition=condition,
            samples=samples,
            tries=tries,
            planned=planned,
            outcomes=dict(outcomes.most_common()),
            at_k=() if rubric else tuple(tally.curve(counted, tries)),
            score=mean_score(counted) if counted else None,
            copies=tuple(sorted(tally.copies)),
            unread=tally.unread,
            programs=tally.programs,
            openai_score=tally.openai_score,
            failures=tally.failed.lowest(
                lambda score: {name: getattr(score, name) for name in _SHOWN_OF_FAILURES}
            ),
            failed=len(tally.failed),
            dataset=self.test.info,
            rubric=rubric,
            grader=own.grader,
            baseline=(
                with_scorer_errors(verdict, own, outcomes["grader_error"])
                if rubric is None
                else with_grades(verdict, best, own, rubric)
            ),
            **tally.sums.members(),
        )


def _end_of(text: str) -> str:
    """Return the end of a text, where an answer is expected."""
    text = text.strip()
    return text if len(text) <= _LONGEST_END else f"…{text[-_LONGEST_END:]}"
