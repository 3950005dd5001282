"""Names that replies have in common: ids that must differ, and the model that must not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence
from harness.rules.rule import CHAT, WarnsInRecordings
from harness.text import shared_beginning

family = Family("reply", CHAT, component="shared")


_FEW_DIGITS = 7
_NO_COLLISION = 20  # replies to one id, of a clock in seconds too
_MOST_APART = 4  # members that the key of a cache lacks; more differ if no such key exists


@family.cross_check(
    "reply.id.shared",
    lambda score: score.reply_ids,
    by=lambda score: score.condition.api,
    relations=(WarnsInRecordings("recorded_twice"),),
    fix=(
        "Look for a cache whose key lacks members of the request, and for state that requests "
        "share; if nothing is shared, create an id for each reply."
    ),
)
def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two requests of a run get replies with the same id.

    Otherwise a reply was delivered to the wrong request, or came from a cache, whose key may lack
    members of the request. Logs, support tickets and stored responses cannot tell these replies
    apart. Ids of a few random digits, of a counter or of a clock collide by chance, and are not
    judged.
    """
    if not _from_small_range(examined):
        yield from _collisions(examined, "reply")


@family.cross_check(
    "calls.id.shared",
    lambda score: score.traits.call_ids,
    by=lambda score: score.condition.api,
    severity="warning",
    component="calls",
    witness=True,
)
def _shared_call_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two conversations of a run have tool calls with the same id.

    Logs, caches and agents with several conversations confuse these calls. Ids within a
    conversation still differ, or `calls.id.repeated` reports them.
    """
    return _collisions(examined, "call")


def _collisions(examined: Sequence[Score], what: Literal["reply", "call"]) -> Iterator[Difference]:
    shared = list(_shared(examined, what))
    path = "$.id" if what == "reply" else "$"
    lacking = _members_apart([(score, other) for score, other, _ in shared])
    for score, other, key in shared:
        message = f"The {what} has the same id as a {what} in {other.record}."
        if lacking:
            message += f" Requests that differ only in {', '.join(lacking)} share replies."
        found = evidence(score.record, path, "a unique id", key)
        apart = {"compared": other.record, "differing": _apart(score, other)}
        yield message, found.model_copy(update=apart)


def _shared(
    examined: Sequence[Score], what: Literal["reply", "call"]
) -> Iterator[tuple[Score, Score, str]]:
    """Yield the rollouts with an id of an earlier one, that one, and the id."""
    first: dict[str, Score] = {}
    for score in sorted(
        examined, key=lambda each: min((row.began for row in each.replies), default=0.0)
    ):
        for key in sorted(score.reply_ids if what == "reply" else score.traits.call_ids):
            other = first.setdefault(key, score)
            if other.record != score.record:
                yield score, other, key


def _apart(score: Score, other: Score) -> tuple[str, ...]:
    """Return the members in which the first requests of two rollouts differ."""
    one, two = score.traits, other.traits
    conversation = "messages" if score.condition.api == "chat" else "input"
    differing = {conversation} if one.conversation != two.conversation else set[str]()
    options = set(one.options.split()) ^ set(two.options.split())
    return tuple(sorted(differing | {option.partition("=")[0] for option in options}))


def _members_apart(pairs: Sequence[tuple[Score, Score]]) -> Sequence[str]:
    """Return what the key of a cache lacks: members in which requests of one conversation differ.

    Empty if conversations differ, or if the requests differ in too much for a key of a cache.
    """
    traits = [(score.traits, other.traits) for score, other in pairs]
    if any(not one.conversation or one.conversation != other.conversation for one, other in traits):
        return ()
    differing = {member for score, other in pairs for member in _apart(score, other)}
    return sorted(differing) if len(differing) <= _MOST_APART else ()


def _from_small_range(examined: Sequence[Score]) -> bool:
    """Whether ids differ only in a few digits at the end, as those of a counter or a clock do.

    So many replies to one id are no collision of these.
    """
    every = [reply_id for score in examined for reply_id in score.reply_ids]
    ids = set(every)
    if len(ids) < 2 or len(every) >= _NO_COLLISION * len(ids):
        return False
    start = shared_beginning(min(ids), max(ids))
    ends = [reply_id[start:] for reply_id in ids]
    return all(len(end) <= _FEW_DIGITS and (end or "0").isdigit() for end in ends)


@family.cross_check(
    "reply.model.differs",
    lambda score: score.traits.models,
    by=lambda score: score.condition,
    severity="warning",
    component="replicas",
)
def _other_models(examined: Sequence[Score]) -> Iterator[Difference]:
    """Under one condition, all replies name the same model.

    Any name is fine, with or without a path, if it stays the same. A second name in some replies
    means that a different model or version wrote them.
    """
    times = Counter(name for score in examined for name in score.traits.models)
    usual = max(times, key=lambda name: times[name])
    for score in examined:
        if (others := score.traits.models - {usual}) and 2 * times[usual] > len(examined):
            message = "The reply names a different model from most replies under this condition."
            yield message, evidence(score.record, "$.model", usual, ", ".join(sorted(others)))
