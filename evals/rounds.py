"""Sampling in rounds until every cell is decided, or a budget is used up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from evals.judging import judge
from evals.plan import Plan, Try
from evals.records import Cell, EvalSettings, RunEnd
from evals.results import EvalAnalysis
from harness.statistics.noninferiority import FIRST_LOOK


async def sample_rounds(
    plan: Plan,
    settings: EvalSettings,
    folder: Path,
    carry_out: Callable[[Sequence[Try]], Awaitable[bool]],
    say: Callable[[str], None],
) -> RunEnd | None:
    """Carry out round after round: one try of every question in the cells that are undecided.

    Args:
        plan: What may be asked at most.
        settings: With the budget: samples, and output tokens as the provider counts them.
        folder: The run's, judged after each round from the second on.
        carry_out: Makes those of the tries that are not yet in the log; False if it could not
            make them all.
        say: Told what goes on.

    Returns:
        Why it came to its end, None if it did not.
    """
    cells: Sequence[Cell] = plan.cells
    made = 0
    for number in range(1, plan.rounds + 1):
        tries = list(plan.round(number, cells))
        made += len(tries)
        if settings.budget_samples is not None and made > settings.budget_samples:
            return "budget"
        if not await carry_out(tries):
            return None
        if number < FIRST_LOOK:
            continue
        analysis = judge(folder)
        cells = undecided(analysis)
        say(f"round {number}: {len(plan.cells) - len(cells)} of {len(plan.cells)} cells decided")
        if not cells:
            return "decided"
        if settings.budget_tokens is not None and used(analysis) >= settings.budget_tokens:
            return "budget"
    return "all tries"


def undecided(analysis: EvalAnalysis) -> tuple[Cell, ...]:
    """The cells in which more tries may change something."""
    return tuple(
        result.cell for result in analysis.cells if result.verdict.decision == "inconclusive"
    )


def used(analysis: EvalAnalysis) -> int:
    """Output tokens of all tries so far."""
    return sum(result.tokens.output for result in analysis.cells)
