"""Figures and texts of an eval run as its reports write them; shared by all formats."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from evals.records import Outcome
from evals.results import CellResult, EvalAnalysis, QuestionResult
from harness.records.scores import Percentiles
from reports import words

SCORE = "score %"
SAMPLES = (
    "Sample questions that come with the tool: they show that everything works. "
    "No published score is about them."
)
HOW_TO_READ = (
    "Every planned try is in the denominator; whatever is no answer scores 0. In brackets the 95 % "
    "interval for other questions of the kind, questions as clusters; ± the standard error of "
    "asking these questions again. pass@k: at least one of k tries is right; pass^k: all are; "
    "maj@k: the most frequent answer of k is."
)
_OUTCOMES: tuple[Outcome, ...] = (
    "correct",
    "wrong",
    "graded",
    "no_answer",
    "truncated",
    "refused",
    "provider_error",
    "grader_error",
    "not_run",
)
_MARKED: tuple[Outcome, ...] = ("correct", "wrong", "no_answer")
_GRADED: tuple[Outcome, ...] = ("graded", "grader_error")
_RATES: tuple[Outcome, ...] = ("no_answer", "truncated", "refused", "provider_error")

Line = tuple[str, list[str]]


def heads(cells: Sequence[CellResult], *, models: bool) -> list[str]:
    """The head of each column; the model only where there are several."""
    return [
        "\n".join([_eval(cell), *([cell.cell.model] if models else []), cell.cell.effort])
        for cell in cells
    ]


def rows(cells: Sequence[CellResult], *, every_k: bool = True) -> list[Line]:
    """The table of a run: a label, then one cell for each cell of the run.

    Args:
        cells: The cells.
        every_k: Whether to show every number of tries, or only all that a cell has.
    """
    curves = _curves(cells, every_k=every_k)
    return [*_scores(cells), *curves, *_counts(cells), *_amounts(cells), *_verdicts(cells)]


def name(cell: CellResult) -> str:
    """`aime25, gpt-oss-20b, high effort`."""
    return f"{_eval(cell)}, {words.visible(cell.cell.model)}, {cell.cell.effort} effort"


def size(analysis: EvalAnalysis) -> str:
    """What was planned and how much of it was done."""
    cells = analysis.cells
    settings = analysis.run.settings
    done = sum(cell.finished for cell in cells)
    parts = [
        words.counted(len(settings.evals), "eval"),
        words.counted(len(settings.models), "model"),
        words.counted(len(settings.efforts), "effort"),
    ]
    text = f"{' × '.join(parts)}, {done:,} of {analysis.run.planned:,} tries"
    if settings.until_decided:
        text += f", ended by: {analysis.run.ended or 'interruption'}"
    if analysis.run.shard is not None:
        text += ", shard {} of {}".format(*analysis.run.shard)
    return text


def next_step(analysis: EvalAnalysis, folder: str) -> str:
    """What the user may want to do now."""
    place = shlex.quote(folder)
    if not analysis.complete:
        return f"Finish the run with: gpt-oss-verify eval --resume {place}"
    if analysis.run.shard is not None:
        return f"Join all shards with: gpt-oss-verify merge {place} RUN …"
    if analysis.decision is None:
        return f"Make this run a baseline for others: gpt-oss-verify baseline create {place}"
    if analysis.decision == "inconclusive":
        return "The reasons say what would settle it; --until-decided samples until it is."
    if analysis.decision == "fail":
        return "Start with the hardest questions in the report: each names a record to look at."
    return "Let others be held to this run: gpt-oss-verify baseline create " + place


def choices(question: QuestionResult) -> str:
    """Where the choices of a question stood; the right one is the first in the data."""
    if question.order is None:
        return ""
    placed = list(zip("ABCD", question.order, strict=False))
    right = next(letter for letter, choice in placed if choice == 0)
    stood = " ".join(f"{letter}={choice + 1}" for letter, choice in placed)
    return f"{stood}, {right} was right"


def _scores(cells: Sequence[CellResult]) -> Iterator[Line]:
    yield SCORE, [words.estimate(cell.score.estimate) for cell in cells]
    yield "± on repeat", [f"{cell.score.run_error * 100:.1f}" for cell in cells]
    yield from _some("as OpenAI's script %", cells, lambda cell: _percent(cell.openai_score))
    yield "tries", [f"{cell.finished:,} of {cell.planned:,}" for cell in cells]
    yield "questions", [f"{cell.questions:,}" for cell in cells]


def _curves(cells: Sequence[CellResult], *, every_k: bool) -> Iterator[Line]:
    chosen = {at.k for cell in cells for at in (cell.at_k if every_k else cell.at_k[-1:])}
    for k in sorted(chosen - {1}):
        found = [next((at for at in cell.at_k if at.k == k), None) for cell in cells]
        yield f"pass@{k} %", ["–" if at is None else _percent(at.pass_at.value) for at in found]
        yield f"pass^{k} %", ["–" if at is None else _percent(at.pass_hat.value) for at in found]
        yield f"maj@{k} %", ["–" if at is None else _percent(at.majority) for at in found]


def _counts(cells: Sequence[CellResult]) -> Iterator[Line]:
    for outcome in _OUTCOMES:
        if any(cell.outcomes.get(outcome) for cell in cells) or outcome in _RATES:
            yield outcome, [_count(cell, outcome) for cell in cells]


def _amounts(cells: Sequence[CellResult]) -> Iterator[Line]:
    yield "tokens out", [f"{cell.tokens.output:,}" for cell in cells]
    yield from _some("reasoning tokens", cells, lambda cell: _spread(cell.tokens.reasoning))
    yield from _some("answer tokens", cells, lambda cell: _spread(cell.tokens.answer))
    yield from _some("request, s", cells, lambda cell: words.spread(cell.seconds, digits=1))


def _verdicts(cells: Sequence[CellResult]) -> Iterator[Line]:
    compared = [cell.verdict.comparison for cell in cells]
    if any(compared):
        yield "baseline %", ["–" if one is None else _percent(one.baseline) for one in compared]
        yield (
            "difference",
            ["–" if one is None else f"{one.difference.value * 100:+.1f}" for one in compared],
        )
        yield "margin", ["–" if one is None else f"{one.margin * 100:g}" for one in compared]
    yield "verdict", [cell.verdict.decision or "–" for cell in cells]


def _some(
    label: str, cells: Sequence[CellResult], said: Callable[[CellResult], str]
) -> Iterator[Line]:
    """The line, unless there is nothing to say for any cell."""
    found = [said(cell) for cell in cells]
    if any(text != "–" for text in found):
        yield label, found


def _count(cell: CellResult, outcome: Outcome) -> str:
    count = cell.outcomes.get(outcome, 0)
    if not count and outcome in (_MARKED if cell.rubric else _GRADED):
        return "–"
    return f"{count:,} ({count / cell.planned:.0%})" if count else "0"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.1f}"


def _spread(value: Percentiles | None) -> str:
    return words.spread(value, digits=0)


def _eval(cell: CellResult) -> str:
    return cell.cell.eval + (" (samples)" if cell.dataset.sample else "")
