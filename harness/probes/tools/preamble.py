"""Preambles: text for the user before a tool call, on the commentary channel.

A preamble shows in the text of the reply. If it was lost, it shows in output tokens that no part of
the reply accounts for.
"""

from __future__ import annotations

from harmony.render import RenderError, text_tokens
from harmony.vocabulary import VocabularyError
from harness.api.base import Message, Reply
from harness.findings import HARMONY, Problem
from harness.probes.base import NotVerifiableError, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.probes.refusals import first_replies, required
from harness.probes.tools.offers import WEATHER
from harness.records.conditions import Api

_TRIES = 4
_RULE = Message(
    "developer",
    "Before you call a function, always tell the user in a sentence of at least ten words what "
    "you are about to do and why.",
)
_QUESTION = Message("user", "What is the weather in Lisbon?")
_FORMAT_TOKENS_OF_A_MESSAGE = 6
_FORMAT_TOKENS_OF_A_CALL = 10
_LEAST = 8
"""Lost tokens that must include text: the message around it has six special tokens more."""


def _requests(_api: Api) -> tuple[ProbeRequest, ...]:
    turns = (_RULE, _QUESTION)
    return (ProbeRequest("announced", turns, (WEATHER,), tries=_TRIES),)


GROUP = ProbeGroup("tools.preamble", _requests, HARMONY)


@GROUP.probe("tools.preamble", ("announced",))
def _preamble(responses: ProbeResponses) -> Trials:
    """Text for the user before a tool call is returned.

    Users should know what the agent is about to do, and they pay for the tokens.
    """
    reason = "The model wrote no text before it called the tool."
    yield from required(_announcements(responses), reason)


def _announcements(responses: ProbeResponses) -> Trials:
    for exchange, reply in first_replies(responses.all("announced")):
        if not reply.calls or not (reply.reasoning or reply.text):
            continue
        lost = _lost_tokens(reply)
        if reply.text:
            yield None
        elif lost >= _LEAST:
            message = "No part of the reply accounts for the output tokens before a tool call."
            got = f"{lost} tokens not returned"
            yield Problem(exchange, message, "text next to the tool call", got, "$.usage")


def _lost_tokens(reply: Reply) -> int:
    """Output tokens minus those of CoT, calls and format, at least; 0 without a count."""
    count = reply.usage.output_tokens if reply.usage else None
    if count is None:
        return 0
    returned = sum(
        _tokens(call.name + call.arguments) + _FORMAT_TOKENS_OF_A_CALL for call in reply.calls
    ) + _tokens(reply.reasoning)
    return count - returned - 2 * _FORMAT_TOKENS_OF_A_MESSAGE


def _tokens(text: str) -> int:
    try:
        return len(text_tokens(text))
    except (RenderError, VocabularyError) as error:
        raise NotVerifiableError(str(error)) from None
