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
from harness.records.judgements import Examination

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


def examine(seen: ParsedRollout, *, except_for: Collection[str] = ()) -> Examination:
    """What the checks have to say about one rollout.

    Args:
        seen: The rollout.
        except_for: Ids of checks that do not hold for it, because it provoked what they find.
    """
    looks = {
        check.id: check.examine(seen) for check in CHECKS.values() if check.id not in except_for
    }
    return Examination(
        record=seen.rollout.id,
        sample=seen.rollout.sample,
        api=seen.rollout.api,
        mode=seen.mode,
        applicable=frozenset(check_id for check_id, (had_any, _) in looks.items() if had_any),
        findings=tuple(finding for _, found in looks.values() for finding in found),
        reply_ids=_reply_ids(seen),
        first_input=_first_input(seen),
    )


def _reply_ids(seen: ParsedRollout) -> tuple[str, ...]:
    ids = (reply.raw.get("id") for _, reply in seen.replies)
    return tuple(each for each in ids if isinstance(each, str) and each)


def _first_input(seen: ParsedRollout) -> int | None:
    turn = seen.turns[0] if seen.turns else None
    return turn.reply.input_tokens if turn and turn.reply else None
