"""The expected cost of a run, in a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from evals.cost import Cost, Expectation, Part
from reports.text import counted, visible


def plan_lines(expected: Expectation) -> Iterator[str]:
    """Requests, tokens, cost and time of sampling and grading, and what can be decided."""
    yield from _lines("sampling", expected.sampling)
    for part in expected.parts if len(expected.parts) > 1 else ():
        yield f"  of which {part.name}: {counted(part.requests, 'request')}, " + _tokens(part)
    if expected.grading is not None:
        yield from _lines("grading", expected.grading)
    yield from map(visible, expected.forecasts)


def _lines(what: str, cost: Cost) -> Iterator[str]:
    yield f"{what} from {visible(cost.provider)}: {counted(cost.requests, 'request')}"
    tokens = f"  tokens: about {_tokens(cost)} (assumed"
    if cost.most_output_tokens is not None:
        tokens += f"; at most {cost.most_output_tokens:,}"
    yield f"{tokens})"
    if cost.dollars is None:
        yield "  cost: unknown; set `prices` in the entry of the provider"
    else:
        yield f"  cost: about ${cost.dollars:,.2f}"
    if cost.minutes is None:
        yield "  time: unknown until the first responses; no rpm or tpm limit is set"
    else:
        yield f"  time: at least {cost.minutes:,.0f} minutes with the configured limits"


def _tokens(amount: Cost | Part) -> str:
    return f"{amount.input_tokens:,} in, {amount.output_tokens:,} out"
