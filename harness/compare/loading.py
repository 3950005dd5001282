"""`harness.load` and `harness.load_many`; a run that was never judged is judged, in memory."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from harness.compare.dataframes import Run, Runs
from harness.errors import RunLogError
from harness.run.run_folder import ANALYSIS_FILE
from harness.verdict.judge import judge

_Path = str | PathLike[str]


def load(path: _Path) -> Run:
    """Load a run folder; its tables are DataFrames, see `Frames`.

    A run that was never judged is judged now, and nothing is written. Raises RunLogError, and
    ConfigurationError if it cannot be judged.
    """
    folder = Path(path)
    run = Run(folder)
    if not run.info.tasks:
        raise RunLogError(f"{path} has no tasks.")
    return run if (folder / ANALYSIS_FILE).exists() else Run(folder, judge(folder))


def load_many(paths: Sequence[_Path] | Mapping[str, _Path]) -> Runs:
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
