"""Whether the model calls a tool as `tool_choice` requires, and a function of a namespace."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.api.fields import objects
from harness.api.items import Message
from harness.records.conditions import MODES, Api
from harness.records.replies import Wanted
from harness.rules.evidence.offers import IN_LISBON, LANGUAGE, TOOLS, WEATHER
from harness.rules.missing import unlike
from harness.rules.probe import (
    MAY_BE_REFUSED,
    NON_STREAMING,
    ProbeGroup,
    ProbeRequest,
    Sent,
    Trials,
)
from harness.rules.refusals import failure
from harness.rules.rule import FUNCTION_CALLING, TOOL_CHOICE, Problem

_CUSTOM = "add_note"
_NAMESPACE = "forecasts"
_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_HELLO = (Message("user", "Hello!"),)
_TRIES = 2


GROUP = ProbeGroup("tools.choice", TOOL_CHOICE, family="calls", component="choice", typical=True)
_PROVOKES = MAY_BE_REFUSED | {"calls.choice", "calls.parallel"}
_request = partial(ProbeRequest, tools=TOOLS, provokes=_PROVOKES)


def _named(api: Api) -> dict[str, Any]:
    """Return a choice of one function."""
    inner = {"name": LANGUAGE.name}
    return {"type": "function"} | ({"function": inner} if api == "chat" else inner)


def _choice_of_function(api: Api) -> dict[str, Any]:
    return {"tool_choice": _named(api)}


def _choice_of_list(api: Api) -> dict[str, Any]:
    listed: dict[str, Any] = {"mode": "required", "tools": [_named(api)]}
    inner = {"allowed_tools": listed} if api == "chat" else listed
    return {"tool_choice": {"type": "allowed_tools", **inner}}


def _custom_tool(api: Api) -> dict[str, Any]:
    custom: dict[str, Any] = {"name": _CUSTOM, "description": "Save a note, which is a text."}
    chosen: dict[str, Any] = {"name": _CUSTOM}
    if api == "chat":
        custom, chosen = {"custom": custom}, {"custom": chosen}
    return {
        "tools": [{"type": "custom", **custom}],
        "tool_choice": {"type": "custom", **chosen},
    }


@dataclass(frozen=True)
class _Choice:
    """A value of `tool_choice`: its request, the rule, what a reply must have, and its calls."""

    request: ProbeRequest
    text: str
    expected: str
    calls: frozenset[str] | None  # the names of its calls; None for any call

    @property
    def feature(self) -> str:
        """What a provider may lack."""
        return f"tool_choice {self.request.id}"

    def followed(self, sent: Sent) -> Trials:
        """Whether the calls follow the choice of a request."""
        served = sent.served(self.feature)
        failed = (failure(rollout, self.feature) for rollout in served.rollouts)
        yield from filter(None, failed)
        for exchange, reply in served.readable:
            called = [call.name for call in (*reply.calls, *reply.custom_calls)]
            followed = bool(called) if self.calls is None else set(called) == self.calls
            message = (
                f"The request set tool_choice to {self.request.id}, but the reply does not follow "
                "it."
            )
            got = f"calls: {', '.join(called) or 'none'}"
            yield None if followed else Problem(exchange, message, self.expected, got)


_often = partial(_request, tries=_TRIES, confirming=1)
_OF_LANGUAGE = f"a call of {LANGUAGE.name}", frozenset({LANGUAGE.name})
_BASIC = [
    _Choice(
        GROUP.send(_often("none", _WEATHER, options={"tool_choice": "none"})),
        "With tool_choice none, the reply calls no tool.",
        "no tool call",
        frozenset(),
    ),
    _Choice(
        GROUP.send(_often("required", _HELLO, options={"tool_choice": "required"})),
        "With tool_choice required, the reply calls a tool, even if none is needed.",
        "a tool call",
        None,
    ),
    _Choice(
        GROUP.send(_often("named", _WEATHER, options_of=_choice_of_function)),
        "With tool_choice naming a function, the reply calls that function.",
        *_OF_LANGUAGE,
    ),
]
_FURTHER = [
    _Choice(
        GROUP.send(_request("allowed", _WEATHER, options_of=_choice_of_list)),
        "With tool_choice allowed_tools, the reply calls only a function of the list.",
        *_OF_LANGUAGE,
    ),
    _Choice(
        GROUP.send(
            ProbeRequest(
                "custom",
                (Message("user", "Save this note: dock nine"),),
                options_of=_custom_tool,
                provokes=_PROVOKES,
            )
        ),
        "With tool_choice naming a custom tool, the reply calls that tool.",
        f"a call of {_CUSTOM}",
        frozenset({_CUSTOM}),
    ),
]
_WHY = "Programs rely on it. A provider that does not support it must reject the request."
_IN_STREAMS = (
    "Some servers parse the calls of every stream, stream a forced call as text, or force calls "
    "only in requests without `stream`."
)
_NONE = "With tool_choice none, leave the tools out of the prompt, and return no calls."
for _choice in (*_BASIC, *_FURTHER):
    GROUP.probe(
        f"tools.choice.{_choice.request.id}",
        _choice.request,
        needs="tool_choice",
        severity="error" if _choice in _BASIC else "warning",
        modes=MODES if _choice in _BASIC else NON_STREAMING,
        text=f"{_choice.text} {_WHY} {_IN_STREAMS}",
        component="choice",
        fix=_NONE if _choice.calls == frozenset() else None,
    )(_choice.followed)


_PARALLEL = GROUP.send(
    _request("parallel", _WEATHER, options={"parallel_tool_calls": True}, wanted=IN_LISBON)
)
_NOT_PARALLEL = GROUP.send(
    _request("not parallel", _WEATHER, options={"parallel_tool_calls": False}, wanted=IN_LISBON)
)


@GROUP.probe(
    "tools.choice.parallel",
    (_PARALLEL, _NOT_PARALLEL),
    source=f"{FUNCTION_CALLING}#parallel-function-calling",
    fix="With parallel_tool_calls false, end the reply after the first call.",
)
def _parallel(asked: Sent) -> Trials:
    """parallel_tool_calls is accepted; if false, a reply has at most one tool call.

    Client libraries send the option. gpt-oss makes one call per reply anyway.
    """
    for each in asked:
        served = each.served("parallel_tool_calls")
        for rollout in served.rollouts:
            yield failure(rollout, "parallel_tool_calls")
        for exchange, reply in served.readable:
            several = each.name == _NOT_PARALLEL.id and len(reply.calls) > 1
            message = "The request disabled parallel tool calls, but the reply has several calls."
            got = f"{len(reply.calls)} calls"
            yield Problem(exchange, message, "at most one call", got) if several else None


_FUNCTION = {
    "name": WEATHER.name,
    "description": WEATHER.description,
    "strict": False,
    "type": "function",
    "parameters": WEATHER.parameters,
}
_IN_NAMESPACE = GROUP.send(
    ProbeRequest(
        "namespace",
        _WEATHER,
        apis=("responses",),
        options={
            "tools": [
                {
                    "type": "namespace",
                    "name": _NAMESPACE,
                    "description": "About the weather.",
                    "tools": [_FUNCTION],
                }
            ]
        },
        provokes=MAY_BE_REFUSED,
        tries=_TRIES,
        confirming=1,
        wanted=Wanted(arguments=IN_LISBON.arguments),  # a server may return other names
    )
)


@GROUP.probe(
    "tools.namespace",
    _IN_NAMESPACE,
    apis=("responses",),
    modes=MODES,
    component="calls",
    source="https://github.com/openai/codex",
    fix="Return the namespace of a function in its calls, as the request had it, beside its name.",
    unjudged="no_call",
)
def _namespaces(asked: Sent) -> Trials:
    """A call of a function in a namespace has the name of the function, and its namespace.

    Codex groups its functions in namespaces. It answers a call without the namespace, or with both
    in one name, with "unsupported call".
    """
    feature = "tools in a namespace"
    served = asked.served(feature)
    yield from filter(None, (failure(rollout, feature) for rollout in served.rollouts))
    for exchange, reply in served.readable:
        done = (event.data.get("item") for event in exchange.events if isinstance(event.data, dict))
        for item in objects([*objects(reply.raw.get("output")), *done]):
            if item.get("type") != "function_call":
                continue
            if WEATHER.name not in str(item.get("name")):
                yield unlike(f"a call of {item.get('name')}")  # A model may call something else.
            else:
                right = (item["name"], item.get("namespace")) == (WEATHER.name, _NAMESPACE)
                message = "The call of a function in a namespace cannot be matched with it."
                expected = f"the name {WEATHER.name} and the namespace {_NAMESPACE}"
                got = f"the name {item['name']} and the namespace {item.get('namespace')}"
                yield None if right else Problem(exchange, message, expected, got)
