"""Every exit code of the installed command, in a process of its own, over a real socket."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from background import in_background
from healthy import MODEL, Say, provider_of, right
from mock_provider import MockProvider

COMMAND = Path(sys.executable).with_name("gpt-oss-verify")
SHORT = ("-n", "1", "-k", "2", "--api", "chat", "--no-streaming", "--json")
SHORT += ("--rule", "guide")


def silent(_case):
    return [Say(text="I cannot do that.")]


def command(folder, *arguments):
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "script", "options", "said"),
    [
        (0, right, (), "0 invalid responses"),
        (1, silent, (), "required: above 90%"),
        (2, right, ("--max-cost", "5"), "has no prices"),
        (3, None, (), "does not answer"),
        (4, right, ("--max-requests", "4"), "max_requests 4 (--max-requests)"),
        (1, silent, ("--max-requests", "4"), "can reach at most 0.0%"),
    ],
)
def test_the_exit_code_says_what_came_of_it(code, script, options, said, tmp_path):
    with in_background(MockProvider(always=provider_of(script or right))) as mock:
        url = mock.base_url if script else "http://127.0.0.1:1/v1"
        done = command(tmp_path, "--base-url", url, "--model", MODEL, *SHORT, *options)
        asked = len(mock.received)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    if code in {2, 3}:
        assert done.stdout == ""
        assert said in done.stderr.splitlines()[-1]
    else:
        printed = json.loads(done.stdout)
        assert printed["exit_code"] == code
        assert said in " ".join(printed["verdict"]["reasons"])
    if "--max-requests" in options:
        assert asked <= 4
