"""The rows of scores side by side: eval runs, baseline files and published figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evals.baselines.base import NoReference, Reference
from evals.baselines.runs import MeasuredRun
from evals.comparison.drafts import DraftRow, verdict_row
from evals.comparison.records import Measured
from evals.comparison.runs import CellKey, Compared, PublishedFigures, ScoredRun, cell_key
from evals.judgement import CellScores
from evals.records import Outcome
from evals.results import CellResult
from harness.statistics.differences import Pair
from harness.statistics.intervals import ALPHA
from harness.statistics.mean_scores import mean_score

SCORES = "Scores"
OUTCOMES = "Outcomes of tries"
AMOUNTS = "Length and time"
_SHOWN: tuple[Outcome, ...] = (
    "no_answer",
    "truncated",
    "refused",
    "provider_error",
    "grader_error",
    "not_run",
)


@dataclass(frozen=True)
class NotPaired:
    """Why two scores are not compared, in a sentence."""

    reason: str


def score_rows(columns: Sequence[Compared], against: int) -> Iterator[DraftRow]:
    """All rows of scores; a column without scores has nothing in them."""
    runs = [one if isinstance(one, ScoredRun) else None for one in columns]
    if not any(runs):
        return
    analyses = [None if run is None else run.analysis for run in runs]
    decisions = [None if analysis is None else analysis.decision for analysis in analyses]
    if any(decisions):
        yield verdict_row("eval", decisions)
    found = [cell_key(one.cell) for run in runs if run for one in run.measured.cells]
    keys = list(dict.fromkeys(found))
    for key in keys:
        yield _score_row(key, columns, against)
    for key in keys:
        yield from _details(key, runs)


def pair_scores(here: Compared, there: Compared, key: CellKey) -> Pair | NotPaired:
    """Two columns on the questions that both were asked."""
    if isinstance(here, ScoredRun) and isinstance(there, ScoredRun):
        return _measured_pair(here, there, key)
    if isinstance(here, ScoredRun) and isinstance(there, PublishedFigures):
        return _published_pair(here, there, key)
    if isinstance(here, PublishedFigures) and isinstance(there, ScoredRun):
        turned = _published_pair(there, here, key)
        if isinstance(turned, NotPaired):
            return turned
        return Pair(turned.reference, turned.run, turned.cases)
    return NotPaired("there are no scores to compare.")


def shared_tries(
    here: CellScores, there: CellScores
) -> list[tuple[str, Sequence[float], Sequence[float]]]:
    """The questions that were answered on both sides, with the scores of their tries."""
    return [
        (question, tries, there.scores[question])
        for question, tries in here.scores.items()
        if tries and there.scores.get(question)
    ]


def row_name(key: CellKey) -> str:
    """`aime25, gpt-oss-20b, high effort`."""
    return f"{key[0]}, {key[1]}, {key[2]} effort"


def _score_row(key: CellKey, columns: Sequence[Compared], against: int) -> DraftRow:
    cells = tuple(_score(one, key, columns) for one in columns)
    pairs: list[Pair | None] = []
    for index, one in enumerate(columns):
        pair = NotPaired("") if index == against else pair_scores(one, columns[against], key)
        pairs.append(None if isinstance(pair, NotPaired) else pair)
    row = DraftRow(SCORES, row_name(key), "share", cells, about="Mean score over all questions.")
    return row.testing(pairs)


def _score(column: Compared, key: CellKey, columns: Sequence[Compared]) -> Measured | None:
    if isinstance(column, ScoredRun):
        scores = column.find(key)
        return None if scores is None else _own_score(scores)
    if isinstance(column, PublishedFigures):
        return _published_score(column, key, columns)
    return None


def _own_score(scores: CellScores) -> Measured:
    """The score over every planned try; what is missing counts as 0."""
    filled = [(*tries, *[0.0] * (scores.planned - len(tries))) for tries in scores.scores.values()]
    score = mean_score(filled).estimate
    return Measured(
        value=score.value,
        low=score.low,
        high=score.high,
        total=len(scores.scores) * scores.planned,
    )


def _published_score(
    column: PublishedFigures, key: CellKey, columns: Sequence[Compared]
) -> Measured | None:
    for run in columns:
        if isinstance(run, ScoredRun):
            pair = _published_pair(run, column, key)
            if isinstance(pair, Pair):
                low, high = pair.reference.bounds(ALPHA / 2)
                return Measured(value=pair.reference.value, low=low, high=high)
    return None


def _measured_pair(here: ScoredRun, there: ScoredRun, key: CellKey) -> Pair | NotPaired:
    ours, theirs = here.find(key), there.find(key)
    if ours is None or theirs is None:
        return NotPaired(f"only one of them has {row_name(key)}.")
    shared = shared_tries(ours, theirs)
    if not shared:
        return NotPaired(f"no question of {row_name(key)} was answered in both.")
    part = ours.model_copy(update={"scores": {name: tries for name, tries, _ in shared}})
    return _pair(MeasuredRun(there.measured, there.entry.label).reference, part)


def _published_pair(run: ScoredRun, column: PublishedFigures, key: CellKey) -> Pair | NotPaired:
    scores = run.find(key)
    if scores is None:
        return NotPaired(f"{run.entry.label} has no {row_name(key)}.")
    if scores.missing:
        return NotPaired(f"{scores.missing} tries of {row_name(key)} are missing.")
    return _pair(column.baseline.reference, scores)


def _pair(
    reference: Callable[[CellScores], Reference | NoReference], scores: CellScores
) -> Pair | NotPaired:
    found = reference(scores)
    if isinstance(found, NoReference):
        return NotPaired(found.reason)
    return Pair(found.run, found.baseline, len(scores.scores))


def _details(key: CellKey, runs: Sequence[ScoredRun | None]) -> Iterator[DraftRow]:
    name = row_name(key)
    cells = [None if run is None else _result(run, key) for run in runs]
    for outcome in _SHOWN:
        shares = tuple(None if cell is None else _outcome(cell, outcome) for cell in cells)
        if any(share is not None and share.hits for share in shares):
            yield DraftRow(OUTCOMES, outcome.replace("_", " "), "share", shares, group=name)
    seconds = tuple(
        None if cell is None or cell.seconds is None else Measured(value=cell.seconds.p50)
        for cell in cells
    )
    if any(seconds):
        about = "Median of the tries. Shown, not tested: it depends on place and hour."
        yield DraftRow(AMOUNTS, "request", "seconds", seconds, group=name, about=about)
    lengths = tuple(
        None
        if cell is None or cell.tokens.reasoning is None
        else Measured(value=cell.tokens.reasoning.p50)
        for cell in cells
    )
    if any(lengths):
        about = "Median of the tries."
        yield DraftRow(AMOUNTS, "reasoning tokens", "tokens", lengths, group=name, about=about)


def _result(run: ScoredRun, key: CellKey) -> CellResult | None:
    cells = () if run.analysis is None else run.analysis.cells
    return next((cell for cell in cells if cell_key(cell.cell) == key), None)


def _outcome(cell: CellResult, outcome: Outcome) -> Measured:
    hits = cell.outcomes.get(outcome, 0)
    return Measured(value=hits / cell.planned, hits=hits, total=cell.planned)
