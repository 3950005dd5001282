"""The bench of real clients: its parts, and one real client from the process to the rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from harness.rules.clients.forms import CLIENTS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from real.clients import client_process, conversations, differences, packages, tables  # noqa: E402
from real.clients.conversations import Measured, Work, measure  # noqa: E402
from real.clients.replies import recorded, served  # noqa: E402
from real.clients.requests import request_lines, short, steady  # noqa: E402

DESCRIBED = yaml.safe_load((ROOT / "benchmarks/real/clients/clients.yaml").read_text("utf-8"))
REPLIES = recorded()
HEALTHY = {"calls": ["Lisbon"], "text": "It is sunny."}
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Q"}]}
FAKE = """
import json, pathlib, sys, time
print("a library prints")
print("measured " + json.dumps(["fake chat streaming"]), flush=True)
for line in sys.stdin:
    damage, use, seconds = json.loads(line)
    seen = pathlib.Path(sys.argv[1], damage or "healthy")
    tries = int(seen.read_text()) if seen.exists() else 0
    seen.write_text(str(tries + 1))
    if damage == "slow" and not tries or damage == "endless":
        time.sleep(60)
    if damage == "deadly":
        sys.exit("it cannot go on")
    text = f"try {tries}" if damage == "unsteady" else "It is sunny."
    print("measured " + json.dumps({"calls": ["Lisbon"], "text": text}) + "behind it", flush=True)
"""


def python_of(folder: Path) -> None:
    """Give an environment the Python of the tests."""
    command = folder / "bin/python"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    command.chmod(0o755)


@pytest.fixture
def process(tmp_path, monkeypatch):
    """A process of the client above, whose conversations may take a second."""
    monkeypatch.setattr(client_process, "LONGEST", 0)
    monkeypatch.setattr(client_process, "_SLOWER", 0)
    monkeypatch.setattr(client_process, "_GRACE", 1)
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    command = [sys.executable, str(script), str(tmp_path)]
    with (
        served(REPLIES) as server,
        client_process.ClientProcess(command, server, tmp_path, tmp_path / "home") as made,
    ):
        assert made.uses() == ["fake chat streaming"]
        assert made.conversation("", "fake chat streaming") == HEALTHY
        yield made


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("slow", None),  # It is tried again in a new process.
        ("endless", "no end after 1 s"),
        ("deadly", "the process ended: it cannot go on"),
    ],
)
def test_a_conversation_that_does_not_end_is_tried_again_or_an_error(process, damage, error):
    assert process.conversation(damage, "fake chat streaming").get("error") == error
    assert process.conversation("", "fake chat streaming") == HEALTHY


def test_tries_that_differ_are_noted(process, tmp_path):
    work = Work(tmp_path, REPLIES, (), tries=3)
    found = Measured()
    conversations._try(work, process, "unsteady", "fake chat streaming", found)
    conversations._try(work, process, "steady", "fake chat streaming", found)
    assert [each["text"] for each in found.varying["unsteady", "fake chat streaming"]] == [
        "try 0",
        "try 1",
        "try 2",
    ]
    assert found.varying.keys() == {("unsteady", "fake chat streaming")}
    assert conversations.measured_before(tmp_path, ["fake"]) == found
    assert conversations.measured_before(tmp_path, ["ai"]) == Measured()


@pytest.mark.slow
def test_the_sdk_is_measured_with_damages(tmp_path):
    python_of(tmp_path / "main")
    clients = {"python": {"main": {"processes": ["oai-py"]}}, "clients": {"oai-py": "openai"}}
    work = Work(tmp_path, REPLIES, ["calls-missing", "finish-missing"])
    found = measure(work, clients, missing=(), jobs=1, whole=True)
    assert not found.failed
    assert not tables.not_run(found)
    assert len(found.requests) == 4
    rows = {row[:3]: row for row in tables.need_rows(found, REPLIES, work.damages)}
    assert rows["calls-missing", "chat", "streaming"][3] == "all"
    assert rows["finish-missing", "chat", "streaming"][3] == ""
    assert ("calls-missing", "responses", "streaming") not in rows
    assert {json.loads(line)["turn"] for line in request_lines(found)} == {0, 1}


@pytest.mark.slow
def test_environments_that_are_missing_are_left_out(tmp_path):
    clients = {"python": {"main": {"processes": ["oai-py"]}}, "clients": {"oai-py": "openai"}}
    found = measure(Work(tmp_path, REPLIES, ()), clients, missing=["main"], jobs=1, whole=True)
    assert found == Measured()


def test_the_processes_of_a_slow_environment_share_the_damages(tmp_path):
    environment = {"processes": ["codex copilot", "copilot"], "parts": 2}
    npm = ["codex", "copilot", "ai"]
    clients = {"python": {"x": environment}, "npm": {}, "clients": dict.fromkeys(npm, "npm:a")}
    lanes = [*conversations._lanes(Work(tmp_path, REPLIES, ["a", "b", "c"]), clients, ())]
    assert [(lane.name, lane.damages) for lane in lanes] == [
        ("codex copilot 0", ["a", "c"]),
        ("codex copilot 1", ["b"]),
        ("copilot 0", ["a", "b", "c"]),
        ("ai 0", ["a", "b", "c"]),
    ]
    # copilot has no row of its own: it is shown no damage.
    assert [*conversations._lanes(Work(tmp_path, REPLIES, ["a"]), clients, ["npm"])] == []


def test_each_described_client_can_talk():
    named = [
        c for each in DESCRIBED["python"].values() for p in each["processes"] for c in p.split()
    ]
    assert len(named) == len(set(named))
    environment = {
        "REAL_CLIENTS_URL": "http://127.0.0.1/v1",
        "REAL_CLIENTS_COMMANDS": "bin",
        "REAL_CLIENTS_HOME": "home",
    }
    paths = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
    said = subprocess.run(
        [sys.executable, "-P", "-m", "real.clients.python", *named],
        env=os.environ | environment | {"PYTHONPATH": paths},
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    uses = json.loads(said.stdout.strip().removeprefix(client_process.MARK))
    assert {use.partition(" ")[0] for use in uses} == set(named)
    script = (ROOT / "benchmarks/real/clients/javascript.mjs").read_text("utf-8")
    javascript = DESCRIBED["clients"].keys() - named
    assert javascript <= set(packages.by_npm(DESCRIBED))
    assert all(f'"{name} ' in script or f"`{name} " in script for name in javascript)
    assert CLIENTS.keys() <= DESCRIBED["clients"].keys()


def test_the_packages_of_each_client_are_pinned():
    pinned = {
        packages.unpinned(package)
        for each in DESCRIBED["python"].values()
        for package in each["packages"]
        if "==" in package
    }
    pinned |= {f"npm:{packages.unpinned(each)}" for each in DESCRIBED["npm"]["packages"]}
    named = {package for those in DESCRIBED["clients"].values() for package in those.split()}
    assert named <= pinned


@pytest.mark.parametrize(
    ("package", "bare"),
    [
        ("openai==3.57.0", "openai"),
        ("pydantic-ai-slim[openai]==2.68.0", "pydantic-ai-slim[openai]"),
        ("@ai-sdk/groq@4.0.84", "@ai-sdk/groq"),
        ("ai@7.0.173", "ai"),
        ("tqdm", "tqdm"),
    ],
)
def test_packages_without_their_versions(package, bare):
    assert packages.unpinned(package) == bare


def test_the_environments_of_some_clients():
    chosen = packages.chosen(DESCRIBED, ["crew", "pi"])
    assert {n: each["processes"] for n, each in chosen["python"].items()} == {"crews": ["crew"]}
    assert packages.by_npm(chosen) == ["pi"]
    assert packages.chosen(DESCRIBED, []) == DESCRIBED


def test_what_cannot_be_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    clients = {
        "python": {"main": {"packages": ["there-is-none==1.0"], "processes": ["a"]}},
        "npm": {"packages": ["b@1.0.0"]},
        "clients": {"a": "there-is-none", "b": "npm:b"},
    }
    failed = packages.install(tmp_path, clients, newest=False, jobs=1)
    assert failed["npm"] == "npm cannot be installed: there is no command npm."
    assert failed["main"].startswith("main cannot be installed: ERROR: No matching distribution")
    assert "there-is-none==1.0" in failed["main"]
    assert packages.versions(tmp_path, clients) == {}


def test_an_environment_is_made_once_and_for_newest_releases_once_a_day(tmp_path):
    made = tmp_path / "made"
    count = [[sys.executable, "-c", f"open({str(made)!r}, 'a').write('x')"]]
    for day in ("", "", "2026-11-29", "2026-11-29", "2026-11-30"):
        assert packages._installed(tmp_path, "main", count, day) == ""
    assert made.read_text() == "xxx"


def test_the_reason_of_npm():
    output = (
        "npm error code ETARGET\nnpm error notarget No matching version found for ai@99.0.0.\n"
        "npm error A complete log of this run can be found in: /root/.npm/_logs/1.log\n"
    )
    assert packages.reason(output) == "npm error notarget No matching version found for ai@99.0.0."


@pytest.mark.parametrize(
    ("outcome", "broken"),
    [
        (HEALTHY, False),
        (HEALTHY | {"text": "It is sunny.It is sunny."}, False),
        (HEALTHY | {"text": "It is"}, True),
        (HEALTHY | {"text": ""}, True),
        (HEALTHY | {"calls": []}, True),
        ({"calls": ["Lisbon"], "error": "ValueError"}, True),
    ],
)
def test_what_breaks_a_client(outcome, broken):
    assert tables.breaks(outcome, HEALTHY) is broken


def test_a_client_without_our_function_is_untried_with_what_damages_a_call():
    asked = {"calls": [conversations.QUESTION], "text": "It is sunny."}
    found = Measured(
        outcomes={
            ("", "ai chat streaming"): HEALTHY,
            ("calls-missing", "ai chat streaming"): HEALTHY | {"calls": []},
            ("", "pi chat streaming"): HEALTHY,
            ("calls-missing", "pi chat streaming"): HEALTHY,
            ("", "aider chat streaming"): asked,
            ("", "dspy chat streaming"): {"calls": [], "error": "it never works"},
        }
    )
    (row,) = (row for row in tables.need_rows(found, REPLIES, ["calls-missing"]) if row[3])
    assert (row[:3], row[3]) == (("calls-missing", "chat", "streaming"), "ai ?aider")
    assert tables.not_run(found) == {"dspy chat streaming": "it never works"}
    clients = {"clients": {"ai": "npm:ai", "dspy": "dspy"}}
    versions = tables.version_rows(found, clients, {"npm:ai": "7.0.1", "dspy": "3.4.1"})
    assert [row[:3] for row in versions] == [("ai", "npm:ai", "7.0.1")]


def test_where_a_cot_comes_back():
    body = {"messages": [{"reasoning": "I think.", "content": "no"}, {"reasoning_content": "ink."}]}
    assert sorted(tables.places(body, "I think.")) == [
        "messages[].reasoning",
        "messages[].reasoning_content:last-fragment",
    ]


NEEDS = [
    ("cut", "chat", "streaming", "ai pi ?aider"),
    ("lost", "chat", "streaming", "all"),
]
USES = ["ai chat streaming", "pi chat streaming", "oai-py chat streaming"]


CUT, LOST = ("cut", "chat", "streaming"), ("lost", "chat", "streaming")


@pytest.mark.parametrize(
    ("rows", "differ"),
    [
        (NEEDS, []),
        # Of the clients that were measured again, all break, or none was tried.
        ([NEEDS[0], (*LOST, "?ai ?pi")], []),
        ([(*CUT, "all"), NEEDS[1]], []),
        ([(*CUT, "pi"), NEEDS[1]], ["cut, chat streaming: ai works (was: breaks)"]),
        (
            NEEDS[:1],
            [
                "lost, chat streaming: ai works (was: breaks)",
                "lost, chat streaming: pi works (was: breaks)",
            ],
        ),
    ],
)
def test_differences_of_needs_are_sentences(rows, differ):
    assert [*differences.of_needs(NEEDS, rows, USES, ["cut", "lost"])] == differ


def test_other_differences_are_sentences():
    old = [("ai", "chat", "streaming", "lost"), ("pi", "chat", "streaming", "lost")]
    new = [("ai", "chat", "streaming", "messages[].reasoning")]
    assert [*differences.of_returned(old, new, frozenset({"ai"}))] == [
        "ai chat streaming: the CoT comes back in messages[].reasoning (was: lost)"
    ]
    versions = [("ai", "npm:ai", "7.0.1", "2026-11-29"), ("pi", "npm:pi", "1.0", "2026-11-29")]
    newer = [("ai", "npm:ai", "7.0.2", "2026-11-30"), ("pi", "npm:pi", "1.0", "2026-11-30")]
    assert [*differences.of_versions(versions, newer)] == ["npm:ai: 7.0.1 -> 7.0.2"]


def test_the_server_damages_as_the_header_or_the_path_says():
    tools = {"tools": [{"type": "function", "function": {"name": "get_weather"}}]}
    with served(REPLIES) as server, httpx.Client() as client:
        plain = client.post(f"{server.url}/chat/completions", json=QUESTION | tools).json()
        by_header = client.post(
            f"{server.url}/chat/completions",
            json=QUESTION | tools,
            headers={"X-Damage": "calls-missing"},
        ).json()
        path = server.url.removesuffix("/v1") + "/calls-missing/v1/chat/completions"
        by_path = client.post(path, json=QUESTION | tools).json()
        assert plain["choices"][0]["message"]["tool_calls"]
        assert by_path == by_header
        assert not by_path["choices"][0]["message"].get("tool_calls")
        assert [api for api, _ in server.requests] == ["chat"] * 3


def test_the_server_refuses_results_without_their_call_and_conversations_that_do_not_end():
    result = QUESTION | {"messages": [{"role": "tool", "content": "21"}]}
    with served(REPLIES) as server, httpx.Client() as client:
        url = f"{server.url}/chat/completions"
        refused = client.post(url, json=result)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "Missing required parameter: 'tool_call_id'."
        assert [client.post(url, json=QUESTION).status_code for _ in range(8)] == [200] * 7 + [400]


def test_recorded_requests_are_the_same_in_each_round():
    first, second = "01a22532-3835-72e2-97e4-9e40eeed5cde", "6121eb61-e367-5511-8d32-26a0bd6c861d"
    text = f'"msg_{first}" 2026-11-29T06:33:23.145+00:00 "{second}" "{first}" call_8a39'
    one, two = "00000000-0000-7000-8000-000000000000", "00000000-0000-7000-8000-000000000001"
    assert steady(text) == f'"msg_{one}" 2026-01-01T00:00:00.000+00:00 "{two}" "{one}" call_8a39'


def test_recorded_requests_have_short_texts_and_one_tool_of_each_type():
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 500, "strict": None}}
    body = {
        "seed": 472579639,
        "instructions": "y" * 500,
        "tools": [tool, tool],
        "encrypted_content": "z" * 500,
    }
    assert short(body) == {
        "seed": 1,
        "instructions": "A long text.",
        "tools": [{"type": "function", "function": {"name": "f", "description": "A tool."}}],
        "encrypted_content": "z" * 500,
    }
