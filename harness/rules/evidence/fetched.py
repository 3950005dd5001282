"""Replies by the names of their requests, for judges that are not given theirs yet."""

from collections.abc import Iterable, Iterator
from itertools import islice

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.rules.probe import ProbeResponses, Sent


def served(responses: ProbeResponses, name: str, feature: str) -> tuple[ParsedRollout, ...]:
    """Return the rollouts of one request that were not refused."""
    return Sent(responses, (name,)).served(feature).made


def served_replies(
    responses: ProbeResponses, names: Iterable[str], feature: str
) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Yield the last exchange and reply of each served rollout. Raises NotVerifiableError."""
    return Sent(responses, tuple(names)).served_replies(feature)


def first_replies(rollouts: Iterable[ParsedRollout]) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Yield the first reply of each rollout, if it is readable."""
    for rollout in rollouts:
        yield from islice(rollout.replies, 1)
