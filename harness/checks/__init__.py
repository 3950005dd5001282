"""All checks, by id. A new module of checks is one entry in `MODULES`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.checks import (
    calls,
    chat_stream,
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
from harness.checks.across import COMPARISONS, compared
from harness.checks.base import Check, Known
from harness.parsing.rollout import ParsedRollout, parse_rollout
from harness.records.scores import Finding

__all__ = [
    "CATALOGUE",
    "CHECKS",
    "FAMILIES",
    "Check",
    "ParsedRollout",
    "compared",
    "examine",
    "parse_rollout",
]

MODULES = (
    schema,
    replies,
    streams,
    chat_stream,
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

FAMILIES = tuple(module.family for module in MODULES)

CHECKS: Mapping[str, Check] = {check.id: check for family in FAMILIES for check in family.checks}

CATALOGUE: Mapping[str, Known] = {**CHECKS, **{each.id: each for each in COMPARISONS}}


def examine(
    parsed: ParsedRollout, *, except_for: Collection[str] = ()
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """The ids of the checks that had something to judge in a rollout, and what they found.

    Args:
        parsed: The rollout.
        except_for: Ids of checks that do not apply, because the request provokes what they find.
    """
    looks = {
        check.id: check.examine(parsed) for check in CHECKS.values() if check.id not in except_for
    }
    applicable = frozenset(check_id for check_id, (had_any, _) in looks.items() if had_any)
    return applicable, tuple(finding for _, found in looks.values() for finding in found)
