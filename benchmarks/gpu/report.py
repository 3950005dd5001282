"""The results of all stages as JSON and as a Markdown page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .measuring import Result

RESULTS, PAGE, LOG = "results.json", "report.md", "log.txt"


@dataclass(frozen=True)
class Stage:
    """The outcome of a stage: its results, or the end of its output if it failed."""

    title: str
    seconds: float
    results: Sequence[Result]
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the stage failed, or one of its results misses its requirement."""
        return self.error is not None or any(each.passed is False for each in self.results)


def read(folder: Path) -> dict[str, Stage]:
    """The stages that have run, by name."""
    try:
        stored = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {
        name: Stage(**{**stage, "results": [Result(**each) for each in stage["results"]]})
        for name, stage in stored.items()
    }


def write(folder: Path, stages: Mapping[str, Stage], missing: Sequence[str] = ()) -> None:
    """Writes both files; the stages in `missing` have not run."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: asdict(stage) for name, stage in stages.items()}
    (folder / RESULTS).write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(markdown(stages, missing), encoding="utf-8")


def markdown(stages: Mapping[str, Stage], missing: Sequence[str] = ()) -> str:
    """The page: a summary, then one table per stage."""
    failed = [name for name, stage in stages.items() if stage.failed]
    lines = ["# GPU report", ""]
    lines += [f"Failed: {', '.join(failed)}." if failed else "Every requirement is met.", ""]
    if missing:
        lines += [f"Not run: {', '.join(missing)}.", ""]
    for name, stage in stages.items():
        lines += [f"## {name}", "", f"{stage.title} ({stage.seconds:.0f} s)", ""]
        if stage.results:
            lines += ["| | | of limit | | |", "| --- | ---: | ---: | --- | --- |"]
            lines += map(_row, stage.results)
            lines.append("")
        if stage.error is not None:
            lines += ["```", stage.error, "```", ""]
    return "\n".join(lines)


def _row(result: Result) -> str:
    share = "" if result.share is None else f"{result.share:.0%}"
    verdict = {True: "✓", False: "✕", None: ""}[result.passed]
    figure = "" if result.value is None else f"{result.value:.3g} {result.unit}".strip()
    return f"| {result.name} | {figure} | {share} | {verdict} | {result.note} |"
