"""The verdict of an eval run as a whole, once more than its scores is known. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.healthbench.summary import HealthBenchSummary
from evals.judgement import CellVerdict
from evals.records import EvalSettings
from evals.results import CellResult
from harness.records.analysis import Decision

MOST_UNGRADED = 0.01
"""By how much items without a grade may move a score before it is said to be undecided."""

CUT_OFF = "The run is not finished: go on with `gpt-oss-verify eval --resume RUN`."
NOTHING_TO_HOLD_IT_TO = (
    "No score is published about sample questions. A measured one can be: make it with "
    "`gpt-oss-verify baseline create RUN`, and give it with --baseline FILE."
)


def decide(
    cells: Sequence[CellResult],
    *,
    complete: bool,
    shard: tuple[int, int] | None,
    settings: EvalSettings | None = None,
    stopped: str | None = None,
) -> tuple[Decision | None, tuple[str, ...]]:
    """Fail if a cell fails, pass if all pass; with the reasons, the gravest first.

    None where there was nothing to hold the run to: for a complete run on sample questions, since
    whoever asked for those did not ask for a verdict, and for a complete shard. A cell of real
    questions without a baseline leaves the run inconclusive, and so does an eval that the gate asks
    for and the run did not.
    """
    if shard is not None and complete:
        why = f"This is shard {shard[0]} of {shard[1]}: the verdict is on all of them merged."
        return None, (why,)
    unasked = tuple(_unasked(settings)) if settings else ()
    margins = tuple(_margins(settings)) if settings else ()
    decision = _overall(cells, complete=complete and not unasked)
    if decision is None:
        return None, (NOTHING_TO_HOLD_IT_TO,)
    cut_off = (stopped,) if stopped else () if complete else (CUT_OFF,)
    reasons = _reasons([cell.verdict for cell in cells])
    return decision, (*cut_off, *unasked, *reasons, *margins)


def _unasked(settings: EvalSettings) -> Iterator[str]:
    where = settings.origins.get("evals")
    for name in settings.must_ask:
        if name not in settings.evals:
            yield f"The gate ({where}) asks for the eval {name}, and the run did not ask it."


def _margins(settings: EvalSettings) -> Iterator[str]:
    """Where the margins come from that are not the defaults, a sentence for each."""
    if settings.margin is None:
        for name in settings.evals:
            if name in settings.margins and (where := settings.origins.get(f"margins.{name}")):
                yield f"The margin of {name}, {settings.margins[name]:g} points, is from {where}."


def _overall(cells: Sequence[CellResult], *, complete: bool) -> Decision | None:
    decisions = [cell.verdict.decision for cell in cells]
    if "fail" in decisions:
        return "fail"
    if not complete or "inconclusive" in decisions:
        return "inconclusive"
    open_cells = [cell for cell in cells if cell.verdict.decision is None]
    if any(not cell.dataset.sample for cell in open_cells):
        return "inconclusive"
    return "pass" if len(open_cells) < len(cells) else None


def _reasons(verdicts: Sequence[CellVerdict]) -> tuple[str, ...]:
    order: list[Decision | None] = ["fail", "inconclusive", None, "pass"]
    ranked = sorted(verdicts, key=lambda verdict: order.index(verdict.decision))
    return tuple(verdict.reason for verdict in ranked)


def held_back(verdict: CellVerdict, rubric: HealthBenchSummary) -> CellVerdict:
    """The verdict, but undecided where the grader left so much open that it could change."""
    overall = rubric.overall
    if verdict.decision is None or overall.high - overall.low <= MOST_UNGRADED:
        return verdict
    cell = verdict.cell
    reason = (
        f"{cell.eval}, {cell.model}, {cell.effort} effort: undecided: {rubric.ungraded_items} of "
        f"{rubric.items} rubric items have no grade, and the score may be anything from "
        f"{overall.low:.1%} to {overall.high:.1%}; ask again with `gpt-oss-verify grade RUN`."
    )
    return verdict.model_copy(update={"decision": "inconclusive", "reason": reason})
