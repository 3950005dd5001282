"""The stored runs, and which figures are characterized.

`runs/<name>.tar.xz` contains one run folder without the files of judging and reporting,
and `runs/*.json` are measured
baselines. `expected/<name>.json` contains the figures of one characterization.
"""

import json
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import figures

HERE = Path(__file__).parent
RUNS = HERE / "runs"
EXPECTED = HERE / "expected"
BASELINE = RUNS / "baseline.json"


def unpack(name: str, parent: Path) -> Path:
    """Unpack a stored run below `parent` and return its folder."""
    with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
        archive.extractall(parent, filter="data")
    return parent / name


def judged(name: str, place: Path) -> Any:
    """The figures of one run."""
    return figures.judged(unpack(name, place))


def judged_against_baseline(name: str, place: Path) -> Any:
    """The figures of one run with a measured baseline."""
    return figures.judged(unpack(name, place), BASELINE)


def compared(names: tuple[str | Path, ...], place: Path, against: int = 0) -> Any:
    """The comparison of stored runs with each other, with files, or with published figures."""
    chosen = [unpack(name, place) if (RUNS / f"{name}.tar.xz").exists() else name for name in names]
    return figures.compared(chosen, against, BASELINE)


def history(place: Path) -> Any:
    """The history of stored runs with different results."""
    names = ("smoke_pass", "smoke_fault", "probes_pass", "resumed", "evals", "evals_cells")
    for name in (*names, "evals_until_decided", "healthbench"):
        unpack(name, place)
    return figures.history(place, BASELINE)


def changes_since_previous(names: tuple[str, ...], place: Path) -> Any:
    """The changes of the last of several runs since the run before it."""
    return figures.changes_since_previous([unpack(name, place) for name in names][-1])


def main_job(place: Path) -> Any:
    """The exit code of a run of tool calls followed by evals."""
    return figures.joined_exit_code([unpack(f"main_job_{part}", place) for part in PARTS])


def published(name: str, place: Path) -> Any:
    """The figures of the published copy of a run, in which the questions are withheld."""
    return figures.published(unpack(name, place), place / "published")


PARTS = ("requests", "evals")
JUDGED = (
    "smoke_pass",
    "smoke_fault",
    "smoke_outcomes",
    "smoke_limits",
    "smoke_gate",
    "smoke_chat",
    "smoke_chat_fault",
    "interrupted",
    "killed",
    "resumed",
    "over_budget",
    "probes_pass",
    "probes_fault",
    "probes_numerics",
    "evals",
    "evals_fault",
    "evals_cells",
    "evals_truncated",
    "evals_published",
    "evals_interrupted",
    "evals_resumed",
    "evals_merged",
    "healthbench",
    "healthbench_unanswered",
    "healthbench_ungraded",
    "healthbench_regraded",
    "main_job_requests",
    "main_job_evals",
    "gated",
)
AGAINST_BASELINE = ("evals_same", "evals_worse", "evals_until_decided")

CHARACTERIZATIONS: Mapping[str, Callable[[Path], Any]] = {
    **{name: partial(judged, name) for name in JUDGED},
    **{name: partial(judged_against_baseline, name) for name in AGAINST_BASELINE},
    "compared_two": partial(compared, ("smoke_pass", "smoke_fault")),
    "compared_many_attempts": partial(compared, ("smoke_chat", "smoke_chat_fault")),
    "compared_three": partial(
        compared, ("smoke_pass", "resumed", "smoke_fault", "evals"), against=1
    ),
    "compared_probes": partial(compared, ("probes_pass", "probes_fault")),
    "compared_evals": partial(compared, ("evals", "evals_fault", "evals_cells")),
    "compared_with_baseline": partial(compared, (BASELINE, "evals_same", "evals_worse")),
    "compared_with_published": partial(compared, ("evals_published", "range", "card")),
    "compared_healthbench": partial(compared, ("healthbench", "healthbench_ungraded")),
    "history": history,
    "changes_requests": partial(changes_since_previous, ("smoke_chat", "smoke_chat_fault")),
    "changes_evals": partial(changes_since_previous, ("evals", "evals_fault")),
    "main_job": main_job,
    "planned_requests": lambda _place: figures.planned_requests(),
    "gated_published": partial(published, "gated"),
}


def expected(name: str) -> Any:
    """The stored figures of a characterization."""
    return json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
