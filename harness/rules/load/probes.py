"""Many concurrent requests, each with a distinct word: no reply belongs to another request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES, Api
from harness.records.rollouts import Sender
from harness.rules.evidence.obedience import disobeyed
from harness.rules.evidence.offers import offered
from harness.rules.habits import FAILED_REQUESTS, unmeasured
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.refusals import failure
from harness.rules.rule import GUIDE, Problem

AT_ONCE = 64
_STORY = (Message("user", "Tell me a long story about a harbour."),)

WORDS: Mapping[Api, Sequence[str]] = {
    "responses": ("Brenvik", "Oltamar", "Quendal", "Zirpany", "Moskveld", "Tarnuwe", "Jolbrook",
                  "Huxiden", "Fennimor", "Pladzow", "Ruvenna", "Gattosk", "Wexlund", "Yambrel",
                  "Cindorf", "Ilvaret"),
    "chat": ("Dorvane", "Eskemo", "Krubwell", "Nalistra", "Sundrop", "Uppmark", "Vyzhten",
             "Abbelow", "Xantrey", "Lomquist", "Orphand", "Thessow", "Bluvard", "Kezmarin",
             "Pirrholm", "Squanto"),
}  # fmt: skip
"""Invented words: the model repeats the first half, and looks up the weather of the second."""

_UNREACHED, _NOT_REPEATED = FAILED_REQUESTS._replace(share=0.02), unmeasured(0.05)
"""Shares of requests that the network loses, and of replies in which the model omits the word."""


GROUP = ProbeGroup("load", GUIDE, suite="full", modes=MODES, burst=AT_ONCE, component="shared")
_CONCURRENT = [
    GROUP.send(replace(offered(word, *asked), apis=(api,)))
    for api, words in WORDS.items()
    for number, word in enumerate(words)
    for asked in [
        (f"Say exactly: {word}", ())
        if number < len(words) // 2
        else (f"What is the weather in {word}?",)
    ]
]
_FEWEST_FAILURES = 2
"""Requests after clients that leave, which fail by no chance."""
_leaving = partial(ProbeRequest, turns=_STORY, tries=3, whole=False)
LEAVING_GROUP = ProbeGroup(
    "leaving",
    GUIDE,
    modes=("streaming",),
    family="load",
    component="failures",
)
_LEFT = LEAVING_GROUP.send(_leaving("left", sender=Sender(leaves=True), valid=False))
_NEXT = LEAVING_GROUP.send(_leaving("next", after=_LEFT.id, max_tokens=16))


@LEAVING_GROUP.probe(
    "load.left",
    _LEFT,
    _NEXT,
    fix="End the generation when its client leaves, and free what it held.",
    example=(
        "After a client closes its stream, the server does not serve the next request.",
        "https://github.com/raullenchai/Rapid-MLX/issues/1759",
    ),
)
def _after_client_left(left: Sent, following: Sent) -> Trials:
    """A client that leaves during a reply does not keep the next one from being served.

    Users close a chat, and agents end a stream at the first call.
    """
    ends = (last.recorded.failure for _, last in left.last)
    required((end for end in ends if end is not None and end.kind == "left"), "nobody_left")
    results = [failure(e, "a request after a client left") for e in following.rollouts]
    if 0 < sum(result is not None for result in results) < _FEWEST_FAILURES:
        raise NotVerifiableError("few_failed_after_leaving")
    yield from results


_ALL_WORDS = tuple(word for words in WORDS.values() for word in words)


@GROUP.probe(
    "load.cross_talk",
    _CONCURRENT,
    source="https://github.com/openai/harmony/pull/26",
    habit=_NOT_REPEATED,
    text=f"With {AT_ONCE} concurrent requests, every reply answers its own request, and none "
    "contains another's content. Otherwise one user reads what another user wrote. The model "
    "itself may omit the word of its request in a few replies.",
)
def _cross_talk(concurrent: Sent) -> Trials:
    answers = ((each.name, *answer) for each in concurrent for answer in each.readable)
    for word, exchange, reply in required(answers, "no_concurrent_reply"):
        if (foreign := _foreign(word, reply)) is not None:
            message = "The reply contains a word that only another request contained."
            yield Problem(exchange, message, f"only {word}", foreign, proven=True)

    def has_word(word: str, reply: Reply) -> bool | None:
        return None if _foreign(word, reply) else word in reply.generated

    def lost(word: str, exchange: ParsedExchange, reply: Reply) -> Problem:
        message = "The reply does not contain the word of its request."
        return Problem(exchange, message, word, reply.generated or "no text")

    yield from disobeyed(concurrent, has_word, lost)


def _foreign(word: str, reply: Reply) -> str | None:
    """Return a word of another request that the reply contains."""
    return next((other for other in _ALL_WORDS if other != word and other in reply.generated), None)


@GROUP.probe(
    "load.served",
    _CONCURRENT,
    habit=_UNREACHED,
    text=f"{AT_ONCE} concurrent requests are served, or rejected with status 429 or 503. A server "
    "that fails under this load fails in production.",
)
def _served(concurrent: Sent) -> Trials:
    admitted = (rollout for rollout, last in concurrent.last if last.status != 503)
    for rollout in required(admitted, "rate_limits_all"):
        yield failure(rollout, "one of many concurrent requests")
