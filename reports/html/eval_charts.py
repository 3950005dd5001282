"""The charts of an eval run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from evals.results import CellResult
from harness.records.scores import Estimate
from reports import eval_words, words
from reports.html.charts.curves import Curve, curves
from reports.html.charts.distributions import distributions
from reports.html.charts.efforts import Effort, efforts
from reports.html.figure import Figure

_MEASURES = (
    ("Output tokens of a try", "tokens"),
    ("Reasoning tokens of a try", "tokens"),
    ("Request, end to end", "s"),
)


def effort_charts(cells: Sequence[CellResult]) -> Iterator[Figure]:
    """Scores by effort, one chart for each eval of each model."""
    grouped: dict[tuple[str, str], list[CellResult]] = defaultdict(list)
    for cell in cells:
        grouped[cell.cell.eval, cell.cell.model].append(cell)
    for (name, model), members in grouped.items():
        title = f"{name}, {words.visible(model)}"
        yield Figure(title, efforts(title, [_effort(cell) for cell in members]))


def rate_charts(cells: Sequence[CellResult]) -> Iterator[Figure]:
    """pass@k, majority and pass^k of each cell with several tries."""
    for cell in cells:
        if len(cell.at_k) > 1:
            drawn = [
                Curve("pass@k", "first", [(at.k, at.pass_at) for at in cell.at_k]),
                Curve("maj@k", "third", [(at.k, _point(at.majority)) for at in cell.at_k]),
                Curve("pass^k", "second", [(at.k, at.pass_hat) for at in cell.at_k]),
            ]
            name = eval_words.name(cell)
            yield Figure(name, curves(name, drawn))


def length_charts(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> Iterator[Figure]:
    """Tokens and seconds, a row for each cell."""
    for title, unit in _MEASURES:
        drawing = distributions(title, unit, measured.get(title, {}))
        if drawing is not None:
            yield Figure(title, drawing, unit)


def _effort(cell: CellResult) -> Effort:
    baseline, compared = cell.verdict.baseline, cell.verdict.comparison
    return Effort(
        effort=cell.cell.effort,
        score=cell.score.estimate,
        baseline=None if baseline is None else (baseline.low, baseline.high),
        lowest=None if compared is None else compared.baseline - compared.margin,
    )


def _point(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)
