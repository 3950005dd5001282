"""All checks by id. A new module of checks is one entry in `MODULES`."""

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from harness.api.parsed_rollout import ParsedRollout
from harness.checks import (
    calls,
    finish,
    leaks,
    logprobs,
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
from harness.checks.check import Check
from harness.checks.cross_checks import CROSS_CHECKS, compare_rollouts
from harness.checks.rules import Rule, finding_of
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
    logprobs,
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
CHECKS: Mapping[str, Rule] = {**SINGLE_CHECKS, **{check.id: check for check in CROSS_CHECKS}}
"""All checks, including those that compare rollouts."""


def examine(
    parsed: ParsedRollout,
    *,
    except_for: Collection[str] = (),
    broken: dict[str, str] | None = None,
) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Return the ids of the applicable checks, except those in `except_for`, and their findings.

    The traceback of a check that raises is added to `broken` by its id; without `broken`, it
    raises.
    """
    applicable: set[str] = set()
    findings: list[Finding] = []
    selections: dict[Callable[[ParsedRollout], object], list[Any]] = {}
    for check in _BY_SCOPE[parsed.rollout.api, parsed.mode]:
        rule, over, where = check.about.id, check.over, check.where
        if rule in except_for:
            continue
        try:
            parts = selections.get(over)
            if parts is None:  # Many checks judge the same parts.
                parts = selections[over] = list(over(parsed))
            for part in parts:
                if where is None or where(part):
                    applicable.add(rule)
                    findings += [
                        finding_of(check.about, parsed.rollout.id, problem)
                        for problem in check.judge(part)
                    ]
        except Exception:
            if broken is None:
                raise
            broken[rule] = traceback.format_exc()
    return frozenset(applicable), tuple(findings)
