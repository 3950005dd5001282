"""Runs as pandas DataFrames.

    import harness

    run = harness.load("runs/groq-20261101-100000")
    run.attempts.groupby(["task", "api", "mode"]).outcome.value_counts()

The tables are the properties of `Frames`, whose docstrings describe the columns; docs/comparing.md
has examples. pandas is imported when a table is read: it takes 0.4 s, and most commands do not need
one.
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
from harness.tasks.suite import restored_tasks
from harness.verdict.judge import judge

if TYPE_CHECKING:
    import pandas as pd

Place = str | PathLike[str]
_KEYS = dict.fromkeys(
    ("record", "task", "kind", "sample", "model", "effort", "api", "mode"), "str"
) | {"attempt": "int64"}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "attempts": {
        **_KEYS,
        "outcome": "str",
        **dict.fromkeys(("finished", "invalid"), "bool"),
        "value": "float64",
        "exact": "boolean",
        "seconds": "float64",
        **dict.fromkeys(("requests", "retries", "errors", "warnings"), "int64"),
    },
    "scores": {
        **_KEYS,
        "outcome": "str",
        **dict.fromkeys(("value", "openai_value"), "float64"),
        **dict.fromkeys(("answer", "expected", "got", "detail"), "str"),
    },
    "findings": {
        **_KEYS,
        **dict.fromkeys(("rule", "severity", "message"), "str"),
        "exchange": "int64",
        "event": "Int64",
        **dict.fromkeys(("path", "expected", "got"), "str"),
    },
    "usage": {
        **_KEYS,
        **dict.fromkeys(("input", "output", "reasoning"), "Int64"),
        "unreported": "int64",
    },
    "timing": {
        **_KEYS,
        "exchange": "int64",
        **dict.fromkeys(("total", "first_token", "tokens_per_second"), "float64"),
    },
}
"""The columns of each table with their types; the properties of `Frames` say what they mean."""


class Frames:
    """The tables of one or several runs.

    The first columns of every table are:

    - `record`: id of the rollout in rollouts.jsonl
    - `task`: task: tool_calling, a probe group, or an eval
    - `kind`: tool_calling, probes, eval, or traffic (imported)
    - `sample`: test case, probe request or dataset row
    - `model`: model name as sent
    - `effort`: reasoning effort; missing if not sent
    - `api`: responses, chat or harmony
    - `mode`: streaming or non-streaming
    - `attempt`: try at the sample, from 1

    A missing value is `NaN` or `<NA>`. Times are in seconds.
    """

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        raise NotImplementedError

    @property
    def attempts(self) -> pd.DataFrame:
        """One row per planned attempt: task × condition × sample × try.

        Its columns, after those of `Frames`:

        - `outcome`: how the attempt ended; not_run if it was planned but not made
        - `finished`: whether the attempt was made
        - `invalid`: whether a reply was unreadable or violates the API
        - `value`: 1 or 0; a rubric score in HealthBench; missing for probe requests and traffic
        - `exact`: whether a tool call has exactly the expected arguments
        - `seconds`: time of the last exchange, in seconds
        - `requests`: number of requests, without retries
        - `retries`: number of requests that were repeated
        - `errors`: number of findings of severity error
        - `warnings`: number of findings of severity warning
        """
        return self._tables["attempts"]

    @property
    def scores(self) -> pd.DataFrame:
        """One row per attempt with a value.

        Its columns, after those of `Frames`:

        - `outcome`: how the attempt ended
        - `value`: score of the attempt: 1 or 0; a rubric score of at most 1 in HealthBench
        - `openai_value`: score that OpenAI's own script gives the same text
        - `answer`: extracted answer (evals)
        - `expected`: expected call or answer, if the attempt failed
        - `got`: actual call or answer, if the attempt failed
        - `detail`: reason for the outcome
        """
        return self._tables["scores"]

    @property
    def findings(self) -> pd.DataFrame:
        """One row per finding of a check; of a probe, one row for each of up to three examples.

        Its columns, after those of `Frames`, which are those of the attempt with the evidence:

        - `rule`: id of the check or probe
        - `severity`: error, warning or info
        - `message`: what is wrong
        - `exchange`: number of the exchange in the rollout, from 0
        - `event`: number of the stream event, from 0
        - `path`: JSON path in the response or event
        - `expected`: what the rule expects
        - `got`: what the provider sent
        """
        return self._tables["findings"]

    @property
    def usage(self) -> pd.DataFrame:
        """One row per attempt that was made: token counts as the provider reported them.

        Its columns, after those of `Frames`:

        - `input`: prompt tokens
        - `output`: completion tokens, including reasoning tokens
        - `reasoning`: reasoning tokens
        - `unreported`: number of replies without usage
        """
        return self._tables["usage"]

    @property
    def timing(self) -> pd.DataFrame:
        """One row per exchange with a complete response; an attempt with tool calls has several.

        Its columns, after those of `Frames`:

        - `exchange`: number among the complete exchanges of the rollout, from 0
        - `total`: seconds until the response was complete
        - `first_token`: seconds until the first text event; missing unless streamed
        - `tokens_per_second`: completion tokens per second of a stream
        """
        return self._tables["timing"]


class Run(Frames):
    """A run in `folder`."""

    def __init__(
        self, folder: Path, judged: tuple[Analysis, Iterable[Score]] | None = None
    ) -> None:
        """Use `harness.load`; `judged` replaces the analysis and the scores in the folder."""
        self.folder = folder
        self._judged = judged

    @cached_property
    def info(self) -> RunInfo:
        """`run.json`."""
        return read_run_info(self.folder)

    @cached_property
    def analysis(self) -> Analysis:
        """`analysis.json`, or what it would be."""
        return read_analysis(self.folder) if self._judged is None else self._judged[0]

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
        probes = (result for result in self.analysis.checks if result.of_probe)
        return _all_tables(self._every_score(), kinds, probes)

    def _every_score(self) -> list[Score]:
        """Return the scores of all attempts. Raises RunLogError unless they fit the analysis."""
        scores = list(read_scores(self.folder) if self._judged is None else self._judged[1])
        judged = {(e.task, e.condition): e.finished for e in self.analysis.results}
        made = ((score.task, score.condition) for score in scores if score.finished)
        counted = Counter(
            (task, used) if (task, used) in judged else (task, used.alternating)
            for task, used in made
        )
        for key, finished in judged.items():
            if counted[key] != finished:
                raise RunLogError(
                    f"{self.folder / SCORES_FILE} has {counted[key]} attempts of {key[0]}, "
                    f"{key[1].name}, but {ANALYSIS_FILE} has {finished}; judge the run again with: "
                    f"gpt-oss-verify recheck {self.folder}"
                )
        return scores

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


class Runs(Frames):
    """Several runs by label; the first column of every table, `run`, has the label."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        """Use `harness.load_many`."""
        self.runs = dict(runs)

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        import pandas as pd

        def joined(table: str) -> pd.DataFrame:
            parts = {label: run._tables[table] for label, run in self.runs.items()}
            return pd.concat(parts, names=["run"]).reset_index("run").reset_index(drop=True)

        return {table: joined(table) for table in COLUMNS}


def load(path: Place) -> Run:
    """Load a run folder; its tables are DataFrames, see `Frames`.

    A run without evals that was never judged is judged now, and nothing is written. Raises
    RunLogError, and ConfigurationError if it cannot be judged.
    """
    folder = Path(path)
    run = Run(folder)
    if not run.info.tasks:
        raise RunLogError(f"{path} has no tasks.")
    if (folder / ANALYSIS_FILE).exists():
        return run
    if run.info.of_kind("eval"):
        raise RunLogError(f"{path} was not judged; judge it with: gpt-oss-verify recheck {path}")
    return Run(folder, judge(folder, run.info, restored_tasks(folder, run.info)))


def load_many(paths: Sequence[Place] | Mapping[str, Place]) -> Runs:
    """Load several runs to compare them; labels are the keys of a mapping, or the folder names.

    Raises the errors of `load`, and ValueError if two runs have the same name.
    """
    if isinstance(paths, Mapping):
        return Runs({label: load(path) for label, path in paths.items()})
    runs = [load(path) for path in paths]
    labelled = {run.folder.resolve().name: run for run in runs}
    if len(labelled) < len(runs):
        raise ValueError("two runs have the same folder name; pass a mapping from label to path")
    return Runs(labelled)


def rows_of(frame: pd.DataFrame, task: str, condition: Condition) -> pd.DataFrame:
    """Return the rows of one task under one condition."""
    chosen = frame["task"] == task
    for part in PARTS:
        value = getattr(condition, part)
        if part == "mode" and value is None:
            continue  # the tries alternate between the modes
        chosen &= frame[part].isna() if value is None else frame[part] == value
    return frame[chosen]


def _all_tables(
    scores: Iterable[Score], kinds: Mapping[str, str], probes: Iterable[RuleResult]
) -> dict[str, pd.DataFrame]:
    """Return all tables of a run, from its scores, the kinds of its tasks, and probe results.

    A probe judges several attempts together; its findings have the keys of the attempt with the
    evidence.
    """
    import pandas as pd

    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
    of_probes: dict[str, list[Finding]] = defaultdict(list)
    for result in probes:
        for example in result.examples:
            of_probes[example.evidence.record].append(example)
    for score in scores:
        used, kind = score.condition, kinds.get(score.task, "eval")
        condition = (used.model, used.effort, used.api, used.mode)
        keys = (score.record, score.task, kind, score.sample, *condition, score.attempt)
        findings = (*score.findings, *of_probes[score.record])
        count = Counter(finding.severity for finding in findings)
        value = score.value if score.finished else None
        made = (score.outcome, score.finished, score.invalid, value, score.exact, score.seconds)
        counts = (score.requests, score.retries, count["error"], count["warning"])
        rows["attempts"].append((*keys, *made, *counts))
        if value is not None:
            given = (score.answer, score.expected, score.got, score.detail)
            rows["scores"].append((*keys, score.outcome, value, score.openai_value, *given))
        if score.finished:
            use = score.usage
            rows["usage"].append((*keys, use.input, use.output, use.reasoning, use.unreported))
        for number, time in enumerate(score.timing):
            times = (time.total, time.first_token, time.tokens_per_second)
            rows["timing"].append((*keys, number, *times))
        for finding in findings:
            at = finding.evidence
            place = (at.exchange, at.event, at.path, at.expected, at.got)
            rows["findings"].append((*keys, finding.id, finding.severity, finding.message, *place))
    return {
        table: pd.DataFrame(rows[table], columns=list(types)).astype(types)
        for table, types in COLUMNS.items()
    }
