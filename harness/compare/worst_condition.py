"""The figures of tool calling under the condition (API and mode) where each is worst."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.analysis import Analysis
from harness.records.scores import Estimate, Percentiles


@dataclass(frozen=True)
class WorstFigures:
    """Reports, histories and sites show these; a figure is None if the run does not have it."""

    k: int | None  # the number of tries at each case
    success: Estimate | None  # pass@1
    pass_at: Estimate | None  # pass@k
    pass_hat: Estimate | None  # pass^k
    first_token: Percentiles | None
    tokens_per_second: Percentiles | None


def worst_figures(analysis: Analysis) -> WorstFigures:
    """Return the lowest rates and speed, and the highest median time to the first token."""
    rates = [result.at_k for result in analysis.tool_calling if result.at_k]
    times = [result.latency for result in analysis.tool_calling]
    first = [each.first_token for each in times if each.first_token is not None]
    speeds = [each.tokens_per_second for each in times if each.tokens_per_second is not None]
    return WorstFigures(
        k=min((result.tries for result in analysis.tool_calling), default=None),
        success=_lowest([at[0].pass_at for at in rates]),
        pass_at=_lowest([at[-1].pass_at for at in rates]),
        pass_hat=_lowest([at[-1].pass_hat for at in rates]),
        first_token=max(first, key=lambda each: each.p50, default=None),
        tokens_per_second=min(speeds, key=lambda each: each.p50, default=None),
    )


def _lowest(rates: Sequence[Estimate]) -> Estimate | None:
    return min(rates, key=lambda rate: rate.value, default=None)
