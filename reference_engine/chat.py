"""A conversation in the terminal: type, and watch the model answer token by token."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TextIO, get_args

from harmony.conversation import (
    Answer,
    Call,
    Conversation,
    ConversationItem,
    Effort,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.parse import STOP_TOKENS, Delta, Ended, HarmonyParser, Started
from harmony.render import RenderError, render_prompt
from reference_engine.backends.base import Backend
from reference_engine.chat_screen import Screen
from reference_engine.chat_tools import TOOLS, answer_call
from reference_engine.generation.errors import EngineError
from reference_engine.generation.sampling import SamplingParams

HELP = """\
/effort low|medium|high   how long the model thinks
/tools                    offer two demonstration tools, or take them back
/raw                      show harmony's tokens as they are, or hide them again
/reset                    begin a new conversation
/quit                     leave; Ctrl-C stops an answer
"""
_MOST_CALLS = 8
"""Calls of tools that one question may lead to."""


@dataclass(frozen=True)
class ChatSettings:
    """How the model is asked.

    Attributes:
        max_tokens: Most tokens of one answer, its chain of thought included.
        temperature: 0 takes the most probable token always.
        seed: Makes a whole conversation repeatable.
        current_date: ISO date for the system message, or None to leave the line out.
    """

    effort: Effort = "medium"
    raw: bool = False
    tools: bool = False
    max_tokens: int = 2048
    temperature: float = 1.0
    seed: int | None = None
    current_date: str | None = None


class Chat:
    """A conversation with one engine.

    Attributes:
        turns: What has been said.
    """

    def __init__(self, engine: Backend, settings: ChatSettings, screen: Screen) -> None:
        self.turns: tuple[ConversationItem, ...] = ()
        self.settings = settings
        self._engine = engine
        self._screen = screen

    def command(self, line: str) -> bool:
        """Do what a line beginning with a slash says; False ends the chat."""
        name, _, value = line[1:].partition(" ")
        match name, value.strip():
            case "quit" | "exit", _:
                return False
            case "reset", _:
                self.turns = ()
                self._screen.note("A new conversation.")
            case "raw", _:
                self.settings = replace(self.settings, raw=not self.settings.raw)
                self._screen.note(f"Harmony's tokens are {_shown(self.settings.raw)}.")
            case "tools", _:
                self.settings = replace(self.settings, tools=not self.settings.tools)
                names = ", ".join(tool.name for tool in TOOLS)
                self._screen.note(f"{names}: {'on offer' if self.settings.tools else 'off'}.")
            case "effort", ("low" | "medium" | "high") as effort:
                self.settings = replace(self.settings, effort=effort)
                self._screen.note(f"Reasoning effort is {effort}.")
            case "effort", _:
                self._screen.note(f"/effort takes one of {', '.join(get_args(Effort))}.")
            case _:
                self._screen.note(HELP)
        return True

    async def ask(self, text: str) -> None:
        """Say something, show the answer, and answer the model's calls; errors are shown.

        An answer that is cancelled leaves the conversation as it was before.
        """
        before = self.turns
        self.turns += (User(text),)
        try:
            for _ in range(_MOST_CALLS):
                if not self._run_calls(await self._reply()):
                    return
            self._screen.note(f"{_MOST_CALLS} calls are enough for one question.")
        except (EngineError, RenderError) as error:
            self.turns = before
            self._screen.note(str(error))
        except asyncio.CancelledError:
            self.turns = before
            self._screen.note("Stopped; this question is forgotten.")

    def _run_calls(self, turns: list[ConversationItem]) -> bool:
        self.turns += tuple(turns)
        calls = [turn for turn in turns if isinstance(turn, Call)]
        for call in calls:
            output = answer_call(call)
            self._screen.result(call.name, output)
            self.turns += (Result(call.name, output),)
        return bool(calls)

    async def _reply(self) -> list[ConversationItem]:
        """One answer of the model, shown as it comes."""
        settings, parser, reply = self.settings, HarmonyParser(), _Reply()
        tools = TOOLS if settings.tools else ()
        prompt = render_prompt(
            Conversation(
                self.turns,
                tools=tools,
                effort=settings.effort,
                current_date=settings.current_date,
            )
        )
        params = SamplingParams(
            settings.max_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
            stop_token_ids=STOP_TOKENS,
        )
        show = self._screen.raw if settings.raw else self._screen.event
        if settings.raw:
            self._screen.prompt(prompt)
        try:
            async with aclosing(self._engine.generate(prompt, params)) as tokens:
                async for token in tokens:
                    events = parser.feed(token.id)
                    show(token.id, events)
                    reply.add(events)
        finally:
            self._screen.end()
        complete = parser.done
        reply.add(parser.finish())
        if not complete:
            self._screen.note("The answer was cut off: no more room.")
        return reply.turns


class _Reply:
    """Collects the turns of an answer."""

    def __init__(self) -> None:
        self.turns: list[ConversationItem] = []
        self._started = Started("answer")
        self._text = ""

    def add(self, events: list[Started | Delta | Ended]) -> None:
        """Read on."""
        for event in events:
            match event:
                case Started():
                    self._started, self._text = event, ""
                case Delta():
                    self._text += event.text
                case Ended():
                    self.turns.append(self._turn())

    def _turn(self) -> ConversationItem:
        match self._started.kind:
            case "reasoning":
                return Reasoning(self._text)
            case "preamble":
                return Preamble(self._text)
            case "call":
                return Call(self._started.name, self._text)
            case "answer":
                return Answer(self._text)


def chat(engine: Backend, settings: ChatSettings, *, name: str, out: TextIO | None = None) -> None:
    """Talk until the user leaves.

    Args:
        engine: A started engine.
        settings: How it is asked at first.
        name: What is talking, for the first line.
        out: The terminal.
    """
    out = out or sys.stdout
    talk = Chat(engine, settings, Screen(out))
    out.write(f"{name}. /help lists the commands.\n")
    while (line := _line()) is not None:
        text = line.strip()
        if text.startswith("/"):
            if not talk.command(text):
                return
        elif text:
            asyncio.run(_until_interrupted(talk.ask(text)))


def _line() -> str | None:
    """What the user types; None when there is no more, an empty line after Ctrl-C."""
    try:
        return input("\n› ")
    except EOFError:
        return None
    except KeyboardInterrupt:
        sys.stdout.write("\n/quit leaves.\n")
        return ""


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C cancels the work and nothing else."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _shown(shown: bool) -> str:
    return "shown" if shown else "hidden"
