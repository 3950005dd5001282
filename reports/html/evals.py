"""The page of an eval run."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from evals.records import TryScore
from evals.results import CellResult, EvalAnalysis
from harness.records.rollouts import Rollout
from reports import eval_words, words
from reports.html.eval_charts import effort_charts, length_charts, rate_charts
from reports.html.heatmap import Heatmap, Look, heatmap
from reports.html.library import library
from reports.html.page import render_page
from reports.html.settings import eval_facts
from reports.html.tiles import Tile
from reports.html.traffic_charts import timelines
from reports.tries import Try

Texts = Mapping[tuple[str, str], str]

LOOKS: Mapping[str, Look] = {
    "correct": Look("", "correct", "good"),
    "wrong": Look("X", "wrong", "bad"),
    "graded": Look("", "graded: tenths of the full score", "scored"),
    "no_answer": Look("N", "no answer", "poor"),
    "truncated": Look("C", "cut off", "poor"),
    "refused": Look("R", "refused", "poor"),
    "provider_error": Look("E", "provider error", "broken"),
    "grader_error": Look("G", "no grade", "broken"),
    "not_run": Look("", "not run", "none"),
}


@dataclass(frozen=True)
class EvalMap:
    """The map of one eval."""

    name: str
    map: Heatmap


def render_eval_html(
    analysis: EvalAnalysis,
    scores: Iterable[TryScore],
    rollouts: Iterable[Rollout],
    texts: Texts,
) -> str:
    """The whole page.

    Questions, and what was said to them, are in it only if somebody asked for their text.

    Args:
        analysis: The run.
        scores: The score of each try; read once.
        rollouts: The log; read once.
        texts: The text of each question by eval and id; empty to show none.
    """
    tries, measured = _gathered(analysis, scores)
    found = library(
        rollouts,
        [one for each in tries.values() for one in each],
        [question.record for cell in analysis.cells for question in cell.hardest],
        {kind: look.label for kind, look in LOOKS.items()},
        texts=bool(texts),
    )
    room = f"there was room for {len(found.transcripts):,} of {found.rollouts:,}"
    decision = analysis.decision
    return render_page(
        "eval.html",
        {
            "judged": found.judged,
            "transcripts": found.transcripts,
            "without": room if texts else "it was made without the text of questions",
        },
        analysis=analysis,
        title=f"gpt-oss on {analysis.run.provider.name}",
        decision=decision,
        label=words.VERDICTS[decision],
        reasons=analysis.reasons,
        warnings=list(
            dict.fromkeys(text for cell in analysis.cells for text in cell.verdict.warnings)
        ),
        place=words.address(analysis.run.provider),
        models=", ".join(analysis.run.settings.models),
        size=eval_words.size(analysis),
        next_step=eval_words.next_step(analysis, analysis.run_id),
        tiles=[_tile(cell) for cell in analysis.cells],
        samples=any(cell.dataset.sample for cell in analysis.cells),
        efforts=list(effort_charts(analysis.cells)),
        rates=list(rate_charts(analysis.cells)),
        lengths=list(length_charts(measured)),
        heads=eval_words.heads(analysis.cells, models=len(analysis.run.settings.models) > 1),
        table_rows=eval_words.rows(analysis.cells),
        how_to_read=eval_words.HOW_TO_READ,
        maps=list(_maps(analysis, tries, texts)),
        looks=LOOKS,
        names={cell.cell.name: eval_words.name(cell) for cell in analysis.cells},
        traffic=found.traffic,
        timelines=list(timelines(found.traffic)),
        rollouts=found.rollouts,
        kept=len(found.transcripts),
        open_questions=bool(texts),
        command=shlex.join(analysis.run.command),
        facts=list(eval_facts(analysis.run)),
    )


def _gathered(
    analysis: EvalAnalysis, scores: Iterable[TryScore]
) -> tuple[dict[str, list[Try]], dict[str, dict[str, list[float]]]]:
    """The tries of each eval, and of each measure the values in each cell."""
    cells = {cell.cell.name: cell for cell in analysis.cells}
    tries: dict[str, list[Try]] = defaultdict(list)
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        cell = cells[score.cell.name]
        tries[score.cell.eval].append(_try(score, cell))
        for title, value in _measures(score):
            measured[title][eval_words.name(cell)].append(value)
    return tries, measured


def _try(score: TryScore, cell: CellResult) -> Try:
    graded = score.outcome == "graded"
    tenths = "✓" if score.score >= 1 else str(max(0, int(score.score * 10)))
    notes = [("answer", score.answer or ""), ("score", f"{score.score:.2f}" if graded else "")]
    return Try(
        record=score.record,
        row=score.question,
        group=eval_words.name(cell),
        number=score.number,
        kind=score.outcome,
        good=score.outcome in ("correct", "graded"),
        score=score.score,
        detail=score.detail,
        mark=tenths if graded else None,
        notes=tuple((name, text) for name, text in notes if text),
    )


def _measures(score: TryScore) -> Iterator[tuple[str, float]]:
    if score.output_tokens is not None:
        yield "Output tokens of a try", score.output_tokens
    if score.reasoning_tokens is not None:
        yield "Reasoning tokens of a try", score.reasoning_tokens
    if score.seconds is not None:
        yield "Request, end to end", score.seconds


def _maps(
    analysis: EvalAnalysis, tries: Mapping[str, list[Try]], texts: Texts
) -> Iterator[EvalMap]:
    for name in dict.fromkeys(cell.cell.eval for cell in analysis.cells):
        every = tries.get(name, [])
        members = [cell for cell in analysis.cells if cell.cell.eval == name]
        groups = [eval_words.name(cell) for cell in members]
        width = max((one.number for one in every), default=0)
        hints = {question: text for (own, question), text in texts.items() if own == name}
        yield EvalMap(name, heatmap(every, groups, width, LOOKS, hints))


def _tile(cell: CellResult) -> Tile:
    score = cell.score.estimate
    note = f"interval {score.low * 100:.0f}–{score.high * 100:.0f} %"
    compared = cell.verdict.comparison
    if compared is not None:
        note += f"; baseline {compared.baseline * 100:.1f} %, margin {compared.margin * 100:g}"
    return Tile(eval_words.name(cell), f"{score.value * 100:.1f} %", note)
