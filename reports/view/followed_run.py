"""The folder of a run, read again and again while it grows."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.records.analysis import Analysis
from harness.records.figures import verdict_name
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo
from harness.records.scores import Finding, Score
from harness.run import run_folder
from harness.run.run_log import (
    ROLLOUTS_FILE,
    RUN_FILE,
    new_rollouts,
    read_chosen,
    read_run_info,
)
from reports.html.attempts import LOOKS
from reports.text import visible
from reports.view.rows import REFUSED, Choice, Row, named, said_in

_LOOK = 0.1  # seconds of a look at the log

ScoreOf = Callable[[Rollout], Score | None]
"""Scores a record of a run that was not judged yet; None for one that the run does not plan."""


class FollowedRun:
    """A run that may still grow: its attempts as rows, and how far it is.

    An attempt has a row as soon as it is known: from its score if the run was judged, else from its
    record. Records are read a portion at a time.

    Attributes:
        folder: The run folder.
        info: Its `run.json` as it was last read.
        version: Changes whenever anything is read.
    """

    def __init__(self, folder: Path, scorer: Callable[[RunInfo], ScoreOf]) -> None:
        """Begin to follow a run; `scorer` makes what scores its records until it is judged.

        Raises RunLogError if the folder is not that of a run.
        """
        self.folder, self.info = folder, read_run_info(folder)
        self.version = 0
        self._rows: list[Row] = []
        self._by_record: dict[str, Row] = {}
        self._analysis: Analysis | None = None
        self._problem = ""
        self._wanted: Sequence[str] = ()
        self._scorer = scorer
        self._score: ScoreOf | None = None
        self._judged: Sequence[int] = ()  # when the files of a judgement were written
        self._log_size = self._position = 0
        self._log: Iterator[tuple[Rollout, int]] | None = None
        self._chosen: tuple[int, Choice, list[Row]] = (-1, Choice(), [])

    def look(self) -> bool:
        """Read what is new, for about 0.1 s; return whether there is more to read at once."""
        before = self._position
        try:
            changed = self._read_judgement() or self._read_wanted()
            more = self._read_log()
        except HarnessError as error:
            self._problem, changed, more, self._log = visible(str(error)), True, False, None
        self.version += changed or self._position > before
        return more

    def _read_judgement(self) -> bool:
        """Read `run.json`, and the scores if the run was judged; return whether they are new."""
        names = (RUN_FILE, run_folder.ANALYSIS_FILE)
        judged = [_stat(self.folder / name, "st_mtime_ns") for name in names]
        if judged == self._judged:
            return False
        self._judged = judged
        info = read_run_info(self.folder)
        if info.tasks != self.info.tasks:
            self._score = None
        self.info = info
        if judged[1]:
            self._analysis = run_folder.read_analysis(self.folder)
            of_probes = _findings_of_probes(self._analysis)
            for score in run_folder.read_scores(self.folder):
                if score.finished:
                    self._row(score).judge(score, of_probes.get(score.record, ()))
        return True

    def _read_log(self) -> bool:
        """Read records for a while; return whether there are more."""
        if self._log is None:
            size = sum(_stat(path, "st_size") for path in self.folder.glob(f"{ROLLOUTS_FILE}*"))
            if size == self._log_size:
                return False
            self._log_size = size
            self._log = new_rollouts(self.folder, self._position)
        began = time.monotonic()
        for rollout, end in self._log:
            row = self._row(rollout)
            row.said = row.said or said_in(rollout)
            if row.place is None:
                row.place = self._position
            if row.score is None and (score := self._score_of(rollout)) is not None:
                row.judge(score)
            self._position = end
            if time.monotonic() - began > _LOOK:
                return True
        self._log = None
        return False

    def _score_of(self, rollout: Rollout) -> Score | None:
        if self._score is None:
            self._score = self._scorer(self.info)
        return self._score(rollout)

    def _row(self, made: Score | Rollout) -> Row:
        row = Row.of(made)
        known = self._by_record.setdefault(row.record, row)
        if known is row:
            self._rows.append(row)
        return known

    def find(self, record: str) -> Row | None:
        """Return the row of a record."""
        return self._by_record.get(record)

    def chosen(self, choice: Choice) -> list[Row]:
        """Return the rows of a choice; those of the last one are kept until anything is read."""
        version, last, rows = self._chosen
        if (version, last) != (self.version, choice):
            rows = choice.rows(self._rows)
            self._chosen = self.version, choice, rows
        return rows

    def want(self, rows: Iterable[Row]) -> None:
        """Let the next look read the records of these rows, which are looked at, before others."""
        self._wanted = [row.record for row in rows if row.said is None]

    def _read_wanted(self) -> bool:
        """Read the records that are wanted; return whether there are any."""
        wanted, self._wanted = self._wanted, ()
        for rollout in read_chosen(self.folder, wanted) if wanted else ():
            self._row(rollout).said = said_in(rollout)
        return bool(wanted)

    def rollout(self, row: Row) -> Rollout | None:
        """Read the record of a row; None if it is gone. Raises RunLogError."""
        if row.place is None:
            return next(read_chosen(self.folder, [row.record]), None)
        return next((found for found, _ in new_rollouts(self.folder, row.place)), None)

    def progress(self) -> Mapping[str, Any]:
        """Return how far the run is, and what its rows can be filtered by, as the page gets it."""
        rows, info = self._rows, self.info
        ended = info.ended is not None or info.stopped is not None
        decision = self._analysis.verdict.decision if self._analysis and ended else None
        found = self._analysis is None or self._analysis.found
        verdict = verdict_name(decision, info.settings.findings_only, found)
        outcomes = Counter(row.kind for row in rows)
        labels: dict[str, str] = {name: look.label for name, look in LOOKS.items()}
        labels[REFUSED] = REFUSED
        rules = Counter(rule for row in rows for rule in {found.id for found in row.findings})
        return {
            "version": self.version,
            "attempts": len(rows),
            "read": sum(row.said is not None for row in rows),
            "planned": max(info.planned, len(rows)),
            "ended": ended,
            "verdict": verdict if self._analysis and ended else "",
            "decision": decision or "none",
            "problem": self._problem or visible(info.stopped or ""),
            "choices": {
                "api": _counted(row.condition.api for row in rows),
                "mode": _counted(row.condition.mode for row in rows),
                "outcome": [
                    [name, label, outcomes[name]]
                    for name, label in labels.items()
                    if outcomes[name]
                ],
                "rule": [[rule, rule, count] for rule, count in sorted(rules.items())],
            },
        }

    def samples(self) -> list[str]:
        """Return the names of all tasks and samples."""
        return sorted({visible(named(row)) for row in self._rows})


def _counted(values: Iterable[str | None]) -> list[list[str | int]]:
    counts = Counter(filter(None, values))
    return [[value, value, count] for value, count in sorted(counts.items())]


def _findings_of_probes(analysis: Analysis) -> Mapping[str, tuple[Finding, ...]]:
    """Return the examples of the findings of probes, by record: scores have those of checks."""
    found: dict[str, tuple[Finding, ...]] = defaultdict(tuple)
    for rule in analysis.checks:
        for finding in rule.examples if rule.of_probe else ():
            found[finding.evidence.record] += (finding,)
    return found


def _stat(path: Path, what: str) -> int:
    """Return a number about a file; 0 if there is none."""
    try:
        return int(getattr(path.stat(), what))
    except OSError:
        return 0
