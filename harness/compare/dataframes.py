"""Runs as pandas DataFrames.

    import harness

    run = harness.load("runs/groq-20261101-100000")
    run.attempts.groupby(["task", "api", "mode"]).outcome.value_counts()

`COLUMNS` documents the columns; docs/comparing.md has examples. pandas is imported when a table is
read: it takes 0.4 s, and most commands do not need one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compare.transcripts import Transcript, transcript
from harness.errors import RunLogError
from harness.records.analysis import Analysis, RuleResult
from harness.records.conditions import PARTS, Condition
from harness.records.runs import RunInfo
from harness.records.scores import Finding, Score
from harness.run.run_folder import ANALYSIS_FILE, SCORES_FILE, read_analysis, read_scores
from harness.run.run_log import read_rollouts, read_run_info

if TYPE_CHECKING:
    import pandas as pd

_Path = str | PathLike[str]

_KEYS = {
    "record": "id of the rollout in rollouts.jsonl",
    "task": "task: tool_calling, a probe group, or an eval",
    "kind": "tool_calling, probes, eval, or traffic (imported)",
    "sample": "test case, probe request or dataset row",
    "model": "model name as sent",
    "effort": "reasoning effort; missing if not sent",
    "api": "responses, chat or harmony",
    "mode": "streaming or non-streaming",
    "attempt": "try at the sample, from 1",
}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "attempts": {
        **_KEYS,
        "outcome": "how the attempt ended; not_run if it was planned but not made",
        "finished": "whether the attempt was made",
        "invalid": "whether a reply was unreadable or violates the API",
        "value": "1 or 0; a rubric score in HealthBench; missing for probe requests and traffic",
        "exact": "whether a tool call has exactly the expected arguments",
        "seconds": "time of the last exchange",
        "requests": "requests, without retries",
        "retries": "requests that were repeated",
        "errors": "findings of severity error",
        "warnings": "findings of severity warning",
    },
    "scores": {
        **_KEYS,
        "outcome": "how the attempt ended",
        "value": "score of the attempt",
        "openai_value": "score that OpenAI's own script gives the same text",
        "answer": "extracted answer (evals)",
        "expected": "expected call or answer, if the attempt failed",
        "got": "actual call or answer, if the attempt failed",
        "detail": "reason for the outcome",
    },
    "findings": {
        **_KEYS,
        "rule": "id of the check or probe",
        "severity": "error, warning or info",
        "message": "what is wrong",
        "exchange": "number of the exchange in the rollout, from 0",
        "event": "number of the stream event, from 0",
        "path": "JSON path in the response or event",
        "expected": "what the rule expects",
        "got": "what the provider sent",
    },
    "usage": {
        **_KEYS,
        "input": "prompt tokens",
        "output": "completion tokens, including reasoning tokens",
        "reasoning": "reasoning tokens",
        "unreported": "replies without usage",
    },
    "timing": {
        **_KEYS,
        "exchange": "number among the complete exchanges of the rollout, from 0",
        "total": "seconds until the response was complete",
        "first_token": "seconds until the first text event; missing unless streamed",
        "tokens_per_second": "completion tokens per second of a stream",
    },
}
"""Columns of each table, with their meanings."""

_TYPES = {
    **dict.fromkeys(("value", "openai_value", "seconds", "total"), "float64"),
    **dict.fromkeys(("first_token", "tokens_per_second"), "float64"),
    **dict.fromkeys(("attempt", "requests", "retries", "errors", "warnings"), "int64"),
    **dict.fromkeys(("exchange", "unreported"), "int64"),
    **dict.fromkeys(("input", "output", "reasoning", "event"), "Int64"),
    **dict.fromkeys(("finished", "invalid"), "bool"),
    "exact": "boolean",
}


class _Frames:
    """The tables of one or several runs; see `COLUMNS`."""

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        raise NotImplementedError

    @property
    def attempts(self) -> pd.DataFrame:
        """One row per planned attempt: outcome, value, times and counts."""
        return self._tables["attempts"]

    @property
    def scores(self) -> pd.DataFrame:
        """One row per attempt with a value: the value, the answer, and what was expected."""
        return self._tables["scores"]

    @property
    def findings(self) -> pd.DataFrame:
        """One row per finding, with its evidence; of a probe, the examples of its report."""
        return self._tables["findings"]

    @property
    def usage(self) -> pd.DataFrame:
        """One row per attempt that was made: token counts as the provider reported them."""
        return self._tables["usage"]

    @property
    def timing(self) -> pd.DataFrame:
        """One row per exchange with a complete response: its times."""
        return self._tables["timing"]


class Run(_Frames):
    """A run that was scored, in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Use `load`."""
        self.folder = folder

    @cached_property
    def info(self) -> RunInfo:
        """`run.json`."""
        return read_run_info(self.folder)

    @cached_property
    def analysis(self) -> Analysis:
        """`analysis.json`."""
        return read_analysis(self.folder)

    def transcript(self, record: str) -> Transcript:
        """Return the conversation and the rollout of the attempt with this `record`.

        Raises KeyError.
        """
        for rollout in read_rollouts(self.folder):
            if rollout.id == record:
                return transcript(rollout)
        raise KeyError(f"{self.folder} has no record {record!r}")

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        kinds = {task.name: task.kind for task in self.info.tasks}
        probes = (each for each in self.analysis.checks if each.check.kind == "probe")
        return _all_tables(self.every_score(), kinds, probes)

    def every_score(self) -> list[Score]:
        """Return the scores of all attempts. Raises RunLogError unless they fit the analysis."""
        scores = list(read_scores(self.folder))
        judged = {(each.task, each.condition): each.finished for each in self.analysis.results}
        made = ((each.task, each.condition) for each in scores if each.finished)
        found = Counter(
            (task, used) if (task, used) in judged else (task, used.alternating)
            for task, used in made
        )
        for key, finished in judged.items():
            if found[key] != finished:
                raise RunLogError(
                    f"{self.folder / SCORES_FILE} has {found[key]} attempts of {key[0]}, "
                    f"{key[1].name}, but {ANALYSIS_FILE} has {finished}; judge the run again with: "
                    f"gpt-oss-verify recheck {self.folder}"
                )
        return scores

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


class Runs(_Frames):
    """Several runs by label; the first column of every table, `run`, has the label."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        """Use `load_many`."""
        self.runs = dict(runs)

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        import pandas as pd

        def joined(table: str) -> pd.DataFrame:
            parts = {label: run._tables[table] for label, run in self.runs.items()}
            named = [part.assign(run=label) for label, part in parts.items()]
            frame = pd.concat(named, ignore_index=True)
            return frame[["run", *COLUMNS[table]]]

        return {table: joined(table) for table in COLUMNS}


def load(path: _Path) -> Run:
    """Load a run folder. Raises RunLogError also if it is not scored."""
    run = Run(Path(path))
    if not run.info.tasks:
        raise RunLogError(f"{path} has no tasks.")
    return run


def load_many(paths: Sequence[_Path] | Mapping[str, _Path]) -> Runs:
    """Load several runs to compare them; labels are the keys of a mapping, or the folder names.

    Raises RunLogError as `load`, and ValueError if two runs have the same name.
    """
    if isinstance(paths, Mapping):
        return Runs({label: load(path) for label, path in paths.items()})
    runs = [load(path) for path in paths]
    labelled = {run.folder.resolve().name: run for run in runs}
    if len(labelled) < len(runs):
        raise ValueError("two runs have the same folder name; pass a mapping from label to path")
    return Runs(labelled)


def _all_tables(
    scores: Iterable[Score], kinds: Mapping[str, str], probes: Iterable[RuleResult]
) -> dict[str, pd.DataFrame]:
    """Return all tables of a run, from its scores, the kinds of its tasks, and probe results.

    A probe judges several attempts together; its findings have the keys of the attempt with the
    evidence.
    """
    found = {table: _Rows(table) for table in COLUMNS}
    of_probes: dict[str, list[Finding]] = defaultdict(list)
    for result in probes:
        for each in result.examples:
            of_probes[each.evidence.record].append(each)
    for score in scores:
        keys, condition = {"kind": kinds.get(score.task, "eval")}, score.condition
        every = (*score.findings, *of_probes[score.record])
        severities = [finding.severity for finding in every]
        given = {
            **keys,
            "value": score.value if score.finished else None,
            "errors": severities.count("error"),
            "warnings": severities.count("warning"),
        }
        found["attempts"].add(given, score, condition)
        if score.finished:
            found["usage"].add(keys, score.usage, score, condition)
        if score.finished and score.value is not None:
            found["scores"].add(keys, score, condition)
        for each in every:
            rule = {**keys, "rule": each.id, "record": score.record}
            found["findings"].add(rule, each, each.evidence, score, condition)
        for number, timing in enumerate(score.timing):
            found["timing"].add({**keys, "exchange": number}, timing, score, condition)
    return {table: rows.frame() for table, rows in found.items()}


def rows_of(frame: pd.DataFrame, task: str, condition: Condition) -> pd.DataFrame:
    """Return the rows of one task under one condition."""
    chosen = frame["task"] == task
    for part in PARTS:
        value = getattr(condition, part)
        if part == "mode" and value is None:
            continue  # the tries alternate between the modes
        chosen &= frame[part].isna() if value is None else frame[part] == value
    return frame[chosen]


class _Rows:
    """The rows of one table; values are attributes of records or given by name."""

    def __init__(self, table: str) -> None:
        self._columns = list(COLUMNS[table])
        self._sources: list[int] = []
        self.rows: list[list[Any]] = []

    def add(self, given: Mapping[str, Any], *records: object) -> None:
        """Add a row; a column that is not given is an attribute of the first record with it."""
        if not self._sources:
            for column in self._columns:
                having = (n for n, each in enumerate(records) if hasattr(each, column))
                self._sources.append(-1 if column in given else next(having))
        self.rows.append(
            [
                given[column] if source < 0 else getattr(records[source], column)
                for column, source in zip(self._columns, self._sources, strict=True)
            ]
        )

    def frame(self) -> pd.DataFrame:
        """Return the table."""
        import pandas as pd

        values = zip(*self.rows, strict=True) if self.rows else ([] for _ in self._columns)
        return pd.DataFrame(
            {
                column: pd.array(list(each), dtype=_TYPES.get(column, "str"))
                for column, each in zip(self._columns, values, strict=True)
            }
        )
