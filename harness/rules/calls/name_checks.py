"""The names of calls: those of tools that the request offers, without anything else."""

import re
from collections.abc import Collection, Iterator

from harness.api.items import Tool
from harness.api.json_schema import conforms, misfit
from harness.api.json_text import parsed_object
from harness.rules.check import Family
from harness.rules.evidence.subjects import BUILT_IN, Answer, Call, calls
from harness.rules.habits import unmeasured
from harness.rules.rule import CHAT, FUNCTION_CALLING, GUIDE, HARMONY, ExcusedIf, Problem

family = Family("calls", CHAT, component="calls")
# What a harmony header can leave around the name of a tool, with or without its special tokens:
# ` to=functions.NAME<|channel|>commentary <|constrain|>json<|message|>`. A content type counts only
# where it directly follows the name, because a model may invent `search_code` for `search`.
_BEFORE_NAME = r"(?:.*to=)?(?:functions?[._:/]*)*"
_AFTER_NAME = (
    r"(?:(?:<\||\s|[._:/]*(?:commentary|analysis|channel|constrain|assistant)).*|json|code)?"
)
_ARGUMENTS = ("arguments", "parameters")  # members of a call in the format of other models


@family.check(
    "calls.name.unknown",
    calls,
    lambda call: not _is_json_answer(call),
    severity="warning",
    source=GUIDE,
    habit=unmeasured(0.02),
    witness=True,
)
def _unknown_name(call: Call) -> Iterator[Problem]:
    """Tool calls name a tool that the request offered.

    A model occasionally invents a tool or corrects an odd name, and the attempt fails. More often,
    the server changes names or does not show the tools to the model.
    """
    offered = {*call.exchange.request.functions, *call.exchange.request.custom_tools}
    named = call.call.name and not (is_built_in(call) or _intended(call))
    if named and call.call.name not in offered:
        message = "The reply calls a tool that the request did not offer."
        yield Problem(call.exchange, message, f"one of {sorted(offered)}", call.call.name)


@family.check(
    "calls.custom",
    calls,
    lambda call: call.call.name in call.exchange.request.custom_tools,
    source=f"{FUNCTION_CALLING}#custom-tools",
    fix="Return the call of a custom tool as a custom tool call, with its input as the text.",
)
def _custom(call: Call) -> Iterator[Problem]:
    """The call of a custom tool is a custom tool call. Clients find no function of that name."""
    message = f"{call.call.name} was offered as a custom tool, and its call is a function call."
    yield Problem(call.exchange, message, "a custom tool call", call.call.arguments)


@family.check(
    "calls.name.built_in",
    calls,
    severity="warning",
    source=HARMONY,
    habit=unmeasured(0.02),
    relations=[ExcusedIf("prompt.bare", "built_in_unasked")],
    component="prompt",
    fix="Offer the built-in tools in the system message only if the request offers them.",
)
def _built_in(call: Call) -> Iterator[Problem]:
    """The reply does not call a built-in tool of harmony that the request did not offer.

    gpt-oss does this occasionally. It becomes frequent if the system message advertises built-in
    tools that are not available.
    """
    if is_built_in(call):
        message = "The reply calls a built-in harmony tool that the request did not offer."
        yield Problem(call.exchange, message, "no call of a built-in tool", call.call.name)


@family.check(
    "calls.name.polluted",
    calls,
    source=HARMONY,
    habit=unmeasured(0.01),
    fix="Take the name from the recipient only, wherever the header has it.",
)
def _polluted_name(call: Call) -> Iterator[Problem]:
    """Tool names are returned as the model wrote them, without parts of the harmony header.

    The model may write the recipient before or after the channel, and the provider's harmony parser
    handles only one of the two. Agents see an unknown tool and abort. A call with the wrong tool's
    name is also reported if the CoT names only one tool, and the arguments fit only the schema of
    that tool. A model rarely writes no name.
    """
    intended, meant = _intended(call), _meant(call)
    if intended is not None:
        message = f"The tool name {intended} was returned with parts of its harmony header."
        # A model may write the namespace twice.
        own = call.call.name == f"functions.{intended}"
        yield Problem(call.exchange, message, intended, call.call.name, proven=not own)
    elif not call.call.name:
        message = "The call has an empty name."
        yield Problem(call.exchange, message, "the name of a tool", repr(call.call.name))
    elif meant is not None:
        message = "The call has the arguments of the tool that the CoT names, but a different name."
        yield Problem(call.exchange, message, meant.name, call.call.name)


def tool_of(arguments: object, tools: Collection[Tool]) -> Tool | None:
    """Return the tool that these arguments fit, without unknown or missing properties.

    The arguments may be part of an object that names the tool, the format of other models.
    """
    if not isinstance(arguments, dict) or not arguments:
        return None
    if isinstance(arguments.get("name"), str):
        inner = next((arguments[key] for key in _ARGUMENTS if key in arguments), None)
        named = [tool for tool in tools if tool.name == arguments["name"]]
        if named and isinstance(inner, dict | str):
            return named[0]
    for tool in tools:
        properties = tool.parameters.get("properties")
        known = set(properties) if isinstance(properties, dict) else set()
        if arguments.keys() <= known and conforms(arguments, tool.parameters):
            return tool
    return None


def _meant(call: Call) -> Tool | None:
    """The tool that the model means, if CoT and arguments show that it is not the called one."""
    functions, reply = call.exchange.request.functions, call.exchange.reply
    own, arguments = functions.get(call.call.name), parsed_object(call.call.arguments)
    if own is None or arguments is None or reply is None:
        return None
    named = [tool for name, tool in functions.items() if name in reply.reasoning]
    if len(named) != 1 or own in named or misfit(arguments, own.parameters) is None:
        return None
    without = named[0] if conforms({}, named[0].parameters) else None
    return tool_of(arguments, named) if arguments else without


def _is_json_answer(call: Call) -> bool:
    """Whether `chat.answer.item` or `responses.answer.item` reports a call."""
    reply = call.exchange.reply
    return reply is not None and Answer(call.exchange, reply).misplaced is not None


def is_built_in(call: Call) -> bool:
    """Whether a call is of a tool that the server runs itself."""
    name, request = call.call.name, call.exchange.request
    return (
        name not in {*request.functions, *request.custom_tools}
        and BUILT_IN.fullmatch(name) is not None
    )


def _intended(call: Call) -> str | None:
    """The offered tool whose name is returned with parts of a header; None for any other name."""
    name, offered = call.call.name, call.exchange.request.functions
    patterns = ((tool, f"{_BEFORE_NAME}{re.escape(tool)}{_AFTER_NAME}") for tool in offered)
    matching = (tool for tool, pattern in patterns if re.fullmatch(pattern, name, re.DOTALL))
    return None if name in offered else next(matching, None)
