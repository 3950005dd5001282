"""Whether the model calls a tool as `tool_choice` requires, and a function of a namespace."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.api.fields import objects
from harness.api.items import Message
from harness.records.conditions import MODES, Api
from harness.records.replies import Wanted
from harness.rules.evidence.fetched import first_replies, served
from harness.rules.evidence.offers import IN_LISBON, LANGUAGE, TOOLS, WEATHER
from harness.rules.probe import (
    MAY_BE_REFUSED,
    NON_STREAMING,
    ProbeGroup,
    ProbeRequest,
    ProbeResponses,
    Trials,
)
from harness.rules.refusals import failure
from harness.rules.rule import FUNCTION_CALLING, TOOL_CHOICE, Problem

_CUSTOM = "add_note"
_NAMESPACE = "forecasts"
_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_HELLO = (Message("user", "Hello!"),)
_TRIES = 2


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    named: dict[str, Any] = {"type": "function"}
    named |= {"function": {"name": LANGUAGE.name}} if api == "chat" else {"name": LANGUAGE.name}
    listed: dict[str, Any] = {"mode": "required", "tools": [named]}
    custom: dict[str, Any] = {"name": _CUSTOM, "description": "Save a note, which is a text."}
    chosen: dict[str, Any] = {"name": _CUSTOM}
    if api == "chat":
        listed, custom, chosen = {"allowed_tools": listed}, {"custom": custom}, {"custom": chosen}
    choices = (
        ("none", _WEATHER, "none"),
        ("required", _HELLO, "required"),
        ("named", _WEATHER, named),
    )
    provokes = MAY_BE_REFUSED | {"calls.choice", "calls.parallel"}
    request = partial(ProbeRequest, tools=TOOLS, provokes=provokes)
    function = {"name": WEATHER.name, "description": WEATHER.description, "strict": False}
    function |= {"type": "function", "parameters": WEATHER.parameters}
    group = {"type": "namespace", "name": _NAMESPACE, "description": "About the weather."}
    in_namespace = ProbeRequest(
        "namespace",
        _WEATHER,
        options={"tools": [{**group, "tools": [function]}]},
        provokes=MAY_BE_REFUSED,
        tries=_TRIES,
        confirming=1,
        wanted=Wanted(arguments=IN_LISBON.arguments),  # a server may return other names
    )
    return (
        *((in_namespace,) if api == "responses" else ()),
        *(
            request(name, turns, options={"tool_choice": choice}, tries=_TRIES, confirming=1)
            for name, turns, choice in choices
        ),
        request("allowed", _WEATHER, options={"tool_choice": {"type": "allowed_tools", **listed}}),
        ProbeRequest(
            "custom",
            (Message("user", "Save this note: dock nine"),),
            options={
                "tools": [{"type": "custom", **custom}],
                "tool_choice": {"type": "custom", **chosen},
            },
            provokes=provokes,
        ),
        request("parallel", _WEATHER, options={"parallel_tool_calls": True}, wanted=IN_LISBON),
        request("not parallel", _WEATHER, options={"parallel_tool_calls": False}, wanted=IN_LISBON),
    )


GROUP = ProbeGroup(
    "tools.choice",
    TOOL_CHOICE,
    generated=_requests,
    family="calls",
    component="choice",
    typical=True,
)


_RIGHT: Mapping[str, tuple[str, frozenset[str] | None]] = {
    "none": ("no tool call", frozenset()),
    "required": ("a tool call", None),
    "named": (f"a call of {LANGUAGE.name}", frozenset({LANGUAGE.name})),
    "allowed": (f"a call of {LANGUAGE.name}", frozenset({LANGUAGE.name})),
    "custom": (f"a call of {_CUSTOM}", frozenset({_CUSTOM})),
}
"""By choice, what a reply must have, and the names of its calls; None for any call."""


def _followed(choice: str, responses: ProbeResponses) -> Trials:
    """Whether the calls follow the choice of a request."""
    expected, allowed = _RIGHT[choice]
    rollouts = served(responses, choice, f"tool_choice {choice}")
    yield from (
        failed for rollout in rollouts if (failed := failure(rollout, f"tool_choice {choice}"))
    )
    for exchange, reply in first_replies(rollouts):
        called = [call.name for call in (*reply.calls, *reply.custom_calls)]
        followed = bool(called) if allowed is None else set(called) == allowed
        message = f"The request set tool_choice to {choice}, but the reply does not follow it."
        got = f"calls: {', '.join(called) or 'none'}"
        yield None if followed else Problem(exchange, message, expected, got)


_WHY = "Programs rely on it. A provider that does not support it must reject the request."
_IN_STREAMS = (
    "Some servers parse the calls of every stream, stream a forced call as text, or force calls "
    "only in requests without `stream`."
)
for _name, _text in (
    ("none", "With tool_choice none, the reply calls no tool."),
    ("required", "With tool_choice required, the reply calls a tool, even if none is needed."),
    ("named", "With tool_choice naming a function, the reply calls that function."),
    ("allowed", "With tool_choice allowed_tools, the reply calls only a function of the list."),
    ("custom", "With tool_choice naming a custom tool, the reply calls that tool."),
):
    GROUP.probe(
        f"tools.choice.{_name}",
        (_name,),
        needs="tool_choice",
        severity="error" if _name in ("none", "required", "named") else "warning",
        modes=MODES if _name in ("none", "required", "named") else NON_STREAMING,
        text=f"{_text} {_WHY} {_IN_STREAMS}",
        component="choice",
        fix="With tool_choice none, leave the tools out of the prompt, and return no calls."
        if _name == "none"
        else None,
    )(partial(_followed, _name))


@GROUP.probe(
    "tools.choice.parallel",
    ("parallel", "not parallel"),
    source=f"{FUNCTION_CALLING}#parallel-function-calling",
    fix="With parallel_tool_calls false, end the reply after the first call.",
)
def _parallel(responses: ProbeResponses) -> Trials:
    """parallel_tool_calls is accepted; if false, a reply has at most one tool call.

    Client libraries send the option. gpt-oss makes one call per reply anyway.
    """
    for name in ("parallel", "not parallel"):
        rollouts = served(responses, name, "parallel_tool_calls")
        for rollout in rollouts:
            yield failure(rollout, "parallel_tool_calls")
        for exchange, reply in first_replies(rollouts):
            several = name == "not parallel" and len(reply.calls) > 1
            message = "The request disabled parallel tool calls, but the reply has several calls."
            got = f"{len(reply.calls)} calls"
            yield Problem(exchange, message, "at most one call", got) if several else None


@GROUP.probe(
    "tools.namespace",
    ("namespace",),
    apis=("responses",),
    modes=MODES,
    component="calls",
    source="https://github.com/openai/codex",
    fix="Return the namespace of a function in its calls, as the request had it, beside its name.",
    unjudged="no_call",
)
def _namespaces(responses: ProbeResponses) -> Trials:
    """A call of a function in a namespace has the name of the function, and its namespace.

    Codex groups its functions in namespaces. It answers a call without the namespace, or with both
    in one name, with "unsupported call".
    """
    rollouts = served(responses, "namespace", "tools in a namespace")
    yield from (
        failed for rollout in rollouts if (failed := failure(rollout, "tools in a namespace"))
    )
    for exchange, reply in first_replies(rollouts):
        done = (event.data.get("item") for event in exchange.events if isinstance(event.data, dict))
        for item in objects([*objects(reply.raw.get("output")), *done]):
            # A model may call something else.
            if item.get("type") == "function_call" and WEATHER.name in str(item.get("name")):
                right = (item["name"], item.get("namespace")) == (WEATHER.name, _NAMESPACE)
                message = "The call of a function in a namespace cannot be matched with it."
                expected = f"the name {WEATHER.name} and the namespace {_NAMESPACE}"
                got = f"the name {item['name']} and the namespace {item.get('namespace')}"
                yield None if right else Problem(exchange, message, expected, got)
