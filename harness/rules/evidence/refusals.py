"""Refusals that a provider may send, and failures that it must not have."""

from collections.abc import Iterable, Iterator
from itertools import islice

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import meaning
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeResponses, TrialResult
from harness.rules.rule import Problem

_REFUSED = range(400, 500)


def refused(rollout: ParsedRollout) -> bool:
    """Whether the last response has a 4xx status."""
    return rollout.exchanges[-1].status in _REFUSED


def declined(rollout: ParsedRollout) -> bool:
    """Whether the provider refused an optional feature (see `harness.api.statuses`)."""
    response = rollout.exchanges[-1].recorded.response
    return response is not None and meaning(response) == "refusal"


def served(responses: ProbeResponses, name: str, feature: str) -> tuple[ParsedRollout, ...]:
    """Return the rollouts of one request that were not refused.

    `feature` is what the provider may lack, as the object of a sentence. Raises NotVerifiableError
    if all were refused, which is legitimate, or none was sent.
    """
    rollouts = responses.all(name)
    kept = tuple(rollout for rollout in rollouts if not declined(rollout))
    if not kept:
        status = rollouts[0].exchanges[-1].status
        raise NotVerifiableError("refuses_feature", feature=feature, status=status or 0)
    return kept


def served_replies(
    responses: ProbeResponses, names: Iterable[str], feature: str
) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Yield the last exchange and reply of each served rollout. Raises NotVerifiableError."""
    for name in names:
        for rollout in served(responses, name, feature):
            exchange = rollout.exchanges[-1]
            if exchange.reply is None:
                raise NotVerifiableError("fails_on_feature", feature=feature, got=outcome(exchange))
            yield exchange, exchange.reply


def failure(rollout: ParsedRollout, feature: str) -> TrialResult:
    """Return the problem of a rollout without a final readable reply; None if it has one.

    `feature` is what was requested, as the object of a sentence. Raises NotVerifiableError if the
    response has a 2xx status and is unreadable: `reply.unreadable` reports this, and it is not
    caused by the feature.
    """
    last = rollout.exchanges[-1]
    if last.reply is not None:
        return None
    if last.good_status and last.unreadable:
        raise NotVerifiableError("unreadable_with", feature=feature, got=last.unreadable)
    return Problem(last, f"The provider fails on {feature}.", "a reply", outcome(last))


def outcome(exchange: ParsedExchange) -> str:
    """What an exchange without a readable reply returned, in a few words."""
    if exchange.recorded.failure is not None:
        return exchange.recorded.failure.message
    response = exchange.recorded.response
    if response is None:
        return "no response"
    got = exchange.unreadable if exchange.good_status else response.text
    return f"status {response.status}: {got or 'no body'}"


def first_replies(rollouts: Iterable[ParsedRollout]) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Yield the first reply of each rollout, if it is readable."""
    for rollout in rollouts:
        yield from islice(rollout.replies, 1)
