"""Test a grader: against physicians, on physicians' answers, and against another grader."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from evals.healthbench.grades import Verdicts, verdicts_in
from evals.healthbench.grading import grade_with
from evals.healthbench.grading_tasks import (
    Answer,
    GradingTask,
    final_answer,
    graders_of,
    grades_file,
    grading_tasks,
)
from evals.healthbench.rows import HealthBench, HealthBenchRow
from evals.healthbench.rubric import rubric_score, summarise
from evals.healthbench.trials import (
    CompletionScores,
    GraderComparison,
    MetaRow,
    PhysicianTrial,
    agreement,
    meta_report,
    meta_tasks,
)
from evals.restoring import restored_evals
from harness.errors import ConfigurationError, ProviderUnavailableError
from harness.providers.entries import Provider
from harness.records.runs import DatasetInfo
from harness.run.budget import Budget
from harness.run.run_log import read_rollouts, read_run_info
from harness.run.sampling import Observer


async def try_on_labels(
    grader: Provider,
    rows: Sequence[MetaRow],
    dataset: DatasetInfo,
    folder: Path,
    observer: Observer,
    budget: Budget,
) -> PhysicianTrial:
    """Grade answers that physicians labeled, and compare. Raises the errors of `grade_with`."""
    verdicts = await _graded(grader, lambda: meta_tasks(rows), folder, observer, budget)
    return PhysicianTrial(grader=grader.info(), dataset=dataset, report=meta_report(rows, verdicts))


async def score_completions(
    grader: Provider,
    bench: HealthBench,
    groups: Mapping[str, Sequence[Answer]],
    folder: Path,
    observer: Observer,
    budget: Budget,
    *,
    references: bool,
) -> CompletionScores:
    """Score answers from the dataset, group by group. Raises the errors of `grade_with`."""
    answers = [answer for group in groups.values() for answer in group]
    tasks = partial(grading_tasks, bench, answers)
    verdicts = await _graded(grader, tasks, folder, observer, budget)
    scores = {
        name: summarise(
            rubric_score(bench.rows[answer.question], verdicts.get(answer.id, {}))
            for answer in group
        )
        for name, group in groups.items()
    }
    return CompletionScores(
        grader=grader.info(), dataset=bench.info, references=references, groups=scores
    )


def compare_graders(folder: Path, names: Sequence[str]) -> GraderComparison:
    """Compare two graders of a run, by entry or log. Raises ConfigurationError or RunLogError."""
    logs = graders_of(folder)
    known = ", ".join(logs) or "no grader"
    if len(names or logs) != 2:
        raise ConfigurationError(
            f"{folder} was graded by {known}: name two graders. To add a grader: "
            f"gpt-oss-verify grade {folder} --grader NAME"
        )
    first, second = [_label(name, logs, folder) for name in names] or list(logs)
    report = agreement(
        _answered(folder), verdicts_in(folder, logs[first]), verdicts_in(folder, logs[second])
    )
    return GraderComparison(run_id=folder.name, first=first, second=second, report=report)


def _label(name: str, logs: Mapping[str, str], folder: Path) -> str:
    """The label of a grader, given its label or its entry's name if that is unambiguous."""
    fitting = [label for label in logs if label == name] or [
        label for label in logs if label.startswith(f"{name}-")
    ]
    if len(fitting) != 1:
        known = ", ".join(logs) or "no grader"
        raise ConfigurationError(
            f"{name!r} does not name exactly one grader of {folder}; its graders: {known}."
        )
    return fitting[0]


def _answered(folder: Path) -> Iterator[tuple[str, HealthBenchRow]]:
    """The answers of a run that can be graded, by id, with their questions."""
    info = read_run_info(folder)
    benches = {
        task.name: task.test
        for task in restored_evals(folder, info)
        if isinstance(task.test, HealthBench)
    }
    for rollout in read_rollouts(folder):
        bench = benches.get(rollout.task)
        row = None if bench is None else bench.rows.get(rollout.sample)
        if row is not None and final_answer(rollout):
            yield rollout.id, row


async def _graded(
    grader: Provider,
    tasks: Callable[[], Iterable[GradingTask]],
    folder: Path,
    observer: Observer,
    budget: Budget,
) -> Verdicts:
    try:
        return await grade_with(grader, tasks, folder, observer, budget)
    except (ConfigurationError, ProviderUnavailableError):
        _discard_unused(folder / grades_file(grader.name, grader.model))
        raise


def _discard_unused(log: Path) -> None:
    """Remove an empty log, and its folder if it has no other files."""
    if log.stat().st_size == 0:
        log.unlink()
        with suppress(OSError):
            log.parent.rmdir()
