"""A CoT without an answer: a text that is not meant for users must not become one."""

from harness.api.items import Message
from harness.api.ledger import ledger
from harness.records.conditions import MODES
from harness.rules.evidence.refusals import first_replies
from harness.rules.probe import ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import RAW_COT, Problem

_REQUESTS = (
    ProbeRequest(
        "alone",
        (Message("user", "When is high water at Horta tomorrow?"),),
        provokes=frozenset({"reply.empty"}),
    ),
)
"""The reference engine has a prescribed reply to it."""
GROUP = ProbeGroup("cot.alone", lambda _api: _REQUESTS, RAW_COT, family="cot", component="output")


@GROUP.probe(
    "cot.alone",
    ("alone",),
    modes=MODES,
    unjudged="no_lone_cot",
    fix="Return a CoT without an answer as CoT, and no content.",
    example=(
        "If the content is empty, a gateway fills it with the CoT.",
        "https://github.com/rogerai-fyi/roger/pull/34",
    ),
)
def _alone(responses: ProbeResponses) -> Trials:
    """A CoT that no answer follows is returned as CoT, and the content stays empty.

    A model ends a reply so now and then. If the CoT becomes the answer, users read what is not
    meant for them, and agents take a plan for a result.
    """
    for exchange, reply in first_replies(responses.all("alone")):
        cot, text, counted = reply.reasoning.strip(), reply.text.strip(), ledger(exchange)
        if not cot or reply.calls:
            continue
        if not text:
            yield None
        elif text == cot and counted is not None and counted.reported < counted.texts:
            message = "The reply ends after its CoT, and its content is a copy of the CoT."
            path = "$.output" if exchange.api == "responses" else "$.choices[0].message"
            yield Problem(exchange, message, "no content", reply.text, path)
