"""The terminal chat with a scripted model, and as a process in a pty."""

import asyncio
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest
import researching
from scripted import ANSWER, CALL, ScriptedEngine

from harmony.conversation import Answer, BuiltinCall, BuiltinResult, Call, Reasoning, Result, User
from reference_engine.__main__ import main
from reference_engine.chat import Chat, ChatSettings, Screen, answer_call

STYLE = re.compile("\x1b\\[[0-9]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def chatting(script=ANSWER, **settings):
    engine, out = ScriptedEngine(script), Terminal()
    return engine, out, Chat(engine, ChatSettings(**settings), Screen(out))


async def test_the_chain_of_thought_is_dim_and_the_answer_is_kept():
    engine, out, chat = chatting()
    await chat.ask("Hi")
    assert "\x1b[2mI think.\x1b[0m" in out.getvalue().replace("\x1b[0m\x1b[2m", "\x1b[2m")
    assert STYLE.sub("", out.getvalue()) == "I think.\nHello there.\n\n"
    assert chat.history == (User("Hi"), Reasoning("I think."), Answer("Hello there."))
    await chat.ask("Again")
    assert "Hello there." in engine.prompts[1]
    assert "I think." not in engine.prompts[1]


async def test_the_models_calls_are_answered():
    engine, out, chat = chatting(
        lambda prompt, _: ANSWER if "to=assistant" in prompt else CALL, tools=True
    )
    await chat.ask("Weather in Rome?")
    assert "type get_weather" in engine.prompts[0]
    shown = STYLE.sub("", out.getvalue())
    assert 'get_weather {"city": "Rome"}' in shown
    assert "get_weather → " in shown
    result, *_, last = chat.history[3:]
    assert isinstance(result, Result)
    assert last == Answer("Hello there.")


async def test_the_model_edits_files_of_a_folder(tmp_path):
    patch = json.dumps({"input": "*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch"})
    call = f"<|channel|>commentary to=functions.apply_patch <|message|>{patch}<|call|>"
    engine, _, chat = chatting(
        lambda prompt, _: ANSWER if "to=assistant" in prompt else call, folder=tmp_path
    )
    await chat.ask("Write a.txt.")
    assert "type apply_patch" in engine.prompts[0]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a\n"
    assert chat.history[2].output.endswith("A a.txt\n")
    outside = Call("apply_patch", patch.replace("a.txt", "../b.txt"))
    assert "not allowed" in answer_call(outside, tmp_path)
    assert "there is no tool" in answer_call(outside)


async def test_the_steps_of_built_in_tools_are_shown(tmp_path):
    search = '<|channel|>analysis to=browser.search code<|message|>{"query": "Orla"}<|call|>'
    engine = ScriptedEngine(lambda prompt, _: ANSWER if "to=assistant" in prompt else search)
    out, tools = Terminal(), researching.server_tools(tmp_path)
    chat = Chat(engine, ChatSettings(), Screen(out), tools)
    await chat.ask("How deep is Lake Orla?")
    assert "Tool for browsing" in engine.prompts[0]
    shown = STYLE.sub("", out.getvalue())
    assert 'browser.search {"query": "Orla"}' in shown
    assert "browser.search → [0] Orla" in shown
    kinds = [BuiltinCall, BuiltinResult, Reasoning, Answer]
    assert [type(item) for item in chat.history[1:]] == kinds


async def test_the_number_of_calls_is_limited():
    engine, out, chat = chatting(CALL, tools=True)
    await chat.ask("Weather in Rome?")
    assert len(engine.prompts) == 8
    assert "Stopped after 8 calls" in out.getvalue()


async def test_raw_shows_markers_and_the_prompt():
    _, out, chat = chatting(raw=True)
    await chat.ask("Hi")
    shown = STYLE.sub("", out.getvalue())
    assert "<|start|>system<|message|>" in shown
    assert ANSWER in shown


async def test_model_output_cannot_control_the_terminal():
    _, out, chat = chatting("<|channel|>final<|message|>\x1b]0;title\x07 \x1b[2J👋🏽<|return|>")
    await chat.ask("Hi")
    assert STYLE.sub("", out.getvalue()) == "]0;title [2J👋🏽\n\n"


async def test_a_cancelled_question_is_removed_from_the_conversation():
    engine, out, chat = chatting()
    await chat.ask("Hi")
    engine.pause, begun = 0.05, asyncio.Event()
    engine.script = lambda prompt, params: begun.set() or ANSWER
    task = asyncio.ensure_future(chat.ask("More"))
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert engine.cancelled == 1
    assert chat.history[-1] == Answer("Hello there.")
    assert "removed from the conversation" in out.getvalue()


async def test_an_engine_error_is_shown_and_the_chat_continues():
    engine, out, chat = chatting()
    engine.full = True
    await chat.ask("Hi")
    assert chat.history == ()
    assert "full" in out.getvalue()


def test_commands():
    _, out, chat = chatting()
    for line in ("/effort low", "/raw", "/tools", "/effort much", "/reset", "/nonsense"):
        assert chat.command(line)
    assert chat.settings == ChatSettings(effort="low", raw=True, tools=True)
    assert "low, medium, high." in out.getvalue()
    assert "/reset" in out.getvalue()
    assert not chat.command("/quit")


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("get_weather", '{"location": "Rome"}', "temperature"),
        ("service_status", "", "uptime_hours"),
        ("get_weather", "{", "not valid JSON"),
        ("get_weather", "[1]", "not a JSON object"),
        ("other", "{}", "there is no tool other"),
    ],
)
def test_demonstration_tools(name, arguments, wanted):
    assert wanted in answer_call(Call(name, arguments))


class Pty:
    """A chat process with its own terminal."""

    def __init__(self, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "reference_engine", "chat", "--threads", "1", *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment, start_new_session=True, preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.said = ""

    def until(self, wanted: str, since: int = 0) -> int:
        """Read until `wanted` is shown; return where it ends."""
        deadline = time.monotonic() + 120
        while wanted not in self.said[since:]:
            assert time.monotonic() < deadline, self.said
            if select.select([self.ours], [], [], 1)[0]:
                self.said += os.read(self.ours, 4096).decode("utf-8", "replace")
        return self.said.index(wanted, since) + len(wanted)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())


def _take_terminal() -> None:
    """Make standard input the controlling terminal, so that Ctrl-C is a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.slow
def test_a_whole_conversation_in_a_terminal():
    chat = Pty("--temperature", "0", "--effort", "low")
    try:
        at = chat.until("/help lists the commands.")
        at = chat.until("› ", at)
        chat.type("What is 17 + 25?\n")
        at = chat.until("\x1b[2m", at)
        chat.type("\x03")
        at = chat.until("removed from the conversation", at)
        at = chat.until("› ", at)
        chat.type("/raw\n")
        at = chat.until("are shown", at)
        chat.type("What is 17 + 25?\n")
        at = chat.until("<|return|>", at)
        assert "Reasoning: low" in chat.said
        chat.type("\x04")
        assert chat.process.wait(60) == 0
    finally:
        chat.process.kill()
        chat.process.wait()
        os.close(chat.ours)


def test_a_server_says_on_a_terminal_that_it_loads(monkeypatch):
    monkeypatch.setattr("reference_engine.server.serve.serve", lambda *_: None)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert main(["serve"]) == 0
    assert sys.stderr.getvalue() == "Loading …\n"
