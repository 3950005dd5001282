"""Preambles: text for the user before a tool call, on the commentary channel."""

from harness.api.items import Message
from harness.api.ledger import are_joined, extra_tokens
from harness.records.conditions import MODES
from harness.rules.evidence.offers import IN_LISBON, WEATHER
from harness.rules.missing import unlike
from harness.rules.probe import ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.rule import HARMONY, Problem

_RULE = Message(
    "developer",
    "Before you call a function, always tell the user in a sentence of at least ten words what "
    "you are about to do and why.",
)
_QUESTION = Message("user", "What is the weather in Funchal?")
"""The reference engine has a prescribed reply to it."""
_LEAST = 16
"""Extra tokens that must include a text: the format of a message has six,
and a call may have some more than `extra_tokens` counts, such as its content type."""

GROUP = ProbeGroup("tools.preamble", HARMONY, family="calls", component="output")
_ANNOUNCED = GROUP.send(
    ProbeRequest("announced", (_RULE, _QUESTION), (WEATHER,), tries=3, wanted=IN_LISBON)
)


@GROUP.probe(
    "tools.preamble",
    _ANNOUNCED,
    modes=MODES,
    unjudged="no_preamble",
    fix="Return text before a call as the content of the message.",
)
def _preamble(announced: Sent) -> Trials:
    """Text for the user before a tool call is returned.

    Users should know what the agent is about to do, and they pay for the tokens.
    """
    for exchange, reply in announced.readable if announced.rollouts else ():
        if not reply.calls or not (reply.reasoning or reply.text):
            continue
        lost = extra_tokens(reply) or 0
        if reply.text:
            yield None
        elif lost >= _LEAST and not are_joined(lost, reply.reasoning):
            message = (
                "The reply lacks the text before a tool call, although its tokens were counted."
            )
            got = f"{lost} tokens not returned"
            yield Problem(exchange, message, "text next to the tool call", got, "$.usage")
        else:
            yield unlike("a call without text")
