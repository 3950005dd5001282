"""Runs as pandas DataFrames.

    import harness

    run = harness.load("runs/groq-20261101-100000")
    run.attempts.groupby(["task", "api", "mode"]).outcome.value_counts()

`harness.compare.tables` documents the columns; docs/dataframes.md has examples.
"""

from __future__ import annotations

import shutil
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from harness.compare.transcripts import Transcript, transcript
from harness.errors import RunLogError
from harness.integrity.archive import unpack
from harness.records.analysis import Analysis
from harness.records.runs import RunInfo
from harness.run.run_folder import ANALYSIS_FILE, SCORES_FILE, read_analysis, read_scores
from harness.run.run_log import read_rollouts, read_run_info

if TYPE_CHECKING:
    import pandas as pd

_Path = str | PathLike[str]


class _Frames:
    """The tables of one or several runs; see `harness.compare.tables.COLUMNS`."""

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
    """A run that was scored, in `folder`; for a bundle, a temporary copy."""

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
        """The conversation and the rollout of the attempt with this `record`. Raises KeyError."""
        for rollout in read_rollouts(self.folder):
            if rollout.id == record:
                return transcript(rollout)
        raise KeyError(f"{self.folder} has no record {record!r}")

    @cached_property
    def _tables(self) -> Mapping[str, pd.DataFrame]:
        from harness.compare.tables import tables

        kinds = {task.name: task.kind for task in self.info.tasks}
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
        return tables(scores, kinds, (r for r in self.analysis.checks if r.check.kind == "probe"))

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

        from harness.compare.tables import COLUMNS

        def joined(table: str) -> pd.DataFrame:
            parts = {label: run._tables[table] for label, run in self.runs.items()}
            named = [part.assign(run=label) for label, part in parts.items()]
            frame = pd.concat(named, ignore_index=True)
            return frame[["run", *COLUMNS[table]]]

        return {table: joined(table) for table in COLUMNS}


def load(path: _Path) -> Run:
    """Load a run folder or a bundle (`.tar.gz`). Raises RunLogError also if it is not scored."""
    place = Path(path)
    temporary = None
    if place.is_file():
        temporary = Path(mkdtemp(prefix="gpt-oss-verify-"))
        place = unpack(place, temporary)
    run = Run(place)
    if temporary is not None:
        weakref.finalize(run, shutil.rmtree, temporary, ignore_errors=True)
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
