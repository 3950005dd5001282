"""The stored runs, and which figures are characterized.

`runs/<name>.tar.xz` holds one run folder, without anything that judging or reporting makes;
`runs/<name>.bundle.tar.gz` is a bundle as the tool wrote it; `runs/*.json` are measured baselines.
`expected/<name>.json` holds the figures of one characterization.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import figures

HERE = Path(__file__).parent
RUNS = HERE / "runs"
EXPECTED = HERE / "expected"
BASELINE = RUNS / "baseline.json"
BUNDLE = RUNS / "gated.bundle.tar.gz"

SEAL_LENGTH = 32
OTHER_SEAL = "0" * SEAL_LENGTH


def unpack(name: str, parent: Path) -> Path:
    """Unpack a stored run below `parent`; its folder."""
    with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
        archive.extractall(parent, filter="data")
    return parent / name


def judged(name: str, place: Path) -> Any:
    """The figures of one run."""
    return figures.judged(unpack(name, place))


def judged_against_baseline(name: str, place: Path) -> Any:
    """The figures of one run that names a measured baseline."""
    return figures.judged(unpack(name, place), BASELINE)


def compared(names: tuple[str | Path, ...], place: Path, against: int = 0) -> Any:
    """The comparison of stored runs with each other, and with files or published figures."""
    chosen = [unpack(name, place) if (RUNS / f"{name}.tar.xz").exists() else name for name in names]
    return figures.compared(chosen, against, BASELINE)


def history(place: Path) -> Any:
    """All stored runs that show something of their own, in time."""
    names = ("smoke_pass", "smoke_fault", "probes_pass", "resumed", "evals", "evals_cells")
    for name in (*names, "evals_until_decided", "healthbench"):
        unpack(name, place)
    return figures.history(place, BASELINE)


def changes_since_previous(names: tuple[str, ...], place: Path) -> Any:
    """What changed in the last of some runs."""
    folders = [unpack(name, place) for name in names]
    return figures.changes_since_previous(folders[-1])


def merged(names: tuple[str, ...], place: Path) -> Any:
    """The figures of runs that are merged now."""
    return figures.merged([unpack(name, place) for name in names], place / "merged")


def graders_agreement(name: str, place: Path) -> Any:
    """How two graders of one stored run agree."""
    return figures.graders_agreement(unpack(name, place))


def main_job(place: Path) -> Any:
    """The exit code of a run of tool calls followed by evals."""
    return figures.joined_exit_code([unpack(f"main_job_{part}", place) for part in PARTS])


def audits(place: Path) -> Any:
    """The audits of all stored runs and the bundle, one also held to a right and a wrong seal."""
    found = {name: figures.audited(unpack(name, place)) for name in (*SEALED, *UNSOUND)}
    run = place / "smoke_pass"
    seal = found["smoke_pass"]["seal"]
    found["smoke_pass, right seal"] = figures.audited(run, seal[:SEAL_LENGTH])
    found["smoke_pass, wrong seal"] = figures.audited(run, OTHER_SEAL)
    found["bundle"] = figures.audited(figures.unbundled(BUNDLE, place / "bundle"))
    return found


def stored_bundle(place: Path) -> Any:
    """The figures of a stored bundle, in which the questions are withheld."""
    return figures.judged(figures.unbundled(BUNDLE, place))


def expected(name: str) -> Any:
    """The stored figures of a characterization."""
    return json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
