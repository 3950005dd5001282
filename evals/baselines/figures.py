"""Which published figures are the baseline of a score, why, and how noisy they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from evals.baselines.published import Benchmark
from harness.records.analysis import BaselineFigure, BaselineInfo
from harness.statistics.mean_scores import Mean
from harness.statistics.noninferiority import run_error

CARD = "card"


def choose_figures(figures: Sequence[BaselineFigure], source: str | None) -> BaselineInfo | None:
    """The figures to compare with, and the reason for choosing them; None if there are none.

    Args:
        figures: All figures published for the eval, model and effort.
        source: The source to use; None for the independent reproductions.
    """
    card = [figure for figure in figures if figure.kind == "card"]
    if source is not None:
        chosen = [figure for figure in figures if figure.source == source]
        reason = f"The figures of {chosen[0].where}, as requested." if chosen else ""
        return _info(source, reason, chosen)
    chosen = [figure for figure in figures if figure.kind == "reproduction"]
    if chosen:
        return _info("healthy range", _why_not_the_card(chosen, card), chosen)
    reason = "The model card alone: no independent reproduction of this figure is known."
    return _info(CARD, reason, card)


def pooled_mean(figures: Sequence[BaselineFigure], benchmark: Benchmark) -> Mean:
    """The mean of published figures, with the noise that figures of their kind have.

    A figure rests on the tries its source states, or else on `benchmark.assumed_tries`, and is
    taken to be as noisy as questions of equal difficulty make it, which is the most. If the figures
    differ by more than that, the difference between them is their noise. Graded scores cannot vary
    more than right-or-wrong ones of the same mean, so the same bound holds for them.
    """
    value = statistics.fmean(figure.value for figure in figures)
    tries = [figure.tries or benchmark.assumed_tries for figure in figures]
    noise = statistics.fmean(run_error(value, benchmark.questions, count) ** 2 for count in tries)
    if len(figures) > 1:
        noise = max(noise, statistics.variance(figure.value for figure in figures))
    squared = noise / len(figures)
    trials = value * (1 - value) / squared
    return Mean(
        value=value,
        error=math.sqrt(squared),
        tries=statistics.fmean(tries),
        trials=trials,
        freedom=math.inf,
    )


def _info(name: str, reason: str, figures: Sequence[BaselineFigure]) -> BaselineInfo | None:
    if not figures:
        return None
    return BaselineInfo(name=name, explanation=reason, figures=tuple(figures))


def _why_not_the_card(chosen: Sequence[BaselineFigure], card: Sequence[BaselineFigure]) -> str:
    stacks = "one independent stack" if len(chosen) == 1 else f"{len(chosen)} independent stacks"
    if not card:
        return f"What {stacks} reached; the model card has no such figure."
    figure = card[0].value
    if figure > max(reproduced.value for reproduced in chosen):
        return (
            f"What {stacks} reached: none came to the {figure:.1%} of the model card, so that the"
            " card alone would fail good providers."
        )
    return (
        f"What {stacks} reached; the model card's {figure:.1%} is the figure of one stack, its own."
    )
