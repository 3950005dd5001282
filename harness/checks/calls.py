"""Tool calls as such: ids that can be answered, names on offer, arguments in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harness.api.base import Tool
from harness.checks.base import CHAT, GUIDE, HARMONY, Family, Problem
from harness.checks.json_text import misfit, parsed_object, parsed_string, trailing_object
from harness.checks.subjects import (
    Answer,
    Call,
    calls,
    conversations,
    ended_with_tools,
    strict_calls,
)
from harness.parsing.rollout import ParsedRollout

family = Family("tools")

_PARSER_WHY = "The provider's parser failed; agents see an unknown tool, or none at all."
# The tools that harmony builds in, by namespace; a model now and then calls them unasked.
_BUILT_IN = re.compile(r"(browser|python|container|repo_browser)([._]\w+)?")
_HEADER_WORDS = (
    *("functions", "function", "json", "code", "commentary", "analysis"),
    *("channel", "constrain", "assistant"),
)
_NOT_IN_NAMES = re.compile(r"[\W_]+")


@family.check(
    "calls.id.missing",
    over=calls,
    severity="error",
    summary="Every tool call has an id.",
    why="Its result cannot be sent back without one.",
    source=CHAT,
)
def _call_id(found: Call) -> Iterator[Problem]:
    if not found.call.id:
        message = f"The call of {found.call.name} has no id."
        yield Problem(found.turn, message, "a string that is not empty", repr(found.call.id))


@family.check(
    "calls.id.repeated",
    over=conversations,
    severity="error",
    summary="No two tool calls of a conversation share an id.",
    why="Their results cannot be told apart.",
    source=CHAT,
)
def _repeated_call_id(seen: ParsedRollout) -> Iterator[Problem]:
    known: set[str] = set()
    for turn, call in calls(seen):
        if call.id and call.id in known:
            message = "A tool call has the id of an earlier one."
            yield Problem(turn, message, "a new id", call.id)
        known.add(call.id)


@family.check(
    "calls.name.unknown",
    over=calls,
    severity="warning",
    summary="Only tools that were offered are called.",
    why="Models do invent tools now and then; the outcome counts it as a failure.",
    source=GUIDE,
)
def _unknown_name(found: Call) -> Iterator[Problem]:
    offered = found.turn.asked.functions
    if found.call.name not in offered:
        message = "A tool is called that was not offered."
        yield Problem(found.turn, message, f"one of {sorted(offered)}", found.call.name)


@family.check(
    "calls.name.built_in",
    over=calls,
    severity="warning",
    summary="No built-in tool of harmony is called where none was offered.",
    why="gpt-oss does so now and then; a prompt that advertises tools it does not have makes it "
    "a habit.",
    source=HARMONY,
    tolerated=0.02,
)
def _built_in(found: Call) -> Iterator[Problem]:
    name = found.call.name
    if name not in found.turn.asked.functions and _BUILT_IN.fullmatch(name):
        message = "A built-in tool is called that was not offered."
        yield Problem(found.turn, message, "no built-in tool", name)


@family.check(
    "calls.name.polluted",
    over=calls,
    severity="error",
    summary="A tool's name comes back as it was given, with nothing glued to it.",
    why=_PARSER_WHY,
    source=HARMONY,
    tolerated=0.02,
)
def _polluted_name(found: Call) -> Iterator[Problem]:
    name, offered = found.call.name, found.turn.asked.functions
    meant = next((tool for tool in offered if _glued(tool, name)), None)
    if name not in offered and meant is not None:
        message = f"The name of {meant} came back changed."
        yield Problem(found.turn, message, meant, name)


@family.check(
    "calls.arguments.json",
    over=calls,
    severity="warning",
    summary="A tool call's arguments are a JSON object.",
    why="Models do write broken JSON now and then; the outcome counts it as a failure.",
    source=CHAT,
)
def _arguments(found: Call) -> Iterator[Problem]:
    if parsed_object(found.call.arguments) is None:
        message = f"The arguments of {found.call.name} are not a JSON object."
        yield Problem(found.turn, message, "a JSON object", found.call.arguments)


@family.check(
    "calls.arguments.escaped",
    over=calls,
    severity="error",
    summary="A tool call's arguments are not a JSON string that holds their JSON.",
    why="The server has written them down twice; tools get a text in place of their arguments.",
    source=CHAT,
    tolerated=0.02,
)
def _escaped(found: Call) -> Iterator[Problem]:
    inner = parsed_string(found.call.arguments)
    if inner is not None and parsed_object(inner) is not None:
        message = f"The arguments of {found.call.name} are escaped twice."
        yield Problem(found.turn, message, inner, found.call.arguments)


@family.check(
    "calls.arguments.strict",
    over=strict_calls,
    severity="error",
    summary="Arguments of a tool that is declared strict fit its schema.",
    why="strict is a promise; a provider that cannot keep it must refuse it.",
    source="https://platform.openai.com/docs/guides/function-calling#strict-mode",
    tolerated=0.02,
)
def _strict(found: Call) -> Iterator[Problem]:
    name, arguments = found.call.name, parsed_object(found.call.arguments)
    problem: str | None = "not a JSON object"
    if arguments is not None:
        problem = misfit(arguments, found.turn.asked.functions[name].parameters)
    if problem is not None:
        message = f"The arguments of {name} do not fit its schema, though it is strict."
        yield Problem(found.turn, message, "arguments that fit", problem)


@family.check(
    "calls.in_text",
    over=ended_with_tools,
    severity="error",
    summary="A reply without a tool call is not itself the arguments of one.",
    why=_PARSER_WHY,
    source=HARMONY,
    tolerated=0.02,
)
def _in_text(answer: Answer) -> Iterator[Problem]:
    turn, reply = answer
    for place, text, whole in (("answer", reply.text, False), ("CoT", reply.reasoning, True)):
        found = parsed_object(text.strip()) if whole else trailing_object(text)
        tool = _tool_of(found, turn.asked.functions.values())
        if tool is not None and not turn.asked.wants_json:
            message = f"The {place} holds what looks like the arguments of {tool.name}."
            yield Problem(turn, message, "a tool call", text[-200:])


def _tool_of(arguments: object, tools: Iterable[Tool]) -> Tool | None:
    """The tool whose arguments these might be: they fit, and give all that it knows to ask for."""
    if not isinstance(arguments, dict) or not arguments:
        return None
    for tool in tools:
        properties = tool.parameters.get("properties")
        known = set(properties) if isinstance(properties, dict) else set()
        if arguments.keys() <= known and misfit(arguments, tool.parameters) is None:
            return tool
    return None


def _glued(tool: str, name: str) -> bool:
    """Whether `name` is a tool's with a namespace, a content type or other signs about it."""
    plain, given = (_NOT_IN_NAMES.sub("", text).lower() for text in (tool, name))
    for piece in _HEADER_WORDS:
        given = given.removeprefix(piece) if not plain.startswith(piece) else given
        given = given.removesuffix(piece) if not plain.endswith(piece) else given
    return given == plain
