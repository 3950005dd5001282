"""Text that the model tells the user before it calls a tool, on the commentary channel.

Whether there was any shows in the text, or, where it was lost, in output tokens that are in
nothing that came back.
"""

from __future__ import annotations

from collections.abc import Iterator

from harmony.vocabulary import VocabularyError, harmony_encoding
from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import HARMONY, Problem
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import first_replies
from harness.probes.tools.offers import REPLY_TOKENS, WEATHER
from harness.records.conditions import Api

_TRIES = 4
_ORDER = Message(
    "developer",
    "Before you call a function, always tell the user in a sentence of at least ten words what "
    "you are about to do and why.",
)
_QUESTION = Message("user", "What is the weather in Lisbon?")
_MARKERS_OF_A_MESSAGE = 6
_MARKERS_OF_A_CALL = 10
_LEAST = 8
"""Tokens that are certainly text: the message around it has six more."""


def _asks(_api: Api) -> tuple[Ask, ...]:
    turns = (_ORDER, _QUESTION)
    return (Ask("announced", turns, (WEATHER,), max_tokens=REPLY_TOKENS, tries=_TRIES),)


BENCH = Bench("tools.preamble", _asks)


@BENCH.probe(
    "tools.preamble",
    uses=["announced"],
    severity="error",
    summary="Text that the model tells the user before a call is returned.",
    why="Users are to know what is about to be done; it is paid for, too.",
    source=HARMONY,
    modes=("non-streaming",),
)
def _preamble(answers: Answers) -> Iterator[Trial]:
    judged = False
    for turn, reply in first_replies(answers.all("announced")):
        if not reply.calls or not (reply.reasoning or reply.text):
            continue
        lost = _lost_tokens(reply)
        if reply.text:
            judged = True
            yield None
        elif lost >= _LEAST:
            judged = True
            message = "Output tokens before a call came back in no part of the reply."
            yield Problem(turn, message, "text beside the call", f"{lost} tokens unseen", "$.usage")
    if not judged:
        raise NotVerifiableError("The model told the user nothing before it called the tool.")


def _lost_tokens(reply: Reply) -> int:
    """Output tokens less those of CoT, calls and markers, at least; 0 without a count."""
    count = reply.usage.output_tokens if reply.usage else None
    if count is None:
        return 0
    seen = sum(
        _tokens(call.name + call.arguments) + _MARKERS_OF_A_CALL for call in reply.calls
    ) + _tokens(reply.reasoning)
    return count - seen - 2 * _MARKERS_OF_A_MESSAGE


def _tokens(text: str) -> int:
    try:
        return len(harmony_encoding().encode(text, disallowed_special=()))
    except VocabularyError as error:
        raise NotVerifiableError(str(error)) from None
