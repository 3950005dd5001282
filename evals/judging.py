"""Judging the folder of an eval run: its records in, scores and analysis out. No network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from evals.analysis import CellTally, cell_scores, filled, rounds_of
from evals.base import DatasetInfo
from evals.baselines.choice import choose_baseline
from evals.decision import decide, held_back
from evals.healthbench.bench import HealthBench
from evals.healthbench.grader import grades_file
from evals.healthbench.ledger import Verdicts, read_verdicts
from evals.healthbench.summary import RubricScore, rubric_score, summarise
from evals.judgement import CellScores, CellVerdict
from evals.plan import Plan
from evals.records import EvalRunInfo, EvalSettings, Outcome, TryScore
from evals.registry import make_eval
from evals.results import CellResult, EvalAnalysis
from evals.run_folder import read_eval_info, read_questions, write_scores
from evals.scoring import not_run, score_try
from evals.verdict import judge_scores
from harness.statistics.estimators import Scores
from harness.storage.run_log import read_rollouts

_ANSWERED: tuple[Outcome, ...] = ("graded", "grader_error")


def judge(folder: Path, changes: Mapping[str, object] | None = None) -> EvalAnalysis:
    """Judge what is in a run folder, and write `scores.jsonl` into it.

    Args:
        folder: The run's.
        changes: Settings to judge by instead of the run's own, such as another baseline.

    Raises:
        ConfigurationError: The baseline or the questions cannot be read.
        RunLogError: The folder cannot be read or written.
    """

    def keep(scores: Iterable[TryScore]) -> None:
        for _ in write_scores(folder, scores):
            pass

    return rejudged(folder, changes or {}, keep)


def rejudged(
    folder: Path,
    changes: Mapping[str, object],
    keep: Callable[[Iterable[TryScore]], object],
) -> EvalAnalysis:
    """Judge what is in a run folder and write nothing.

    Args:
        folder: The run's.
        changes: Settings to judge by instead of the run's own.
        keep: Is given the score of every planned try, and must take all of them.

    Raises:
        ConfigurationError: The baseline or the questions cannot be read.
        RunLogError: The folder cannot be read.
    """
    return _Judging(folder, changes).analysis(keep)


def finished_scores(folder: Path) -> tuple[EvalRunInfo, tuple[CellScores, ...]]:
    """The scores of a run by cell: what a measured baseline is made of."""
    judging = _Judging(folder, {})
    judging.count()
    scores = tuple(judging.cell_scores())
    if judging.info.settings.until_decided:
        scores = tuple(map(_complete_rounds, scores))
    return judging.info, scores


def restored_plan(folder: Path, info: EvalRunInfo) -> Plan:
    """The plan of a run, of the questions in its folder."""
    settings = info.settings
    evals = {
        data.eval: make_eval(read_questions(folder, data), settings.seed) for data in info.datasets
    }
    return Plan(settings, evals, shard=info.shard, extra_body=info.provider.extra_body)


class _Judging:
    """One judgement of one folder, with what it gathers on the way through the log."""

    def __init__(self, folder: Path, changes: Mapping[str, object]) -> None:
        info = read_eval_info(folder)
        settings = info.settings.model_copy(update=changes)
        self.info = info.model_copy(update={"settings": settings})
        self._folder = folder
        self._plan = restored_plan(folder, self.info)
        self._data: Mapping[str, DatasetInfo] = {data.eval: data for data in self.info.datasets}
        self._tallies = {
            cell.name: CellTally(
                cell,
                (question.id for question in self._plan.questions[cell.eval]),
                self._plan.tries(cell),
            )
            for cell in self._plan.cells
        }
        self._rubrics: dict[str, list[RubricScore]] = defaultdict(list)

    def analysis(self, keep: Callable[[Iterable[TryScore]], object]) -> EvalAnalysis:
        """Judge everything; `keep` takes the score of every try."""
        keep(self._scores())
        settings = self.info.settings
        scores = tuple(self.cell_scores())
        verdict = judge_scores(
            scores,
            choose_baseline(settings.baseline),
            margins(settings),
            every_round=settings.until_decided,
        )
        cells = tuple(
            self._result(tally, found)
            for tally, found in zip(self._tallies.values(), verdict.cells, strict=True)
        )
        complete = self._complete()
        decision, why = decide(
            cells,
            complete=complete,
            shard=self.info.shard,
            settings=settings,
            stopped=self.info.stopped,
        )
        return EvalAnalysis(
            run_id=self._folder.name,
            run=self.info,
            complete=complete,
            cells=cells,
            decision=decision,
            reasons=why,
        )

    def count(self) -> None:
        """Go through the log without writing anything."""
        for _ in self._scores():
            pass

    def cell_scores(self) -> Iterator[CellScores]:
        """The scores of every cell."""
        for tally in self._tallies.values():
            name = tally.cell.eval
            yield cell_scores(tally, self._data[name], self.info.settings, self._grader(name))

    def _scores(self) -> Iterator[TryScore]:
        """The score of every planned try: the finished ones as they finished, then the others."""
        verdicts = self._verdicts()
        done: set[str] = set()
        for rollout in read_rollouts(self._folder):
            one = self._plan.find(rollout)
            if one is None:
                continue
            test = self._plan.evals[one.cell.eval]
            met = verdicts.get(rollout.id, {})
            score = score_try(one, rollout, test, met)
            self._tallies[one.cell.name].add(score)
            if isinstance(test, HealthBench):
                known = met if score.outcome in _ANSWERED else None
                self._rubrics[one.cell.name].append(rubric_score(test.rows[one.question], known))
            done.add(rollout.id)
            yield score
        if not self.info.settings.until_decided:
            yield from self._missing(done)

    def _missing(self, done: set[str]) -> Iterator[TryScore]:
        for one in self._plan.every_try():
            if one.id not in done:
                test = self._plan.evals[one.cell.eval]
                if isinstance(test, HealthBench):
                    self._rubrics[one.cell.name].append(rubric_score(test.rows[one.question], None))
                yield not_run(one)

    def _verdicts(self) -> Verdicts:
        grader = self.info.settings.grader
        if grader is None:
            return {}
        name = grades_file(grader.name, grader.model)
        if not (self._folder / name).exists():
            return {}
        return read_verdicts(read_rollouts(self._folder, name))

    def _result(self, tally: CellTally, verdict: CellVerdict) -> CellResult:
        rubrics = self._rubrics.get(tally.cell.name)
        rubric = summarise(rubrics) if rubrics else None
        name = tally.cell.eval
        return tally.result(
            self._data[name],
            rubric,
            self._grader(name),
            verdict if rubric is None else held_back(verdict, rubric),
            self._counted(tally),
        )

    def _counted(self, tally: CellTally) -> Scores:
        """The tries that a score is the mean of."""
        scores = tally.by_question()
        if self.info.shard is not None:
            return [found for found in scores.values() if found] or [(0.0,)]
        rounds = rounds_of(scores) if self.info.settings.until_decided else 0
        return filled(scores, rounds or tally.tries)

    def _grader(self, name: str) -> str | None:
        grader = self.info.settings.grader
        graded = isinstance(self._plan.evals[name], HealthBench)
        return grader.model if graded and grader is not None else None

    def _complete(self) -> bool:
        """Whether everything was sampled and graded that was to be."""
        if self.info.settings.until_decided or self.info.ended is None:
            return self.info.ended is not None
        done = sum(tally.finished for tally in self._tallies.values())
        return done >= self._plan.planned


def margins(settings: EvalSettings) -> dict[str, float] | None:
    """The margin that was asked for, by eval and on the scale of scores; None for the defaults."""
    if settings.margin is not None:
        return dict.fromkeys(settings.evals, settings.margin / 100)
    return {name: margin / 100 for name, margin in settings.margins.items()} or None


def _complete_rounds(scores: CellScores) -> CellScores:
    rounds = rounds_of(scores.scores)
    kept = {question: tries[:rounds] for question, tries in scores.scores.items()}
    return scores.model_copy(update={"scores": kept, "planned": max(1, rounds)})
