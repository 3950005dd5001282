"""Options that a response repeats."""

import orjson

from harness.api.items import Message
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.refusals import served
from harness.rules.probe import MAY_BE_REFUSED, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import RESPONSES, Problem

_HI = (Message("user", "Hi there!"),)
_METADATA = {"purpose": "verification", "number": "17"}
_INSTRUCTIONS = "Answer in one short sentence."
_ECHOED = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions")
_REQUESTS = (
    ProbeRequest(
        "options",
        _HI,
        (WEATHER,),
        instructions=_INSTRUCTIONS,
        temperature=0.75,
        max_tokens=96,
        whole=False,
        options={"top_p": 0.875, "tool_choice": "auto"},
    ),
    ProbeRequest(
        "metadata",
        _HI,
        max_tokens=64,
        whole=False,
        options={"metadata": _METADATA},
        provokes=MAY_BE_REFUSED,
    ),
)


GROUP = ProbeGroup(
    "options", lambda _api: _REQUESTS, RESPONSES, family="sampling", component="options"
)


@GROUP.probe("options.repeated", ("options",), apis=("responses",), severity="warning")
def _repeated(responses: ProbeResponses) -> Trials:
    """A response repeats the options of its request unchanged.

    A different value in the response means that the server probably used that value.
    """
    for exchange, reply in responses.replies("options"):
        for name in filter(reply.raw.__contains__, _ECHOED):
            yield _differs(exchange, name, exchange.request.body[name], reply.raw.get(name))
        if "tools" in reply.raw:
            tools = reply.raw["tools"]
            first = tools[0] if isinstance(tools, list) and tools else None
            got = first.get("name") if isinstance(first, dict) else None
            yield _differs(exchange, "tools[0].name", WEATHER.name, got)


@GROUP.probe(
    "options.metadata",
    ("metadata",),
    apis=("responses",),
    needs="metadata",
    severity="warning",
    fix="Store the metadata of the request with the response, and return both.",
)
def _metadata(responses: ProbeResponses) -> Trials:
    """A response repeats the metadata of its request.

    Programs identify their responses by metadata.
    """
    served(responses, "metadata", "metadata")
    for exchange, reply in responses.replies("metadata"):
        if "metadata" in reply.raw:
            yield _differs(exchange, "metadata", _METADATA, reply.raw["metadata"])
        else:
            message = "The response has no `metadata`, although its request set it."
            yield Problem(exchange, message, "the metadata of the request", "none", "$.metadata")


def _differs(exchange: ParsedExchange, name: str, sent: object, got: object) -> Problem | None:
    if sent == got:
        return None
    message = f"The `{name}` of the response differs from the request's."
    expected, actual = (orjson.dumps(value).decode() for value in (sent, got))
    return Problem(exchange, message, expected, actual, f"$.{name}")
