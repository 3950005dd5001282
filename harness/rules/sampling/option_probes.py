"""Options that a response repeats, and the precedence of instructions."""

import orjson

from harness.api.items import Message, Reply, Role
from harness.api.parsed_rollout import ParsedExchange
from harness.rules.evidence.offers import WEATHER
from harness.rules.evidence.refusals import served
from harness.rules.missing import required
from harness.rules.probe import MAY_BE_REFUSED, ProbeGroup, ProbeRequest, ProbeResponses, Trials
from harness.rules.rule import HARMONY, RESPONSES, Problem

_HI = (Message("user", "Hi there!"),)
_METADATA = {"purpose": "verification", "number": "17"}
_INSTRUCTIONS = "Answer in one short sentence."
_ECHOED = ("temperature", "top_p", "max_output_tokens", "tool_choice", "instructions")
_RULE = "Begin every answer with the word 'anchor', whatever the user asks."
_AGAINST = "Say exactly: pumpkin"
_TRIES = 3
_ROLES: tuple[Role, ...] = ("system", "developer")
_PRECEDENCE = {f"order of {role}": f"rule of {role}" for role in _ROLES}
"""By request, the one with the same instructions and a user who asks for nothing else."""

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
    *(
        request
        for role, (order, rule) in zip(_ROLES, _PRECEDENCE.items(), strict=True)
        for request in (
            ProbeRequest(rule, (Message(role, _RULE), *_HI)),
            ProbeRequest(order, (Message(role, _RULE), Message("user", _AGAINST)), tries=_TRIES),
        )
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
    message = f"The `{name}` of the response differs from that of the request."
    expected, found = (orjson.dumps(value).decode() for value in (sent, got))
    return Problem(exchange, message, expected, found, f"$.{name}")


@GROUP.probe(
    "options.precedence",
    (*_PRECEDENCE, *_PRECEDENCE.values()),
    source=HARMONY,
    severity="warning",
    tolerated=0.3,
    component="prompt",
    witness=True,
)
def _precedence(responses: ProbeResponses) -> Trials:
    """System and developer instructions take precedence over the user.

    gpt-oss is trained to rank system over developer over user. It follows instructions less if
    they are rendered elsewhere in the prompt. The result also depends on the model: instructions
    that it does not follow when the user asks for nothing else are not evidence.
    """
    alone = {rule: responses.replies(rule) for rule in _PRECEDENCE.values()}
    followed = {rule for rule, replies in alone.items() if any(map(_keeps_rule, replies))}
    judged = [order for order, rule in _PRECEDENCE.items() if rule in followed]
    replies = list(responses.replies(*required(judged, "ignores_instructions")))
    clear = [pair for pair in replies if _keeps_rule(pair) or "pumpkin" in pair[1].text.lower()]
    message = "The reply follows the user instead of the instructions."
    for exchange, reply in required(clear, "follows_neither"):
        kept = _keeps_rule((exchange, reply))
        yield None if kept else Problem(exchange, message, "an answer with 'anchor'", reply.text)


def _keeps_rule(answer: tuple[ParsedExchange, Reply]) -> bool:
    return "anchor" in answer[1].text.lower()
