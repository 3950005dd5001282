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
from harness.records.judgements import Examination, Finding

__all__ = [
    "CHECKS",
    "SINGLE_CHECKS",
    "Check",
    "compare_rollouts",
    "examination",
    "examine",
    "first_input",
    "reply_ids",
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


def reply_ids(parsed: ParsedRollout) -> tuple[str, ...]:
    """The ids of the replies of a rollout, for `compare_rollouts`."""
    ids = (reply.raw.get("id") for _, reply in parsed.replies)
    return tuple(each for each in ids if isinstance(each, str) and each)


def first_input(parsed: ParsedRollout) -> int | None:
    """The prompt tokens of the first request of a rollout, for `compare_rollouts`."""
    first = parsed.exchanges[0] if parsed.exchanges else None
    return first.reply.input_tokens if first and first.reply else None


def examination(parsed: ParsedRollout, *, except_for: Collection[str] = ()) -> Examination:
    """The record of applying the checks to one rollout; arguments as in `examine`."""
    applicable, findings = examine(parsed, except_for=except_for)
    return Examination(
        record=parsed.rollout.id,
        sample=parsed.rollout.sample,
        api=parsed.rollout.api,
        mode=parsed.mode,
        applicable=applicable,
        findings=findings,
        reply_ids=reply_ids(parsed),
        first_input=first_input(parsed),
    )
