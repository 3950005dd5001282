"""All checks, by id. A new family is one module and one entry in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.checks import (
    calls,
    chat_stream,
    finish,
    leaks,
    reasoning,
    requests,
    responses_stream,
    schema,
    usage,
)
from harness.checks.base import Check
from harness.checks.view import View, view
from harness.judgement import Finding

__all__ = ["CHECKS", "Check", "View", "findings", "view"]

FAMILIES = (
    schema,
    requests,
    reasoning,
    finish,
    usage,
    calls,
    chat_stream,
    responses_stream,
    leaks,
)

CHECKS: Mapping[str, Check] = {
    check.id: check for module in FAMILIES for check in module.family.checks
}


def findings(seen: View) -> tuple[Finding, ...]:
    """What all checks have to say about one rollout."""
    return tuple(finding for check in CHECKS.values() for finding in check.findings(seen))
