"""The command `view`: its address, bad input, Ctrl-C, and how a run that goes on is scored."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from healthy import SUITE, correct, rollout
from recorded_runs import write_run
from replies import Reply
from reporting import score
from viewing import write_judgement

from gpt_oss_verify.app import run
from gpt_oss_verify.view import _scorer

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "There is no folder nowhere."),
        (["."], "is not a run folder"),
        (["run", "--port", "70000"], "70000"),
        (["run", "--port", "x"], "--port"),
    ],
)
def test_bad_input_is_one_sentence(arguments, problem, capsys):
    assert run(["view", *arguments]) == 2
    printed = capsys.readouterr()
    assert problem in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""


def test_a_port_in_use_is_named(capsys):
    write_judgement(Path("run"), [score("weather")])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(["view", "run", "--port", str(port), "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert f"Port {port} of 127.0.0.1 cannot be used: Address already in use" in error
    assert "--port" in error


@pytest.mark.parametrize("option", [[], ["--no-browser"]])
def test_the_browser_is_opened_unless_it_is_unwanted(option, monkeypatch, capsys):
    opened = []

    def ends(address):
        opened.append(address)
        raise KeyboardInterrupt

    write_judgement(Path("run"), [score("weather")])
    monkeypatch.setattr(webbrowser, "open", ends)
    if option:
        monkeypatch.setattr("gpt_oss_verify.view.say", lambda _: ends(None))
    assert run(["view", "run", *option]) == 0
    address = capsys.readouterr().out.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
    assert opened == ([None] if option else [address])


def test_ctrl_c_ends_it_although_a_browser_listens():
    write_judgement(Path("run"), [score("weather")])
    command = [sys.executable, "-m", "gpt_oss_verify", "view", "run", "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
        # A shell ignores the signal in what it starts in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}changes", timeout=10) as changes:
            assert changes.readline().startswith(b"data: ")
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        assert "Traceback" not in process.stderr.read()


def test_a_run_that_goes_on_shows_only_errors_that_no_other_reply_changes(tmp_path):
    case = SUITE.cases[0]
    polluted = (f"{case.tool_name}<|channel|>commentary", "{}")
    made = [
        rollout(correct(case), sample=case.id, attempt=1),
        rollout([Reply(call=polluted), Reply(text="Done.")], sample=case.id, attempt=2),
        rollout([Reply(text="Done.")], sample=case.id, attempt=1, task="elsewhere"),
    ]
    info = write_run(tmp_path / "run", made)
    score_of = _scorer(tmp_path / "run", info)
    good, wrong, unknown = map(score_of, made)
    assert (good.outcome, good.findings) == ("success", ())
    assert {finding.id for finding in wrong.findings} == {"calls.name.polluted", "harmony.markers"}
    assert unknown is None
