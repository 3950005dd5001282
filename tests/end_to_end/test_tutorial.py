"""All commands of the tutorial, run against the reference server over sockets."""

import re
import webbrowser
from pathlib import Path

from docs_pages import ROOT, blocks
from scripted import ScriptedEngine, as_asked, running, serving
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.types import Receive, Scope, Send

from gpt_oss_verify.app import run
from reference_engine.faults.server import faulty_parts
from reference_engine.server.app import create_app
from reference_engine.server.settings import AppSettings

PAGE = "docs/tutorial.md"
FAULT = "chat-reasoning-not-replayed"
"""The defect of the third section."""
PASSED, FAILED, UNDECIDED = 0, 1, 4
CODES = (
    *(PASSED, PASSED, UNDECIDED),  # init, providers, one try
    *(PASSED, PASSED),  # --dry-run, the first verdict
    *(None, FAILED),  # `serve`, which this test does itself; a server with a defect
    FAILED,  # recheck
    *(FAILED, FAILED),  # reproduce: the finding shows again
    *(None, PASSED),  # `serve` without the defect; retest
    UNDECIDED,  # the gate, on one try
)


def test_every_command_of_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", lambda _: True)
    (gate,) = re.findall("^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("gate.yaml").write_text(gate, encoding="utf-8")
    commands = [each.words for block in blocks() if block.page == PAGE for each in block.commands]
    broken = faulty_parts([FAULT]).app(ScriptedEngine(as_asked), AppSettings())
    assert FAULT in {word for words in commands for word in words}
    fixed = create_app(ScriptedEngine(as_asked), AppSettings())
    server = Restarted(broken)
    with running(ScriptedEngine(as_asked)) as healthy, serving(server) as faulty:
        for words, code in zip(commands, CODES, strict=True):
            runs = sorted(Path("runs").glob("*"), key=lambda each: each.stat().st_mtime)
            stands_for = {
                "cases,cot,prompt.cot": "cases,prompt.cot",  # it knows no code words
                "http://localhost:8000/v1": healthy,
                "http://localhost:8001/v1": faulty,
                **({"RUN": str(runs[-1])} if runs else {}),
            }
            if words[1] == "serve":
                server.app = broken if FAULT in words else fixed
            else:
                arguments = [stands_for.get(word, word) for word in words[1:]]
                assert run([*arguments, *shortening_options(words)]) == code, words
    said = capsys.readouterr().out
    for shown in ("Fix: ", "error prompt.cot.kept · failed in chat 3 of 3", "curl -sS", "# "):
        assert shown in said


class Restarted:
    """A server that keeps its address when another one takes its place."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    @property
    def state(self) -> State:
        return self.app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def shortening_options(words: tuple[str, ...]) -> tuple[str, ...]:
    """Options that leave out the probes, which a scripted model cannot pass."""
    few = ("--only", "cases", "-n", "1", "-k", "1")
    if "--gate" in words:
        return few
    if "cases,cot,prompt.cot" in words:
        return ("--may-warn", "finish.limit")  # the scripted model ignores limits
    first_verdict = words == ("gpt-oss-verify", "--provider", "mine")
    return (*few, "--rule", "guide") if first_verdict else ()
