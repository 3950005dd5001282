"""Whether the analysis and the reports in a run folder follow from its records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

from evals.judging import rejudged
from evals.records import TryScore
from evals.results import EvalAnalysis
from evals.run_folder import read_analysis as read_eval_analysis
from evals.run_folder import read_scores

from harness.auditing.findings import Breach
from harness.cli import eval_ending, report_files
from harness.cli.formats import FILES, Format
from harness.records.analysis import Analysis
from harness.records.judgements import Examination
from harness.storage import run_folder
from harness.storage.run_folder import ANALYSIS_FILE, JUDGEMENTS_FILE, SCORES_FILE
from harness.storage.run_log import SMOKE_TEST, run_kind
from harness.verification import smoke

_REPORTS: tuple[Format, ...] = ("md", "html", "junit")


def unfounded(folder: Path) -> Iterator[Breach]:
    """What in a judged run folder is not what this version makes of its records.

    Raises:
        ConfigurationError: The cases or questions cannot be read.
        RunLogError: The folder was not judged by this version, or cannot be read.
    """
    names = _smoke(folder) if run_kind(folder) == SMOKE_TEST else _eval(folder)
    for name in names:
        message = "is not what this version makes of the records; make it again with recheck"
        yield Breach(kind="judgement", where=name, message=message)


def _smoke(folder: Path) -> Iterator[str]:
    stored = run_folder.read_analysis(folder)
    kept: list[Examination] = []
    fresh = smoke.judge(folder, stored.verdict.thresholds, kept.extend)
    fresh = fresh.model_copy(update={"run_id": stored.run_id})
    if fresh != stored:
        yield ANALYSIS_FILE
    said = map(_as_written, kept)
    if not _same(said, map(_as_written, run_folder.read_judgements(folder))):
        yield JUDGEMENTS_FILE
        return
    yield from _reports(folder, lambda form: _smoke_texts(folder, fresh, form))


def _eval(folder: Path) -> Iterator[str]:
    stored = read_eval_analysis(folder)
    differing: list[str] = []

    def compare(scores: Iterable[TryScore]) -> None:
        if not _same(scores, read_scores(folder)):
            differing.append(SCORES_FILE)

    fresh = rejudged(folder, eval_ending.held_to(stored), compare).model_copy(
        update={"run_id": stored.run_id}
    )
    if fresh != stored:
        yield ANALYSIS_FILE
    yield from differing
    if not differing:
        yield from _reports(folder, lambda form: _eval_texts(folder, fresh, form))


def _reports(folder: Path, texts: Callable[[Format], Iterable[str]]) -> Iterator[str]:
    """The reports that are there and say none of the texts that they may say."""
    for form in _REPORTS:
        path = folder / FILES[form]
        if path.is_dir():
            yield path.name
        elif path.exists():
            found = path.read_text(encoding="utf-8", errors="replace")
            if all(found != text for text in texts(form)):
                yield path.name


def _smoke_texts(folder: Path, analysis: Analysis, form: Format) -> Iterator[str]:
    yield report_files.text(folder, analysis, form)


def _eval_texts(folder: Path, analysis: EvalAnalysis, form: Format) -> Iterator[str]:
    yield eval_ending.text(folder, analysis, form, {})
    yield eval_ending.text(folder, analysis, form, eval_ending.question_texts(folder))


def _as_written(one: Examination) -> object:
    return one.model_dump(mode="json", exclude=run_folder.COMPARED)


def _same(some: Iterable[object], others: Iterable[object]) -> bool:
    """Whether both yield the same; all of `some` is taken in any case."""
    same = True
    for one, other in zip_longest(some, others):
        same = same and one == other
    return same
