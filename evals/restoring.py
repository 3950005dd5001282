"""The tasks of a run, evals included, from its folder."""

from pathlib import Path
from typing import Any

from evals.baselines.eval_scores import EvalScores
from evals.datasets import Loaded, questions_file, read_file, rows_sha256, validate_rows
from evals.own.scorer import scorer_file
from evals.registry import eval_of
from evals.task import EvalTask
from harness.errors import RunLogError, read_text
from harness.providers.entries import Provider
from harness.records.runs import DatasetInfo, RunInfo
from harness.run.run_folder import read_scores
from harness.run.run_log import read_run_info
from harness.tasks.suite import restored_tasks
from harness.tasks.task import Task


def read_questions(folder: Path, info: DatasetInfo) -> Loaded[Any]:
    """Return the rows of an eval as the run sampled them.

    Raises ConfigurationError or RunLogError.
    """
    declared = eval_of(info)
    if declared.built_in is not None:
        return Loaded((), info)
    path = folder / questions_file(info.eval)
    rows = validate_rows(read_file(path), declared.row)
    if rows_sha256(row.content() for row in rows) != (info.withheld or info.sha256):
        raise RunLogError(f"{path} was changed after the run; restore it.")
    return Loaded(rows, info, read_text(folder / scorer_file(info)) if info.scorer else "")


def all_tasks(folder: Path, info: RunInfo, grader: Provider | None = None) -> list[Task]:
    """Return the tasks of a run, from its folder; without a `grader` nothing can be graded.

    `info` is its `run.json`, perhaps with other settings. Raises ConfigurationError or RunLogError.
    """
    return [*restored_tasks(folder, info), *restored_evals(folder, info, grader)]


def restored_evals(folder: Path, info: RunInfo, grader: Provider | None = None) -> list[EvalTask]:
    """Return the evals of a run, from its folder. Raises ConfigurationError or RunLogError."""
    return [
        EvalTask(
            read_questions(folder, task.dataset),
            task.conditions,
            task.tries,
            task.sampling,
            info.settings,
            extra_body=info.provider.extra_body,
            grader=grader,
        )
        for task in info.of_kind("eval")
        if task.dataset is not None
    ]


def run_scores(folder: Path) -> tuple[RunInfo, list[EvalScores]]:
    """Return the scores of a run's evals as they were last judged, in complete rounds.

    Raises ConfigurationError, RunLogError.
    """
    info = read_run_info(folder)
    tasks = restored_evals(folder, info)
    results = [
        task.eval_scores(condition, tally)
        for task in tasks
        for condition, tally in task.tallies(read_scores(folder)).items()
    ]
    if info.settings.until_decided:
        results = [
            scores.filled(0.0, rounds).model_copy(update={"planned": max(1, rounds)})
            for scores in results
            for rounds in [scores.rounds]
        ]
    return info, results
