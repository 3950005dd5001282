"""Whether the model calls a tool where one is needed, the right one, and none otherwise."""

from collections.abc import Mapping

from harness.findings import GUIDE, Problem
from harness.probes.base import ProbeGroup, ProbeResponses, Trials
from harness.probes.refusals import required
from harness.probes.tools.offers import offered

NEEDED: Mapping[str, tuple[str, str]] = {
    "status": ("Is the service up right now?", "service_status"),
    "weather": ("What is the weather in Lisbon?", "get_weather"),
    "language": ('Which language is this: "Der Zug kommt gleich"', "identify_language"),
    "markdown": ("Convert to HTML: **very bold**", "markdown_to_html"),
    "chart": ("Draw a line chart of [[1, 2], [2, 4], [3, 8]].", "draw_chart"),
    "table": ("Show the columns name and price of the table products.", "query_table"),
}
"""Prompts that need a tool, and the name of the tool."""

NOT_NEEDED: Mapping[str, str] = {
    "hello": "Hello!",
    "morning": "Good morning",
    "thanks": "Thank you, that was great.",
    "who": "Who are you?",
    "how": "How are you?",
    "bye": "Goodbye!",
}
"""Prompts that need no tool."""

_TOLERATED = 0.1
_LEAST_F1 = 0.7

_PROMPTS = {name: prompt for name, (prompt, _) in NEEDED.items()} | dict(NOT_NEEDED)
_REQUESTS = tuple(offered(name, prompt) for name, prompt in _PROMPTS.items())
GROUP = ProbeGroup("tools.trigger", lambda _api: _REQUESTS, GUIDE)


@GROUP.probe("tools.trigger.recall", NEEDED, severity="warning", tolerated=_TOLERATED)
def _recall(responses: ProbeResponses) -> Trials:
    """In most cases, the model calls a tool where one is needed.

    gpt-oss calls tools reliably. If calls are missing, the prompt or the parser is broken.
    """
    for exchange, reply in responses.replies(*NEEDED):
        message, got = "The prompt needs a tool, and the reply calls none.", reply.text
        missing = Problem(exchange, message, "a tool call", got or "no text, no call")
        yield None if reply.calls else missing


@GROUP.probe("tools.trigger.precision", NOT_NEEDED, severity="warning", tolerated=_TOLERATED)
def _precision(responses: ProbeResponses) -> Trials:
    """In most cases, the model calls no tool where none is needed.

    A model that calls tools in reply to greetings did not get the prompt that it was trained on.
    """
    for exchange, reply in responses.replies(*NOT_NEEDED):
        if reply.calls:
            message = "The prompt needs no tool, and the reply calls one."
            yield Problem(exchange, message, "no tool call", reply.calls[0].name)
        else:
            yield None


@GROUP.probe(
    "tools.trigger.f1",
    (*NEEDED, *NOT_NEEDED),
    severity="info",
    source="https://github.com/MoonshotAI/K2-Vendor-Verifier",
    text=f"Precision and recall of tool calls give an F1 of at least {_LEAST_F1}. The figure "
    "compares providers; it depends on the model as much as on the server.",
)
def _f1(responses: ProbeResponses) -> Trials:
    needed = [bool(reply.calls) for _, reply in responses.replies(*NEEDED)]
    not_needed = list(responses.replies(*NOT_NEEDED))
    right = sum(needed)
    called = right + sum(bool(reply.calls) for _, reply in not_needed)
    score = 2 * right / (len(needed) + called)
    if score >= _LEAST_F1:
        yield None
        return
    got = f"F1 {score:.2f}: {right} of {len(needed)} needed calls, {called} calls in total"
    message = "The model calls tools at the wrong times."
    yield Problem(not_needed[0][0], message, f"an F1 of at least {_LEAST_F1}", got)


@GROUP.probe("tools.trigger.right_tool", NEEDED, severity="warning", tolerated=_TOLERATED)
def _right_tool(responses: ProbeResponses) -> Trials:
    """In most cases, the model calls the right one of several tools.

    The choice is the model's, but a model that sees all descriptions rarely errs.
    """
    called = (
        (exchange, expected, call.name)
        for name, (_, expected) in NEEDED.items()
        for exchange, reply in responses.replies(name)
        for call in reply.calls[:1]
    )
    for exchange, expected, got in required(called, "The model called no tool at all."):
        wrong = Problem(exchange, "The reply calls the wrong tool.", expected, got)
        yield None if got == expected else wrong
