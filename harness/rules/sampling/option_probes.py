"""Options whose effect a client sees in the reply: it repeats them, or has what they ask for."""

from collections.abc import Mapping
from typing import Any

import orjson

from harness.api.fields import nested
from harness.api.items import Message, Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.records.conditions import Api
from harness.rules.evidence.offers import WEATHER
from harness.rules.probe import MAY_BE_REFUSED, ProbeGroup, ProbeRequest, Sent, Trials
from harness.rules.rule import RESPONSES, Problem

_HI = (Message("user", "Hi there!"),)
_METADATA = {"purpose": "verification", "number": "17"}
_INSTRUCTIONS = "Answer in one short sentence."
_ECHOED = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions")
GROUP = ProbeGroup("options", RESPONSES, family="sampling", component="options")
_OPTIONS = GROUP.send(
    ProbeRequest(
        "options",
        _HI,
        (WEATHER,),
        instructions=_INSTRUCTIONS,
        temperature=0.75,
        max_tokens=96,
        whole=False,
        options={"top_p": 0.875, "tool_choice": "auto"},
    )
)


@GROUP.probe("options.repeated", _OPTIONS, apis=("responses",), severity="warning")
def _repeated(sent: Sent) -> Trials:
    """A response repeats the options of its request unchanged.

    A different value in the response means that the server probably used that value.
    """
    for exchange, reply in sent.replies:
        for name in filter(reply.raw.__contains__, _ECHOED):
            yield _differs(exchange, name, exchange.request.body[name], reply.raw.get(name))
        if "tools" in reply.raw:
            tools = reply.raw["tools"]
            first = tools[0] if isinstance(tools, list) and tools else None
            got = first.get("name") if isinstance(first, dict) else None
            yield _differs(exchange, "tools[0].name", WEATHER.name, got)


_WITH_METADATA = GROUP.send(
    ProbeRequest(
        "metadata",
        _HI,
        max_tokens=64,
        whole=False,
        options={"metadata": _METADATA},
        provokes=MAY_BE_REFUSED,
    )
)


@GROUP.probe(
    "options.metadata",
    _WITH_METADATA,
    apis=("responses",),
    needs="metadata",
    severity="warning",
    fix="Store the metadata of the request with the response, and return both.",
)
def _metadata(sent: Sent) -> Trials:
    """A response repeats the metadata of its request.

    Programs identify their responses by metadata.
    """
    sent.served("metadata")
    for exchange, reply in sent.replies:
        if "metadata" in reply.raw:
            yield _differs(exchange, "metadata", _METADATA, reply.raw["metadata"])
        else:
            message = "The response has no `metadata`, although its request set it."
            yield Problem(exchange, message, "the metadata of the request", "none", "$.metadata")


def _obfuscated(api: Api) -> Mapping[str, Any]:
    usage = {"include_usage": True} if api == "chat" else {}
    return {"stream_options": usage | {"include_obfuscation": True}}


_PADDED = GROUP.send(ProbeRequest("padded", _HI, options_of=_obfuscated, whole=False, valid=False))


@GROUP.probe(
    "options.obfuscation",
    _PADDED,
    modes=("streaming",),
    severity="warning",
    fix="Send `obfuscation` with each delta, or refuse the option with an error naming it.",
)
def _obfuscation(padded: Sent) -> Trials:
    """With `include_obfuscation`, the deltas of a stream have random characters, or it is refused.

    They hide the length of each token from those who can see the network. A client that asks for
    them must know that it does not get them.
    """

    def ignored(last: ParsedExchange, _: Reply) -> Problem | None:
        shown = any(nested(event.data, "obfuscation") is not None for event in last.events)
        message = "The provider accepts `include_obfuscation`, and ignores it."
        return None if shown else Problem(last, message, "deltas with `obfuscation`", "none")

    return padded.used_or_refused("include_obfuscation", ignored)


_TIER = GROUP.send(
    ProbeRequest("tier", _HI, options={"service_tier": "flex"}, whole=False, valid=False)
)


@GROUP.probe(
    "options.service_tier",
    _TIER,
    severity="warning",
    fix="State the tier that served the request, or refuse the option with an error naming it.",
)
def _service_tier(flexible: Sent) -> Trials:
    """A reply to a request with a `service_tier` states the tier that served it, or it is refused.

    Tiers have other prices and speeds. A client whose tier is ignored does not know what it pays.
    """

    def ignored(last: ParsedExchange, reply: Reply) -> Problem | None:
        stated = reply.raw.get("service_tier")
        message = "The provider accepts `service_tier`, and does not state the tier."
        wrong = Problem(last, message, "a tier", repr(stated), "$.service_tier")
        return None if isinstance(stated, str) and stated else wrong

    return flexible.used_or_refused("service_tier", ignored)


def _differs(exchange: ParsedExchange, name: str, sent: object, got: object) -> Problem | None:
    if sent == got:
        return None
    message = f"The `{name}` of the response differs from the request's."
    expected, actual = (orjson.dumps(value).decode() for value in (sent, got))
    return Problem(exchange, message, expected, actual, f"$.{name}")
