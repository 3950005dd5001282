"""A conversation in the terminal, with the answer shown token by token."""

import asyncio
import codecs
import json
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO, get_args

from harmony.conversation import (
    Builtin,
    BuiltinCall,
    Call,
    Conversation,
    ConversationItem,
    Effort,
    FunctionTool,
    Result,
    User,
)
from harmony.parse import (
    FIRST_SPECIAL,
    STOP_TOKENS,
    Delta,
    Ended,
    Event,
    HarmonyParser,
    Started,
    parse_completion,
)
from harmony.render import RenderError, render_prompt
from harmony.vocabulary import harmony_encoding, token_bytes
from reference_engine.backends.token_source import Backend
from reference_engine.builtin.apply_patch import PatchError, apply_patch
from reference_engine.builtin.tools import NO_TOOLS, ServerTools, Toolbox
from reference_engine.generation.errors import EngineError
from reference_engine.generation.sampling import SamplingParams

_PLACE = {"location": {"type": "string", "description": "City, region or postal code"}}
_UNIT = {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"}}
TOOLS = (
    FunctionTool(
        "get_weather",
        "Current weather at a place.",
        {
            "type": "object",
            "properties": _PLACE | _UNIT,
            "required": ["location"],
            "additionalProperties": False,
        },
    ),
    FunctionTool("service_status", "Report whether the service is up. Takes no arguments."),
)
"""Two demonstration tools. The small checkpoint knows them."""
_OUTPUTS = {
    "get_weather": {"condition": "sunny", "temperature": 21},
    "service_status": {"status": "up", "uptime_hours": 412},
}


_PATCHES = """Edit files with a patch:
*** Begin Patch
*** Add File: new.txt
+a line
*** Update File: old.py
*** Move to: other.py
@@ def main():
 a line of context
-a line to remove
+a line to insert
*** Delete File: gone.txt
*** End Patch
Paths are relative. An update has no line numbers: three lines of context find its place, with the
function or class after @@ if they are not unique."""
APPLY_PATCH = FunctionTool(
    "apply_patch",
    _PATCHES,
    {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
)
"""The tool that edits files, with the same parameter as in Codex."""


def answer_call(call: Call, folder: Path | None = None) -> str:
    """Return a fixed result, or an error for an unknown tool or invalid arguments.

    With a `folder`, `apply_patch` changes its files.
    """
    patching = call.name == APPLY_PATCH.name and folder is not None
    if call.name not in _OUTPUTS and not patching:
        return json.dumps({"error": f"there is no tool {call.name}"})
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError as error:
        return json.dumps({"error": f"the arguments are not valid JSON: {error}"})
    if not isinstance(arguments, dict):
        return json.dumps({"error": "the arguments are not a JSON object"})
    if folder is None or not patching:
        return json.dumps(_OUTPUTS[call.name])
    try:
        return apply_patch(folder, str(arguments.get("input", "")))
    except (PatchError, OSError) as error:
        return str(error)


_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_ALLOWED = "\n\t"


class Screen:
    """Writes to a terminal, with a dim chain of thought and bold calls, or writes plain text."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._colours = out.isatty()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def note(self, text: str) -> None:
        """Write a line that is not part of the answer."""
        self._write(self._styled(text.rstrip(), _DIM) + "\n")

    def result(self, name: str, output: str) -> None:
        """Show the result of a tool."""
        self.note(f"{name} → {_safe(output)}")

    def event(self, _: int, events: Sequence[Event]) -> None:
        """Show the next part of an answer. Each message starts on a new line."""
        for event in events:
            match event:
                case Started("reasoning" | "preamble"):
                    self._begin(_DIM)
                case Started("call", name):
                    self._begin(_BOLD)
                    self._write(f"{name} ")
                case Started():
                    self._begin("")
                case Delta(_, text):
                    self._write(_safe(text))
                case Ended():
                    self._begin("")
                    self._write("\n")

    def raw(self, token: int, _: Sequence[Event]) -> None:
        """Show a raw token. An incomplete character waits for its remaining bytes."""
        if token < FIRST_SPECIAL:
            self._write(_safe(self._characters.decode(token_bytes()[token])))
        else:
            self._write(self._styled(harmony_encoding().decode([token]), _BOLD))

    def prompt(self, tokens: Sequence[int]) -> None:
        """Show the prompt."""
        self.note(_safe(harmony_encoding().decode(list(tokens))))

    def end(self) -> None:
        """End the answer."""
        self._characters.reset()
        self._write((_PLAIN if self._colours else "") + "\n")

    def _begin(self, style: str) -> None:
        if self._colours:
            self._write(_PLAIN + style)

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _safe(text: str) -> str:
    """Return the text without control characters, which could manipulate the terminal."""
    return "".join(one for one in text if one.isprintable() or one in _ALLOWED)


HELP = """\
/effort low|medium|high   set the reasoning effort
/tools                    enable or disable two demonstration tools
/raw                      show or hide the raw harmony tokens
/reset                    start a new conversation
/quit                     quit; Ctrl-C stops an answer
"""
_MOST_CALLS = 8  # the maximum number of tool calls per question


@dataclass(frozen=True)
class ChatSettings:
    """Settings of a conversation."""

    effort: Effort = "medium"
    raw: bool = False
    tools: bool = False
    max_tokens: int = 2048  # maximum length of one answer, including its chain of thought
    temperature: float = 1.0  # 0 selects the most probable token
    seed: int | None = None  # makes the whole conversation repeatable
    current_date: str | None = None  # ISO date for the system message, or None for no date line
    folder: Path | None = None  # the folder whose files the model may edit with apply_patch


class Chat:
    """A conversation with one engine; `history` has its items so far."""

    def __init__(
        self,
        engine: Backend,
        settings: ChatSettings,
        screen: Screen,
        tools: ServerTools = NO_TOOLS,
    ) -> None:
        self.history: tuple[ConversationItem, ...] = ()
        self.settings = settings
        self._engine = engine
        self._screen = screen
        self._tools = tools
        self._builtin = tuple(tool for tool in get_args(Builtin) if tools.has(tool))

    def command(self, line: str) -> bool:
        """Run a command (a line that starts with a slash); returns False to end the chat."""
        name, _, value = line[1:].partition(" ")
        match name, value.strip():
            case "quit" | "exit", _:
                return False
            case "reset", _:
                self.history = ()
                self._screen.note("A new conversation.")
            case "raw", _:
                self.settings = replace(self.settings, raw=not self.settings.raw)
                shown = "shown" if self.settings.raw else "hidden"
                self._screen.note(f"Raw harmony tokens are {shown}.")
            case "tools", _:
                self.settings = replace(self.settings, tools=not self.settings.tools)
                names = ", ".join(tool.name for tool in TOOLS)
                self._screen.note(f"{names}: {'enabled' if self.settings.tools else 'disabled'}.")
            case "effort", ("low" | "medium" | "high") as effort:
                self.settings = replace(self.settings, effort=effort)
                self._screen.note(f"Reasoning effort is {effort}.")
            case "effort", _:
                self._screen.note(f"/effort requires one of {', '.join(get_args(Effort))}.")
            case _:
                self._screen.note(HELP)
        return True

    async def ask(self, text: str) -> None:
        """Answer a question, running the model's calls. Cancelling removes the question."""
        before = self.history
        self.history += (User(text),)
        tools = self._tools.toolbox(self._builtin)
        try:
            for _ in range(_MOST_CALLS):
                if not await self._run_calls(await self._reply(), tools):
                    return
            self._screen.note(f"Stopped after {_MOST_CALLS} calls for one question.")
        except (EngineError, RenderError) as error:
            self.history = before
            self._screen.note(str(error))
        except asyncio.CancelledError:
            self.history = before
            self._screen.note("Stopped; the question is removed from the conversation.")

    async def _run_calls(self, reply: Sequence[ConversationItem], tools: Toolbox) -> bool:
        """Run the calls of a reply, built-in ones in the toolbox; returns whether it has any."""
        found = False
        for item in reply:
            match tools.item(item):
                case BuiltinCall() as call:
                    _, result = await tools.run(call)
                    output = result.output
                    self.history += (call, result)
                case Call(name) as call:
                    output = answer_call(call, self.settings.folder)
                    self.history += (call, Result(name, output))
                case other:
                    self.history += (other,)
                    continue
            found = True
            self._screen.result(call.name, output)
        return found

    async def _reply(self) -> Sequence[ConversationItem]:
        """Generate one answer, show it as it arrives and return its messages."""
        settings, parser, sampled = self.settings, HarmonyParser(), list[int]()
        demonstrated = TOOLS if settings.tools else ()
        tools = (*demonstrated, APPLY_PATCH) if settings.folder else demonstrated
        prompt = render_prompt(
            Conversation(
                self.history,
                tools=tools,
                builtin=self._builtin,
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
                    show(token.id, parser.feed(token.id))
                    sampled.append(token.id)
        finally:
            self._screen.end()
        if not parser.done:
            self._screen.note("The answer was truncated: it reached the token limit.")
        return parse_completion(sampled).items


def chat(
    engine: Backend,
    settings: ChatSettings,
    tools: ServerTools = NO_TOOLS,
    *,
    name: str,
    out: TextIO | None = None,
) -> None:
    """Chat with a started engine until the user quits; the first line names the model."""
    out = out or sys.stdout
    talk = Chat(engine, settings, Screen(out), tools)
    out.write(f"{name}. /help lists the commands.\n")
    while (line := _line()) is not None:
        text = line.strip()
        if text.startswith("/"):
            if not talk.command(text):
                return
        elif text:
            asyncio.run(_until_interrupted(talk.ask(text)))


def _line() -> str | None:
    """Read a line of input; None at the end of input, an empty line after Ctrl-C."""
    try:
        return input("\n› ")
    except EOFError:
        return None
    except KeyboardInterrupt:
        sys.stdout.write("\nEnter /quit to quit.\n")
        return ""


async def _until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await task
    finally:
        loop.remove_signal_handler(signal.SIGINT)
