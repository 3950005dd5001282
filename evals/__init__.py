"""AIME, GPQA and HealthBench for any provider: sampling, scoring and comparison.

Importing the package lets the harness restore the evals of a run from its folder.
"""

from collections.abc import Iterable
from pathlib import Path

from harness.providers.entries import Provider
from harness.records.runs import RunInfo
from harness.tasks.suite import restores
from harness.tasks.task import Task


@restores("eval")
def _restored(folder: Path, info: RunInfo, grader: Provider | None = None) -> Iterable[Task]:
    from evals.restoring import restored_evals  # imports this package

    return restored_evals(folder, info, grader)
