"""Requests that were refused, failed, or had to be made again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.checks.base import GUIDE, Family, Problem
from harness.checks.subjects import delivered, exchanges
from harness.parsing.rollout import ParsedExchange

family = Family("errors")

_INTERNAL_ERROR = 500
# What harmony's parser and the servers built on it say when they fail, whatever the status.
_PARSER_ERROR = re.compile(
    r"unexpected tokens? .{0,40}(?:message header|start token)|HarmonyError|harmony pars"
    r"|channel marker present but no channel",
    re.IGNORECASE,
)
_REFUSALS = frozenset({400, 404, 405, 415, 422})


@family.check(
    "request.refused",
    over=exchanges,
    severity="error",
    summary="A request that is right by the API is not refused.",
    why="The guide asks for 0 invalid requests; conversations with tool results and CoT sent back "
    "are what providers refuse most.",
    source=GUIDE,
)
def _refused(turn: ParsedExchange) -> Iterator[Problem]:
    response = turn.exchange.response
    if response is not None and response.status in _REFUSALS:
        said = f"status {response.status}: {response.body or ''}"
        yield Problem(turn, "The request was refused.", "an answer", said)


@family.check(
    "request.failed",
    over=exchanges,
    severity="error",
    summary="A request that is right by the API is not answered with a server's own failure.",
    why="Rarely it is bad luck; mostly it is a harmony parser that fails on what the model writes.",
    source=GUIDE,
    tolerated=0.02,
)
def _failed(turn: ParsedExchange) -> Iterator[Problem]:
    response = turn.exchange.response
    if response is None or response.status < _INTERNAL_ERROR:
        return
    body = response.body or ""
    if response.status == _INTERNAL_ERROR or _PARSER_ERROR.search(body):
        said = f"status {response.status}: {body}"
        yield Problem(turn, "The server failed.", "an answer", said)


@family.check(
    "request.server_error",
    over=delivered,
    severity="warning",
    summary="No request that is answered in the end was first answered with status 500.",
    why="It may be bad luck, or a harmony parser that fails on some of what the model writes; "
    "clients that do not repeat their requests lose the answer.",
    source=GUIDE,
)
def _server_error(turn: ParsedExchange) -> Iterator[Problem]:
    failed = sum(retry.status == _INTERNAL_ERROR for retry in turn.exchange.retries)
    if failed:
        message = "A request went well only when it was repeated."
        yield Problem(turn, message, "no status 500", f"{failed} before the answer")
