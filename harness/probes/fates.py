"""Requests that a provider may refuse, and those that it must not fail."""

from __future__ import annotations

from collections.abc import Iterator

from harness.api.base import Reply
from harness.checks.base import Problem
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.probes.base import Answers, NotVerifiableError

_REFUSED = range(400, 500)
_TURNED_AWAY = {408, 425, 429}


def status(turn: ParsedExchange) -> int | None:
    """The HTTP status of a turn; None where no response came."""
    response = turn.exchange.response
    return None if response is None else response.status


def require_heard(seen: ParsedRollout) -> None:
    """See to it that the last request was not turned away, as over a rate limit.

    Raises:
        NotVerifiableError: It was, whatever it asked for.
    """
    code = status(seen.turns[-1]) if seen.turns else None
    if code in _TURNED_AWAY:
        raise NotVerifiableError(f"The provider turned a request away (status {code}).")


def refused(seen: ParsedRollout) -> bool:
    """Whether the last request was answered with a 4xx status. Raises as `require_heard` does."""
    require_heard(seen)
    return bool(seen.turns) and status(seen.turns[-1]) in _REFUSED


def served(answers: Answers, name: str, feature: str) -> tuple[ParsedRollout, ...]:
    """The rollouts of one ask that was not refused.

    Args:
        answers: Of the bench.
        name: The ask.
        feature: What the provider may do without, as the object of a sentence.

    Raises:
        NotVerifiableError: All were refused, which is honest; or none was made.
    """
    views = answers.all(name)
    kept = tuple(seen for seen in views if not refused(seen))
    if not kept:
        code = status(views[0].turns[-1])
        raise NotVerifiableError(f"The provider refuses {feature} (status {code}).")
    return kept


def failure(seen: ParsedRollout, what: str) -> Problem | None:
    """The problem that a rollout without a readable end is; None where all was well.

    Args:
        seen: The rollout.
        what: What was asked, as the object of a sentence.

    Raises:
        NotVerifiableError: A stream came where none was asked for: `reply.unreadable` says so, and
            it is not for want of what was asked.
    """
    if not seen.turns:
        return None
    last = seen.turns[-1]
    if last.reply is not None:
        return None
    if last.good_status and last.events and seen.mode == "non-streaming":
        raise NotVerifiableError(f"Streams come in place of whole replies, also with {what}.")
    return Problem(last, f"The provider fails at {what}.", "a reply", fate(last))


def fate(turn: ParsedExchange) -> str:
    """What became of a turn without a readable reply, in a few words."""
    if turn.exchange.failure is not None:
        return turn.exchange.failure.message
    response = turn.exchange.response
    if response is not None and not turn.good_status:
        return f"status {response.status}: {response.body or 'no body'}"
    return turn.unreadable or "no reply"


def first_replies(views: tuple[ParsedRollout, ...]) -> Iterator[tuple[ParsedExchange, Reply]]:
    """The first reply of each rollout, where it could be read and was not cut off."""
    for seen in views:
        found = next(iter(seen.replies), None)
        if found is not None and found[1].finish != "length":
            yield found
