"""Many concurrent requests, each with a distinct word: no reply belongs to another request."""

from collections.abc import Mapping, Sequence

from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import MODES, Api
from harness.rules.evidence.offers import offered
from harness.rules.evidence.refusals import failure
from harness.rules.missing import required
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import GUIDE, Problem

AT_ONCE = 64

WORDS: Mapping[Api, Sequence[str]] = {
    "responses": ("Brenvik", "Oltamar", "Quendal", "Zirpany", "Moskveld", "Tarnuwe", "Jolbrook",
                  "Huxiden", "Fennimor", "Pladzow", "Ruvenna", "Gattosk", "Wexlund", "Yambrel",
                  "Cindorf", "Ilvaret"),
    "chat": ("Dorvane", "Eskemo", "Krubwell", "Nalistra", "Sundrop", "Uppmark", "Vyzhten",
             "Abbelow", "Xantrey", "Lomquist", "Orphand", "Thessow", "Bluvard", "Kezmarin",
             "Pirrholm", "Squanto"),
}  # fmt: skip
"""Invented words: the model repeats the first half, and looks up the weather of the second."""

_OVERLOADED = 503
_UNREACHED, _NOT_REPEATED = 0.02, 0.05
"""Shares of requests that the network loses, and of replies in which the model omits the word."""


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    half = len(WORDS[api]) // 2
    repeated = (offered(word, f"Say exactly: {word}", ()) for word in WORDS[api][:half])
    looked_up = (offered(word, f"What is the weather in {word}?") for word in WORDS[api][half:])
    return (*repeated, *looked_up)


GROUP = ProbeGroup(
    "load", _requests, GUIDE, suite="full", modes=MODES, burst=AT_ONCE, component="shared"
)
_USES = tuple(word for words in WORDS.values() for word in words)


@GROUP.probe(
    "load.cross_talk",
    _USES,
    source="https://github.com/openai/harmony/pull/26",
    text=f"With {AT_ONCE} concurrent requests, no reply contains content of another request. "
    "Otherwise one user reads what another user wrote.",
)
def _cross_talk(responses: ProbeResponses) -> Trials:
    for word, rollout in _answered(responses):
        text = _text(rollout)
        foreign = next((other for other in _USES if other != word and other in text), None)
        message = "The reply contains a word that only another request contained."
        exchange = next(iter(rollout.replies))[0]
        yield Problem(exchange, message, f"only {word}", foreign) if foreign else None


@GROUP.probe(
    "load.served",
    _USES,
    tolerated=_UNREACHED,
    text=f"{AT_ONCE} concurrent requests are served, or rejected with status 429 or 503. A server "
    "that fails under this load fails in production.",
)
def _served(responses: ProbeResponses) -> Trials:
    admitted = (
        rollout
        for rollout in responses.all(*WORDS[responses.api])
        if rollout.exchanges[-1].status != _OVERLOADED
    )
    for rollout in required(admitted, "rate_limits_all"):
        yield failure(rollout, "one of many concurrent requests")


@GROUP.probe(
    "load.answered",
    _USES,
    source="https://github.com/sgl-project/sglang/issues/8914",
    tolerated=_NOT_REPEATED,
)
def _own_word(responses: ProbeResponses) -> Trials:
    """Under concurrent load, most replies answer their own request.

    State that is shared between requests corrupts prompts and replies.
    """
    for word, rollout in _answered(responses):
        exchange, reply = next(iter(rollout.replies))
        message = "The reply does not contain the word of its request."
        got = reply.text or " ".join(call.arguments for call in reply.calls) or "no text"
        yield None if word in _text(rollout) else Problem(exchange, message, word, got)


def _answered(responses: ProbeResponses) -> Sequence[tuple[str, ParsedRollout]]:
    """Return the rollouts with a readable reply, each with its word. Raises NotVerifiableError."""
    found = (
        (word, rollout)
        for word in WORDS[responses.api]
        for rollout in responses.all(word)
        if any(rollout.replies)
    )
    return required(found, "no_concurrent_reply")


def _text(rollout: ParsedRollout) -> str:
    return "\n".join(reply.generated for _, reply in rollout.replies)
