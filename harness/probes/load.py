"""Many requests at once, each with a word of its own: nobody gets another's answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.api.conversation import Message
from harness.checks.base import CHAT, GUIDE, Problem
from harness.checks.subjects import calls
from harness.parsing.rollout import ParsedRollout
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import failure, status
from harness.probes.tools.offers import REPLY_TOKENS, TOOLS
from harness.records.conditions import Api

AT_ONCE = 64

WORDS: Mapping[Api, Sequence[str]] = {
    "responses": ("Brenvik", "Oltamar", "Quendal", "Zirpany", "Moskveld", "Tarnuwe", "Jolbrook",
                  "Huxiden", "Fennimor", "Pladzow", "Ruvenna", "Gattosk", "Wexlund", "Yambrel",
                  "Cindorf", "Ilvaret"),
    "chat": ("Dorvane", "Eskemo", "Krubwell", "Nalistra", "Sundrop", "Uppmark", "Vyzhten",
             "Abbelow", "Xantrey", "Lomquist", "Orphand", "Thessow", "Bluvard", "Kezmarin",
             "Pirrholm", "Squanto"),
}  # fmt: skip
"""Words that nothing but the request suggests; half are to be said, half to be looked up."""

_REQUIRED = 0.9
_OWN_REQUIRED = 0.4
_OVERLOADED = (429, 503)


def _asks(api: Api) -> tuple[Ask, ...]:
    half = len(WORDS[api]) // 2
    said = [
        Ask(word, (Message("user", f"Say exactly: {word}"),), max_tokens=REPLY_TOKENS)
        for word in WORDS[api][:half]
    ]
    looked_up = [
        Ask(
            word,
            (Message("user", f"What is the weather in {word}?"),),
            TOOLS,
            max_tokens=REPLY_TOKENS,
        )
        for word in WORDS[api][half:]
    ]
    return (*said, *looked_up)


BENCH = Bench("load", _asks, burst=AT_ONCE)
_USES = tuple(word for words in WORDS.values() for word in words)


@BENCH.probe(
    "load.cross_talk",
    uses=_USES,
    severity="error",
    summary=f"With {AT_ONCE} requests at once, none is answered with what another asked.",
    why="One user reads what another wrote.",
    source="https://github.com/openai/harmony/pull/26",
    level="full",
    modes=("streaming", "non-streaming"),
)
def _cross_talk(answers: Answers) -> Iterator[Trial]:
    for word, seen in _answered(answers):
        said = _said(seen)
        foreign = next((each for each in _USES if each != word and each in said), None)
        message = "A reply holds a word that only another request held."
        turn = next(iter(seen.replies))[0]
        yield Problem(turn, message, f"{word} only", foreign) if foreign else None


@BENCH.probe(
    "load.served",
    uses=_USES,
    severity="error",
    summary=f"{AT_ONCE} requests at once are served, or turned away with status 429 or 503.",
    why="A server that breaks under load breaks in production.",
    source=GUIDE,
    level="full",
    modes=("streaming", "non-streaming"),
    required=_REQUIRED,
)
def _served(answers: Answers) -> Iterator[Trial]:
    admitted = [
        seen
        for word in WORDS[answers.api]
        for seen in answers.all(word)
        if not seen.turns or status(seen.turns[-1]) not in _OVERLOADED
    ]
    if not admitted:
        raise NotVerifiableError("The provider turned all requests away as too many.")
    for seen in admitted:
        yield failure(seen, "a request among many")


@BENCH.probe(
    "load.answered",
    uses=_USES,
    severity="error",
    summary="Replies are about what was asked, in most cases, however many requests there are.",
    why="State shared between requests garbles what is read and written.",
    source="https://github.com/sgl-project/sglang/issues/8914",
    level="full",
    modes=("streaming", "non-streaming"),
    required=_OWN_REQUIRED,
)
def _own(answers: Answers) -> Iterator[Trial]:
    for word, seen in _answered(answers):
        turn, reply = next(iter(seen.replies))
        message = "The reply does not hold the word that was asked for."
        got = reply.text or " ".join(call.arguments for call in reply.calls) or "nothing"
        yield None if word in _said(seen) else Problem(turn, message, word, got)


@BENCH.probe(
    "load.call_ids",
    uses=_USES,
    severity="warning",
    summary="Calls made at the same time have different ids.",
    why="Logs and caches mix them up; within one conversation they still differ.",
    source=CHAT,
    level="full",
    modes=("streaming", "non-streaming"),
)
def _call_ids(answers: Answers) -> Iterator[Trial]:
    known: set[str] = set()
    for _, seen in _answered(answers):
        for found in calls(seen):
            again = found.call.id in known
            known.add(found.call.id)
            message = "Two requests got calls with the same id."
            yield Problem(found.turn, message, "a new id", found.call.id) if again else None
    if not known:
        raise NotVerifiableError("No reply held a call.")


def _answered(answers: Answers) -> Iterator[tuple[str, ParsedRollout]]:
    """The rollouts with a readable reply, and the word of each. Raises NotVerifiableError."""
    found = [
        (word, seen)
        for word in WORDS[answers.api]
        for seen in answers.all(word)
        if any(seen.replies)
    ]
    if not found:
        raise NotVerifiableError("No request among many got a reply.")
    yield from found


def _said(seen: ParsedRollout) -> str:
    """Everything a reply says: CoT, text, names and arguments of calls."""
    return "\n".join(
        "\n".join((reply.reasoning, reply.text, *(f"{c.name} {c.arguments}" for c in reply.calls)))
        for _, reply in seen.replies
    )
