"""What is compared: runs, logs, baseline files and published baselines, as DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.compare.comparison_types import ComparedEntry, Unit
from harness.compare.dataframes import Run, rows_of
from harness.compare.differing_settings import SettingsByScope, settings_of
from harness.compare.eval_log import EvalLog
from harness.records.analysis import RuleResult, TaskResult
from harness.records.conditions import Condition
from harness.records.runs import RunInfo, TaskInfo, group_name
from harness.run.cases import load_suite, planned_cases
from harness.run.run_folder import CASES_FILE, TOOLS_FILE
from harness.statistics.copies import copies_sentence
from harness.statistics.mean_scores import Mean

if TYPE_CHECKING:
    import pandas as pd

KEY = ["task", "group"]
TRIES = (
    *KEY,
    "record",
    "sample",
    "content",
    "sample_data",
    "value",
    "openai_value",
    "outcome",
    "invalid",
)
"""The columns of `Column.tries`."""
MEASURED_TIMES: Mapping[str, Unit] = {
    "first token": "seconds",
    "request": "seconds",
    "tokens per second": "tokens/s",
    "reasoning tokens": "tokens",
}
"""The columns of `Column.times` after `KEY`, with their units."""

Key = tuple[str, str]  # a task, and the name of one of its conditions in comparisons


@dataclass(frozen=True)
class Published:
    """A published score: its mean over a number of questions, without the answers to them."""

    mean: Mean
    questions: int


@dataclass(frozen=True)
class Column:
    """One column of a comparison.

    Attributes:
        tries: One row per planned try that counts, of tool calling and evals. `group` names the
            condition (`chat · streaming`); `record` names the try in its log; `content` is what the
            sample asks (a case, or the hash of its dataset); `sample_data` marks questions without
            published scores; `value` is missing if the try was not made or not graded;
            `openai_value` is the value as
            OpenAI's script reads the answer.
        times: One row per request (evals: per attempt), by task and group.
        results: The figures of a run by task and group.
        published: The scores of a published baseline, which has no tries.
        settings: The settings that can differ.
        checks: The results of checks and probes by id.
        logs: The tasks of a log of another harness.
    """

    entry: ComparedEntry
    tries: pd.DataFrame = field(default_factory=lambda: _joined([], TRIES))
    times: pd.DataFrame = field(default_factory=lambda: _joined([], (*KEY, *MEASURED_TIMES)))
    results: Mapping[Key, TaskResult] = field(default_factory=dict)
    published: Mapping[Key, Published] = field(default_factory=dict)
    settings: SettingsByScope = field(default_factory=dict)
    checks: Mapping[str, RuleResult] = field(default_factory=dict)
    logs: tuple[EvalLog, ...] = ()

    @cached_property
    def keys(self) -> list[Key]:
        """The tasks and conditions of this column, in its order."""
        pairs = zip(self.tries["task"], self.tries["group"], strict=True)
        return list(dict.fromkeys([*pairs, *self.published]))

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per sample, with its `content` and the `values` of the tries that were made."""
        groups = self.tries.groupby([*KEY, "sample"], sort=False, as_index=False)
        return groups.agg(
            values=("value", lambda tries: tuple(tries.dropna())), content=("content", "first")
        )


def read_run(folder: Path) -> Column:
    """Return a run as a column.

    Raises RunLogError if it is damaged, unscored, or of another version.
    """
    run = Run(folder)
    info, analysis = run.info, run.analysis
    unfinished = (
        f"The run is not finished; the comparison uses the attempts made so far. Finish it with: "
        f"gpt-oss-verify --resume {folder}"
    )
    entry = ComparedEntry(
        label=folder.resolve().name,
        kind="run",
        provider=info.provider.name,
        model=info.model,
        tasks=tuple(
            dict.fromkeys("probes" if task.kind == "probes" else task.name for task in info.tasks)
        ),
        place=str(folder),
        started_at=info.started_at,
        tool_version=info.tool_version,
        decision=analysis.verdict.decision,
        findings_only=info.settings.findings_only,
        found=analysis.found,
        reason=next(iter(analysis.verdict.reasons), None),
        causes=tuple(cause.sentence for cause in analysis.causes),
        complete=analysis.complete,
        notes=(*_scorers(info), *_copies(run), *(() if analysis.complete else (unfinished,))),
    )
    tested = info.of_kind("tool_calling", "eval")
    groups = [(task, condition) for task in tested for condition in task.conditions]
    tasks = {task.name: task for task in info.tasks}
    return Column(
        entry,
        tries=_joined([_tries(run, *group) for group in groups], TRIES),
        times=_joined([_times(run, *group) for group in groups], (*KEY, *MEASURED_TIMES)),
        results={
            (result.task, group_name(tasks[result.task], result.condition)): result
            for result in analysis.results
        },
        settings=settings_of(info),
        checks={result.check.id: result for result in analysis.checks},
    )


def _scorers(info: RunInfo) -> Iterator[str]:
    """Yield what marked the answers of evals, unless it was our rules."""
    for task in info.of_kind("eval"):
        if task.dataset and task.dataset.scorer:
            yield f"The scores of {task.name} are those of {task.dataset.scorer}."


def _copies(run: Run) -> Iterator[str]:
    temperatures = {task.name: task.sampling.temperature for task in run.info.tasks}
    for result in run.analysis.results:
        if count := len(result.copies):
            yield copies_sentence(count, result.finished, temperatures[result.task])


def _tries(run: Run, task: TaskInfo, condition: Condition) -> pd.DataFrame:
    """Return the planned tries of a group; with `--until-decided`, those of complete rounds."""
    rows = rows_of(run.attempts, task.name, condition).sort_values("attempt", kind="stable")
    if task.kind == "eval" and run.info.settings.until_decided:
        rounds = rows.groupby("sample").size().min()
        rows = rows[rows.groupby("sample").cumcount() < rounds]
    for result in run.analysis.results:
        if result.copies and (result.task, result.condition) == (task.name, condition):
            pairs = zip(rows["sample"], rows["attempt"], strict=True)
            rows = rows[[pair not in result.copies for pair in pairs]]
    data = task.dataset
    suite = load_suite(run.folder / CASES_FILE, run.folder / TOOLS_FILE) if data is None else None
    cases = {c.id: c for c in planned_cases(suite, run.info.settings).cases} if suite else {}
    return rows.merge(run.scores[["record", "openai_value"]], how="left").assign(
        group=group_name(task, condition),
        content=rows["sample"].map(cases).tolist() if suite else data and data.content,
        sample_data=data is not None and data.sample,
    )


def _times(run: Run, task: TaskInfo, condition: Condition) -> pd.DataFrame:
    """Return times of single requests in tool calling; evals are measured by attempt."""
    if task.kind == "eval":
        attempts = rows_of(run.attempts, task.name, condition)
        reported = run.usage.dropna(subset="output")[["record", "reasoning"]]
        times = attempts.merge(reported, how="left")
    else:
        times = rows_of(run.timing, task.name, condition)
    names = {
        "seconds": "request",
        "total": "request",
        "first_token": "first token",
        "tokens_per_second": "tokens per second",
        "reasoning": "reasoning tokens",
    }
    return times.rename(columns=names).assign(group=group_name(task, condition))


def _joined(frames: Iterable[pd.DataFrame], columns: Iterable[str]) -> pd.DataFrame:
    """Return the rows of all frames with these columns."""
    import pandas as pd  # takes 0.4 s, and most commands do not need it

    parts = [frame.reindex(columns=list(columns)) for frame in frames]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))
