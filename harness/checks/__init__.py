"""All checks by id. A new module of checks is one entry in `MODULES`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from harness.checks import (
    calls,
    finish,
    leaks,
    options,
    planned_arguments,
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
from harness.findings import Rule, finding_of
from harness.parsing.rollout import ParsedRollout
from harness.records.conditions import APIS, MODES, Api, Mode
from harness.records.scores import Finding

__all__ = ["CHECKS", "SINGLE_CHECKS", "Check", "compare_rollouts", "examine"]

MODULES = (
    schema,
    replies,
    streams,
    responses_stream,
    reasoning,
    calls,
    planned_arguments,
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
_BY_SCOPE: Mapping[tuple[Api, Mode], Sequence[Check]] = {
    (api, mode): [
        check
        for check in SINGLE_CHECKS.values()
        if api in check.about.apis and mode in check.about.modes
    ]
    for api in APIS
    for mode in MODES
}
CHECKS: Mapping[str, Rule] = {**SINGLE_CHECKS, **{each.id: each for each in COMPARISONS}}
"""All checks, including those that compare rollouts."""


def examine(
    parsed: ParsedRollout, *, except_for: Collection[str] = ()
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Apply the checks, but those in `except_for`: ids of applicable ones, and the findings."""
    applicable: set[str] = set()
    findings: list[Finding] = []
    selections: dict[Callable[[ParsedRollout], object], list[Any]] = {}
    for check in _BY_SCOPE[parsed.rollout.api, parsed.mode]:
        about, over, where = check.about, check.over, check.where
        if about.id in except_for:
            continue
        report = partial(finding_of, about, parsed.rollout.id)
        if over not in selections:  # Many checks judge the same parts.
            selections[over] = list(over(parsed))
        for part in selections[over]:
            if where is None or where(part):
                applicable.add(about.id)
                findings += map(report, check.judge(part))
    return frozenset(applicable), tuple(findings)
