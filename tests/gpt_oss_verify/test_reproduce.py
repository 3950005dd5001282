"""`reproduce` over a real socket: a request is repeated, shrunk, and printed in every format."""

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from background import in_background
from healthy import polluted_name, provider_of
from mock_provider import MockProvider
from replies import MODEL

from gpt_oss_verify.app import run
from harness.reproduction import python, smaller
from harness.transport import RetryPolicy

POLLUTED = "calls.name.polluted"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockProvider]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", "sk-secret-value-1234567890")
    mock = MockProvider(
        always=provider_of(polluted_name), models=[MODEL], api_key="sk-secret-value-1234567890"
    )
    with in_background(mock) as running:
        address = ["--base-url", running.base_url, "--model", MODEL, "--api-key-env", "MY_KEY"]
        code = run([*address, "--api", "chat", "--suite", "tools", "-n", "2", "-k", "1"])
        assert code == 1
        yield running


def test_a_raw_completion_is_printed_as_a_program() -> None:
    body = {"model": "m", "prompt": [1], "skip_special_tokens": False, "stream": True}
    program = python("harmony", "http://localhost/v1", [body], None)
    compile(program, "program", "exec")
    assert "client.completions.create(" in program
    assert "prompt=[1]," in program
    assert "extra_body={'skip_special_tokens': False}" in program


def test_a_program_continues_the_response_before_it() -> None:
    first = {"model": "m", "input": "Hi"}
    second = first | {"previous_response_id": "resp_of_the_run"}
    program = python("responses", "http://localhost/v1", [first, second], None)
    compile(program, "program", "exec")
    assert program.count("client.responses.create(") == 2
    assert "previous_response_id=reply.id," in program


def the_run() -> str:
    (folder,) = Path("runs").iterdir()
    return str(folder)


def reproduced(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    name = Path(the_run()).name  # as in the commands of the report
    code = run(["reproduce", name, *arguments, "--api-key-env", "MY_KEY"])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_finding_is_reproduced_with_a_smaller_request(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(broken.posts)
    code, out, err = reproduced(capsys, POLLUTED, "--times", "2")
    assert code == 1
    assert "sent again: reproduced in 2 of 2" in out
    assert "reducing the request" in err
    assert len(broken.posts) > before + 2
    # The mock pollutes names even if no tool is offered, but the check needs the offered name.
    smallest = json.loads(shlex.split(out[out.index("curl -sS") :])[-1])
    first = broken.posts[before].body
    assert first is not None
    assert len(json.dumps(smallest)) < len(json.dumps(first)) / 2
    assert smallest["messages"][-1]["role"] == "user"


def test_the_curl_command_runs_and_shows_the_finding(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = reproduced(capsys, POLLUTED, "--times", "0", "--format", "curl")
    assert code == 0
    assert "$MY_KEY" in out
    assert "sk-secret" not in out
    answer = subprocess.run(["sh", "-c", out], capture_output=True, text=True, check=True)
    assert "<|channel|>commentary" in answer.stdout


def test_the_python_program_runs_and_shows_the_finding(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = reproduced(capsys, POLLUTED, "--times", "0", "--format", "python")
    assert "sk-secret" not in out
    answer = subprocess.run([sys.executable, "-c", out], capture_output=True, text=True, check=True)
    assert "<|channel|>commentary" in answer.stdout


def test_the_issue_says_what_was_sent_expected_and_received(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = reproduced(capsys, POLLUTED, "--times", "1", "--as-recorded", "--format", "issue")
    assert out.startswith("# ")
    for part in (
        "Expected:",
        "Received:",
        "1 of 1 repetitions",
        "curl -sS",
        "HTTP 200",
        "https://",
    ):
        assert part in out
    assert "sk-secret" not in out


def test_a_repaired_server_no_longer_shows_it(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.always = provider_of()
    code, out, _ = reproduced(capsys, POLLUTED, "--times", "2")
    assert code == 0
    assert "reproduced in 0 of 2" in out


def test_the_recorded_request_is_printed_if_the_server_is_gone(
    broken: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    folder = Path(the_run())
    record = json.loads((folder / "run.json").read_text())
    port = asyncio.run(_free_port())
    for name in ("run.json", "rollouts.jsonl", "analysis.json"):
        path = folder / name
        address = record["provider"]["base_url"]
        path.write_text(path.read_text().replace(address, f"http://127.0.0.1:{port}/v1"))
    code, out, err = reproduced(capsys, POLLUTED, "--times", "1")
    assert code == 0
    assert "did not answer" in err
    assert "curl -sS" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calls.name.poluted"], f"did you mean '{POLLUTED}'?"),
        ([POLLUTED, "--record", "tool_calling/x"], "with an example in tool_calling/x"),
        ([POLLUTED, "--times", "-1"], "--times"),
    ],
)
def test_a_wrong_name_is_reported_in_one_sentence(
    arguments: list[str], said: str, broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = reproduced(capsys, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err + out


def test_a_probe_is_repeated_with_all_its_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The healthy mock reports the same prompt tokens for every request.
    with in_background(MockProvider(always=provider_of(), models=[MODEL])) as running:
        address = ["--base-url", running.base_url, "--model", MODEL, "--api", "chat"]
        run([*address, "--only", "prompt.tool"])
        before = len(running.posts)
        capsys.readouterr()
        code = run(["reproduce", the_run(), "prompt.tool", "--times", "1"])
        out = capsys.readouterr().out
    assert code == 1
    assert "sent again: reproduced in 1 of 1" in out
    assert len(running.posts) - before >= 2
    assert "# tool\ncurl -sS" in out
    assert "# base\ncurl -sS" in out


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "s" * 100},
    {"role": "user", "content": "first"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "r" * 200},
    {"role": "user", "content": "second"},
]


def test_smaller_conversations_keep_calls_and_results_together() -> None:
    found = list(smaller({"model": "m", "messages": CONVERSATION, "temperature": 1}))
    assert {"model": "m", "messages": CONVERSATION} in found
    for body in found:
        messages = body["messages"]
        called = {call["id"] for each in messages for call in each.get("tool_calls", ())}
        answered = {each["tool_call_id"] for each in messages if each["role"] == "tool"}
        assert called == answered
        assert any(each["role"] == "user" for each in messages)
    assert any(len(body["messages"]) < len(CONVERSATION) for body in found)
    assert any(len(body["messages"][0]["content"]) == 50 for body in found)


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
