"""From scores and a baseline to pass, fail or inconclusive, with reasons in plain sentences.

The provider passes if every cell passes, and fails if one fails. All of them having to pass keeps
the chance of a wrong pass at that of a single cell (Berger 1982, intersection-union). A wrong fail
has more chances with more cells; for a provider without a drop each is far below 5 %, since its
distance from the margin counts too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.baselines.base import MAKE_ONE, Baseline, NoReference, Reference
from evals.baselines.published import published_scores
from evals.judgement import BaselineInfo, CellScores, CellVerdict, EvalVerdict
from harness.records.analysis import Decision
from harness.statistics.differences import TAIL
from harness.statistics.estimators import complete_rounds
from harness.statistics.noninferiority import FIRST_LOOK, Comparison, always_valid_tail, compare

OTHER_MARGIN = 0.05
"""Margin of an eval about which nothing is published."""


def default_margin(name: str) -> float:
    """The margin of an eval, 0.01 being a point; why it is that is in `data/baselines.json`."""
    benchmark = published_scores().benchmarks.get(name)
    return OTHER_MARGIN if benchmark is None else benchmark.margin / 100


def judge_scores(
    cells: Sequence[CellScores],
    baseline: Baseline,
    margins: Mapping[str, float] | None = None,
    every_round: bool = False,
) -> EvalVerdict:
    """Hold every cell to its baseline.

    Args:
        cells: The scores of a run.
        baseline: What they are held to.
        margins: Tolerated drop by eval where it is not the default; 0.01 is a point.
        every_round: Whether this is one look of many at a run that stops when it is settled: only
            complete rounds count, and bounds hold over all looks.
    """
    judge = look if every_round else judge_cell
    chosen = margins or {}
    verdicts = tuple(
        judge(scores, baseline, chosen.get(scores.cell.eval, default_margin(scores.cell.eval)))
        for scores in cells
    )
    return EvalVerdict(
        decision=_overall([verdict.decision for verdict in verdicts]),
        reasons=_reasons(verdicts),
        cells=verdicts,
    )


def judge_cell(scores: CellScores, baseline: Baseline, margin: float) -> CellVerdict:
    """Judge a cell once, when all its tries are there; before, it may only fail.

    It does if it would although every try that is missing were right.
    """
    if scores.missing:
        planned = scores.planned * len(scores.scores)
        missing = f"{scores.missing} of {planned} planned tries are missing"
        best = _judge(_all_right(scores), baseline, margin, TAIL)
        if best.decision != "fail":
            return _undecided(scores, f"{missing}.")
        reason = f"{best.reason} That is with every missing try taken as right: {missing}."
        return best.model_copy(update={"reason": reason})
    return _judge(scores, baseline, margin, TAIL)


def look(scores: CellScores, baseline: Baseline, margin: float) -> CellVerdict:
    """Judge the rounds of a cell that are complete, as one look of many at a growing run.

    The run is settled, and may stop, when the decision is pass or fail; and when it is None, since
    then there is nothing to wait for.
    """
    rounds = complete_rounds(list(scores.scores.values()))
    done = len(rounds[0]) if rounds else 0
    if done < FIRST_LOOK:
        return _undecided(scores, f"{done} rounds are complete; the first look is at {FIRST_LOOK}.")
    so_far = scores.model_copy(
        update={"scores": dict(zip(scores.scores, map(tuple, rounds), strict=True))}
    )
    return _judge(so_far, baseline, margin, always_valid_tail(done, scores.planned))


def _judge(scores: CellScores, baseline: Baseline, margin: float, tail: float) -> CellVerdict:
    reference = baseline.reference(scores)
    if isinstance(reference, NoReference):
        reason = f"{_name(scores)}: not compared: {reference.reason}"
        return CellVerdict(cell=scores.cell, decision=None, reason=reason)
    comparison = compare(reference.run, reference.baseline, margin, tail)
    return CellVerdict(
        cell=scores.cell,
        decision=comparison.decision,
        reason=f"{_name(scores)}: {_sentence(comparison, reference)}",
        comparison=comparison,
        baseline=reference.info,
        warnings=reference.warnings,
    )


def _all_right(scores: CellScores) -> CellScores:
    """The same with every missing try scored 1, the most there is."""
    filled = {
        question: (*tries, *[1.0] * (scores.planned - len(tries)))
        for question, tries in scores.scores.items()
    }
    return scores.model_copy(update={"scores": filled})


def _undecided(scores: CellScores, why: str) -> CellVerdict:
    return CellVerdict(
        cell=scores.cell, decision="inconclusive", reason=f"{_name(scores)}: undecided: {why}"
    )


def _overall(decisions: Sequence[Decision | None]) -> Decision:
    if "fail" in decisions:
        return "fail"
    if "inconclusive" in decisions or "pass" not in decisions:
        return "inconclusive"
    return "pass"


def _reasons(verdicts: Sequence[CellVerdict]) -> tuple[str, ...]:
    order: list[Decision | None] = ["fail", "inconclusive", None, "pass"]
    ranked = sorted(verdicts, key=lambda verdict: order.index(verdict.decision))
    if not ranked:
        return ("Nothing was judged: the run has no scores.",)
    return tuple(verdict.reason for verdict in ranked)


def _sentence(comparison: Comparison, reference: Reference) -> str:
    between = comparison.difference
    measured = (
        f"{comparison.score:.1%} against {comparison.baseline:.1%} ({_baseline(reference.info)}),"
        f" a difference of {_points(between.value)} points"
        f" (at least {_points(between.low)}, at most {_points(between.high)})"
    )
    points = round(comparison.margin * 100, 2)
    margin = f"{points:g} point{'' if points == 1 else 's'}"
    if comparison.decision == "pass":
        drop = (comparison.margin + comparison.detectable) * 100
        return (
            f"as good as its baseline within {margin}: {measured}; a provider {drop:.1f} points"
            " worse than it would have failed with a chance of 80 %."
        )
    if comparison.decision == "fail":
        return f"worse than its baseline by more than {margin}: {measured}."
    return f"not settled whether it is within {margin}: {measured}; {_what_next(comparison)}"


def _what_next(comparison: Comparison) -> str:
    if comparison.further_tries is None:
        return f"more tries cannot settle it, this baseline is too uncertain: {MAKE_ONE}."
    times = "try" if comparison.further_tries == 1 else "tries"
    return (
        f"about {comparison.further_tries} more {times} of every question would settle it if the"
        " difference stays."
    )


def _baseline(info: BaselineInfo) -> str:
    if info.low == info.high:
        return info.name
    return f"{info.name}, {info.low:.1%} to {info.high:.1%}"


def _points(value: float) -> str:
    return f"{value * 100:+.1f}"


def _name(scores: CellScores) -> str:
    return f"{scores.cell.eval}, {scores.cell.model}, {scores.cell.effort} effort"
