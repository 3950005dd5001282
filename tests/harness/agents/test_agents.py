"""`--suite agents`: the OpenAI Agents SDK against a server, and the verdicts on its results."""

import asyncio
import itertools
import json
import os
import signal
import time
from dataclasses import replace

import pytest
from background import in_background
from mock_provider import MockProvider, write_json, write_reply
from replies import MODEL, Reply, whole

from gpt_oss_verify.app import run
from harness.agents import run as agents
from harness.providers.entries import Provider
from harness.records.runs import AgentResult
from harness.verdict.gate import decide_agents

KEY = "sk-test-0123456789abcdefghij"
_numbers = itertools.count()


def model(body):
    """A model that calls its only tool and answers with the last result."""
    turns = body.get("messages") or body["input"]
    last = turns[-1]
    tools = [tool.get("function", tool)["name"] for tool in body.get("tools", ())]
    shown = last.get("content") or last.get("output")
    if tools and "°C" not in str(shown):
        question = next(turn["content"] for turn in turns if turn.get("role") == "user")
        city = "Lima" if "Lima" in str(question) else "Oslo"
        given = {} if tools[0].startswith("transfer") else {"city": city}
        return Reply(call=(tools[0], json.dumps(given)))
    return Reply(text="Hi." if not tools else f"It is {shown} there.")


def server():
    async def handle(request, writer):
        assert request.headers["authorization"] == f"Bearer {KEY}"
        number = str(next(_numbers))
        unique = {"mark": number, "call_id": f"call_{number}", "created": int(time.time())}
        reply = replace(model(request.body), **unique)
        if request.body.get("stream"):
            write_reply(request, writer, reply)
        else:  # A server that repeats keys.
            write_json(writer, whole(reply, chat=request.is_chat) | {"user": KEY})

    return handle


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_TEST_KEY", KEY)


def verified(provider, *more):
    where = ["--base-url", provider.base_url, "--model", MODEL, "--api-key-env", "AGENT_TEST_KEY"]
    return run([*where, "--suite", "agents", *more])


def task_of(tmp_path):
    (folder,) = (tmp_path / "runs").iterdir()
    assert KEY not in (folder / "rollouts.jsonl").read_text()
    assert "handoff" in (folder / "report.md").read_text()
    (task,) = json.loads((folder / "run.json").read_text())["tasks"]
    return task


def test_each_agent_run_is_a_rollout_with_a_result(tmp_path, monkeypatch, capsys):
    pytest.importorskip("agents")
    absent = agents.Agent("none", "function", ("no-such-agent",))
    monkeypatch.setattr(agents, "AGENTS", (agents.AGENTS[1], absent))
    with in_background(MockProvider(always=server(), models=[MODEL], api_key=KEY)) as provider:
        assert verified(provider) == 0
    task = task_of(tmp_path)
    assert task["planned"] == 1
    ends = [each["end"] for each in task["imported"]["agents"].values()]
    assert ends == ["right", "not verifiable"]
    shown = capsys.readouterr()
    assert "no-such-agent, function: not verifiable (no-such-agent is not installed)" in shown.err
    assert "1 of 2 agents reached the right result" in shown.out


async def test_an_agent_that_misses_the_result_is_run_again(tmp_path, monkeypatch):
    provider = Provider(name="x", base_url="http://test/v1", model=MODEL, apis=("chat",))
    answers = ["It is warm.", "It is 28.4 °C.", "It is 21.7 °C."]

    async def ran(agent, provider, api, recorder):
        recorder.count += 1
        if not answers:
            raise TimeoutError
        return answers.pop(0), ""

    monkeypatch.setattr(agents, "_installed", lambda name: "1.0")
    monkeypatch.setattr(agents, "_run", ran)
    path = tmp_path / "recording.jsonl"
    results = [await agents._result(agents.AGENTS[0], provider, path) for _ in range(2)]
    assert [each.end for each in results] == ["right", "not verifiable"]
    answers = ["No.", "No.", "No."]
    wrong = await agents._result(agents.AGENTS[2], provider, path)
    assert wrong.end == "wrong"
    assert wrong.detail == "openai-agents 1.0, 3 tries without 21.7 and 28.4: it answers 'No.'"


def test_a_stopped_run_is_judged_and_can_be_resumed(tmp_path, monkeypatch):
    pytest.importorskip("agents")
    original = agents._run
    began = []

    async def stopped(agent, *more):
        began.append(agent.task)
        if began == ["handoff", "streaming"]:
            os.kill(os.getpid(), signal.SIGINT)
        return await original(agent, *more)

    monkeypatch.setattr(agents, "_run", stopped)
    monkeypatch.setattr(agents, "AGENTS", (agents.AGENTS[1], agents.AGENTS[3]))
    with in_background(MockProvider(always=server(), models=[MODEL], api_key=KEY)) as provider:
        assert verified(provider) == 4
        task = task_of(tmp_path)
        assert [each["end"] for each in task["imported"]["agents"].values()] == ["right", "stopped"]
        (folder,) = (tmp_path / "runs").iterdir()
        key = ["--api-key-env", "AGENT_TEST_KEY"]
        assert run(["--resume", str(folder), *key]) == 0
    assert began == ["handoff", "streaming", "streaming"]
    task = task_of(tmp_path)
    assert [each["end"] for each in task["imported"]["agents"].values()] == ["right", "right"]
    assert task["planned"] == 2


def test_a_run_that_is_stopped_before_an_agent_has_ended_leaves_nothing(
    tmp_path, monkeypatch, capsys
):
    async def stopped(*_):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(10)

    monkeypatch.setattr(agents, "_installed", lambda name: "1.0")
    monkeypatch.setattr(agents, "_run", stopped)
    with in_background(MockProvider(always=server(), models=[MODEL], api_key=KEY)) as provider:
        assert verified(provider) == 130
    said = capsys.readouterr().err
    assert "stopped before an agent had finished" in said
    assert "--resume" not in said
    assert list((tmp_path / "runs").iterdir()) == []


def test_options_of_other_tasks_are_rejected(capsys):
    where = ["--base-url", "http://127.0.0.1:9/v1", "--model", MODEL]
    assert run([*where, "--suite", "agents", "--max-requests", "5"]) == 2
    assert "--suite agents runs its own tasks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ends", "decision"),
    [
        (("right", "not verifiable"), "pass"),
        (("right", "wrong"), "fail"),
        (("not verifiable",), "inconclusive"),
        (("right", "stopped"), "inconclusive"),
    ],
)
def test_the_results_of_agents_decide_the_verdict(ends, decision):
    results = {str(at): AgentResult(end=end, detail="why") for at, end in enumerate(ends)}
    assert decide_agents(results).decision == decision


def test_without_any_agent_nothing_is_judged(monkeypatch, capsys):
    monkeypatch.setattr(agents, "AGENTS", (agents.Agent("none", "task", ("no-such-agent",)),))
    with in_background(MockProvider(always=server(), models=[MODEL], api_key=KEY)) as provider:
        assert verified(provider) == 2
    assert (
        "No agent could be run (no-such-agent, task: no-such-agent is not installed)"
        in capsys.readouterr().err
    )
