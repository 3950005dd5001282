"""`tool_choice` and `parallel_tool_calls`: kept to, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.api.conversation import Message
from harness.checks.base import Problem
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import failure, first_replies, served
from harness.probes.tools.offers import FUNCTION_CALLING, LANGUAGE, REPLY_TOKENS, TOOLS
from harness.records.conditions import Api

_TOOL_CHOICE = f"{FUNCTION_CALLING}#tool-choice"
_WEATHER = (Message("user", "What is the weather in Lisbon?"),)
_HELLO = (Message("user", "Hello!"),)
_WHY = "Programs rely on it; a provider that cannot do it must refuse the request."
_REFUSABLE = frozenset({"request.refused"})
_TRIES = 2


def _asks(api: Api) -> tuple[Ask, ...]:
    named: dict[str, Any] = {"type": "function"}
    named |= {"function": {"name": LANGUAGE.name}} if api == "chat" else {"name": LANGUAGE.name}
    options: dict[str, tuple[tuple[Message, ...], dict[str, Any]]] = {
        "auto": (_WEATHER, {"tool_choice": "auto"}),
        "none": (_WEATHER, {"tool_choice": "none"}),
        "required": (_HELLO, {"tool_choice": "required"}),
        "named": (_WEATHER, {"tool_choice": named}),
        "parallel": (_WEATHER, {"parallel_tool_calls": True}),
        "not parallel": (_WEATHER, {"parallel_tool_calls": False}),
    }
    return tuple(
        Ask(
            name,
            turns,
            TOOLS,
            max_tokens=REPLY_TOKENS,
            options=option,
            tries=_TRIES if "tool_choice" in option else 1,
            provokes=_REFUSABLE,
        )
        for name, (turns, option) in options.items()
    )


BENCH = Bench("tools.choice", _asks)


@BENCH.probe(
    "tools.choice.auto",
    uses=["auto"],
    severity="error",
    summary="tool_choice auto is accepted: it says what holds without it.",
    why="Client libraries send it in every request with tools.",
    source=_TOOL_CHOICE,
    needs="tool_choice",
)
def _auto(answers: Answers) -> Iterator[Trial]:
    for seen in answers.all("auto"):
        yield failure(seen, "tool_choice auto")


@BENCH.probe(
    "tools.choice.none",
    uses=["none"],
    severity="error",
    summary="With tool_choice none, no tool is called.",
    why=_WHY,
    source=_TOOL_CHOICE,
    needs="tool_choice",
)
def _none(answers: Answers) -> Iterator[Trial]:
    yield from _kept(answers, "none", expected=None)


@BENCH.probe(
    "tools.choice.required",
    uses=["required"],
    severity="error",
    summary="With tool_choice required, some tool is called, needed or not.",
    why=_WHY,
    source=_TOOL_CHOICE,
    needs="tool_choice",
)
def _required(answers: Answers) -> Iterator[Trial]:
    yield from _kept(answers, "required", expected="")


@BENCH.probe(
    "tools.choice.named",
    uses=["named"],
    severity="error",
    summary="With tool_choice naming a function, that function is called.",
    why=_WHY,
    source=_TOOL_CHOICE,
    needs="tool_choice",
)
def _named(answers: Answers) -> Iterator[Trial]:
    yield from _kept(answers, "named", expected=LANGUAGE.name)


@BENCH.probe(
    "tools.choice.parallel",
    uses=["parallel", "not parallel"],
    severity="error",
    summary="parallel_tool_calls is accepted; when false, there is one call at most.",
    why="Client libraries send it; one call a reply is what gpt-oss makes anyway.",
    source=f"{FUNCTION_CALLING}#parallel-function-calling",
)
def _parallel(answers: Answers) -> Iterator[Trial]:
    for name in ("parallel", "not parallel"):
        views = served(answers, name, "parallel_tool_calls")
        for seen in views:
            yield failure(seen, "parallel_tool_calls")
        for turn, reply in first_replies(views):
            several = name == "not parallel" and len(reply.calls) > 1
            message = "There are several calls in a reply, though that was ruled out."
            got = f"{len(reply.calls)} calls"
            yield Problem(turn, message, "one call at most", got) if several else None


def _kept(answers: Answers, name: str, *, expected: str | None) -> Iterator[Trial]:
    """Whether a choice was kept to: no call (None), any call (""), or that of a function."""
    views = served(answers, name, f"tool_choice {name}")
    failures = [found for seen in views if (found := failure(seen, f"tool_choice {name}"))]
    yield from failures
    replies = list(first_replies(views))
    if not failures and not replies:
        raise NotVerifiableError("Every reply was cut off by the limit on tokens.")
    for turn, reply in replies:
        called = [call.name for call in reply.calls]
        if expected is None:
            kept, wanted = not called, "no tool call"
        else:
            kept = bool(called) and (not expected or set(called) == {expected})
            wanted = f"a call of {expected}" if expected else "a tool call"
        message = f"tool_choice {name} is not kept to."
        got = f"calls: {', '.join(called) or 'none'}"
        yield None if kept else Problem(turn, message, wanted, got)
