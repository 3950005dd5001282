"""All checks by id. A new module of checks is one entry in `MODULES`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.checks import (
    calls,
    finish,
    leaks,
    options,
    reasoning,
    replies,
    requests,
    responses_stream,
    schema,
    streams,
    texts,
    usage,
)
from harness.checks.across import COMPARISONS, compare_rollouts
from harness.checks.base import Check
from harness.findings import Rule
from harness.parsing.rollout import ParsedRollout
from harness.records.scores import Finding

__all__ = [
    "CHECKS",
    "SINGLE_CHECKS",
    "Check",
    "compare_rollouts",
    "examine",
]

MODULES = (
    schema,
    replies,
    streams,
    responses_stream,
    reasoning,
    calls,
    options,
    finish,
    usage,
    requests,
    leaks,
    texts,
)

SINGLE_CHECKS: Mapping[str, Check] = {
    check.id: check for module in MODULES for check in module.family.checks
}
CHECKS: Mapping[str, Rule] = {**SINGLE_CHECKS, **{each.id: each for each in COMPARISONS}}
"""All checks, including those that compare rollouts."""


def examine(
    parsed: ParsedRollout, *, except_for: Collection[str] = ()
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Apply the checks to one rollout.

    Args:
        parsed: The rollout.
        except_for: Ids of checks to skip, because the request provokes their problem.

    Returns:
        The ids of the applicable checks, and the findings.
    """
    results = [
        (check.id, *check.examine(parsed))
        for check in SINGLE_CHECKS.values()
        if check.id not in except_for
    ]
    return (
        frozenset(check_id for check_id, applies, _ in results if applies),
        tuple(finding for _, _, findings in results for finding in findings),
    )
