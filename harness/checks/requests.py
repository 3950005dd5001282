"""Requests that had to be made again."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checks.base import GUIDE, Family, Problem
from harness.checks.view import View

family = Family()

_INTERNAL_ERROR = 500


@family.check(
    "request.server_error",
    severity="warning",
    summary="No request is answered with status 500, not even once.",
    why="It may be bad luck, or a harmony parser that fails on some of what the model writes; "
    "clients that do not repeat their requests lose the answer.",
    source=GUIDE,
)
def _server_error(seen: View) -> Iterator[Problem]:
    for turn in seen.delivered:
        failed = sum(retry.status == _INTERNAL_ERROR for retry in turn.exchange.retries)
        if failed:
            message = "A request went well only when it was repeated."
            yield Problem(turn, message, "no status 500", f"{failed} before the answer")
