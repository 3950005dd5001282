"""Many concurrent requests, each with a distinct word: no reply belongs to another request."""

from collections.abc import Mapping, Sequence
from functools import partial

from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import MODES, Api
from harness.records.rollouts import Sender
from harness.rules.evidence.obedience import disobeyed
from harness.rules.evidence.offers import offered
from harness.rules.habits import FAILED_REQUESTS, Habit
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Trials
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

_UNREACHED, _NOT_REPEATED = FAILED_REQUESTS._replace(share=0.02), Habit(0.05)
"""Shares of requests that the network loses, and of replies in which the model omits the word."""


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    half = len(WORDS[api]) // 2
    repeated = (offered(word, f"Say exactly: {word}", ()) for word in WORDS[api][:half])
    looked_up = (offered(word, f"What is the weather in {word}?") for word in WORDS[api][half:])
    return (*repeated, *looked_up)


GROUP = ProbeGroup(
    "load", GUIDE, generated=_requests, suite="full", modes=MODES, burst=AT_ONCE, component="shared"
)
_FEWEST_FAILURES = 2
"""Requests after clients that leave, which fail by no chance."""
_leaving = partial(ProbeRequest, tries=3, whole=False)
LEAVING_GROUP = ProbeGroup(
    "leaving",
    GUIDE,
    generated=lambda _api: (
        _leaving("left", _STORY, sender=Sender(leaves=True), valid=False),
        _leaving("next", _STORY, after="left", max_tokens=16),
    ),
    modes=("streaming",),
    family="load",
    component="failures",
)


@LEAVING_GROUP.probe(
    "load.left",
    ("left", "next"),
    fix="End the generation when its client leaves, and free what it held.",
    example=(
        "After a client closes its stream, the server does not serve the next request.",
        "https://github.com/raullenchai/Rapid-MLX/issues/1759",
    ),
)
def _after_client_left(responses: ProbeResponses) -> Trials:
    """A client that leaves during a reply does not keep the next one from being served.

    Users close a chat, and agents end a stream at the first call.
    """
    ends = (rollout.exchanges[-1].recorded.failure for rollout in responses.all("left"))
    required((end for end in ends if end is not None and end.kind == "left"), "nobody_left")
    results = [failure(e, "a request after a client left") for e in responses.all("next")]
    if 0 < sum(result is not None for result in results) < _FEWEST_FAILURES:
        raise NotVerifiableError("few_failed_after_leaving")
    yield from results


_USES = tuple(word for words in WORDS.values() for word in words)


@GROUP.probe(
    "load.cross_talk",
    _USES,
    source="https://github.com/openai/harmony/pull/26",
    habit=_NOT_REPEATED,
    text=f"With {AT_ONCE} concurrent requests, every reply answers its own request, and none "
    "contains another's content. Otherwise one user reads what another user wrote. The model "
    "itself may omit the word of its request in a few replies.",
)
def _cross_talk(responses: ProbeResponses) -> Trials:
    for word, exchange, reply in required(
        responses.readable(*WORDS[responses.api]), "no_concurrent_reply"
    ):
        if (foreign := _foreign(word, reply)) is not None:
            message = "The reply contains a word that only another request contained."
            yield Problem(exchange, message, f"only {word}", foreign, proven=True)

    def has_word(word: str, reply: Reply) -> bool | None:
        return None if _foreign(word, reply) else word in reply.generated

    def lost(word: str, exchange: ParsedExchange, reply: Reply) -> Problem:
        message = "The reply does not contain the word of its request."
        return Problem(exchange, message, word, reply.generated or "no text")

    yield from disobeyed(responses, WORDS[responses.api], has_word, lost)


def _foreign(word: str, reply: Reply) -> str | None:
    """Return a word of another request that the reply contains."""
    return next((other for other in _USES if other != word and other in reply.generated), None)


@GROUP.probe(
    "load.served",
    _USES,
    habit=_UNREACHED,
    text=f"{AT_ONCE} concurrent requests are served, or rejected with status 429 or 503. A server "
    "that fails under this load fails in production.",
)
def _served(responses: ProbeResponses) -> Trials:
    admitted = (
        rollout
        for rollout in responses.all(*WORDS[responses.api])
        if rollout.exchanges[-1].status != 503
    )
    for rollout in required(admitted, "rate_limits_all"):
        yield failure(rollout, "one of many concurrent requests")
