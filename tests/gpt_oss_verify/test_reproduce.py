"""`reproduce` over a real socket: a request is repeated, shrunk, and printed in every format."""

import asyncio
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from background import in_background
from healthy import polluted_name, provider_of, rollout
from mock_provider import MockProvider, Received, hang, status, write_reply
from replies import MODEL, Reply

from gpt_oss_verify.app import run
from gpt_oss_verify.reproduce import _overview
from harness.records.analysis import RuleResult
from harness.records.diagnosis import Cause
from harness.records.register import elsewhere
from harness.records.rollouts import Exchange, StreamPart
from harness.records.scores import Evidence, Finding
from harness.repeat import experiment
from harness.repeat.commands import issue, python
from harness.repeat.experiment import Outcome
from harness.repeat.smaller import smaller
from harness.repeat.subject import Subject
from harness.rules.catalogue import CHECKS
from harness.rules.probe import ProbeOptions
from harness.transport.retry import RetryPolicy

POLLUTED = "calls.name.polluted"


KEY = "sk-secret-value-1234567890"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MockProvider, Path]]:
    """A server that pollutes the names of tools, and a folder with its run."""
    mock = MockProvider(always=provider_of(polluted_name), models=[MODEL], api_key=KEY)
    folder = tmp_path_factory.mktemp("polluted")
    with in_background(mock) as running:
        address = ["--base-url", running.base_url, "--model", MODEL, "--api-key-env", "MY_KEY"]
        with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
            patch.setenv("MY_KEY", KEY)
            assert run([*address, "--api", "chat", "--suite", "tools", "-n", "2", "-k", "1"]) == 1
        yield running, folder / "runs"


@pytest.fixture
def broken(
    recorded: tuple[MockProvider, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MockProvider:
    """That server, with a copy of the run in the working folder."""
    server, runs = recorded
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", KEY)
    server.always, server.delay = provider_of(polluted_name), 0
    return server


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


@pytest.mark.parametrize("stored", [True, False])
def test_an_overview_says_that_ids_of_stored_responses_expire(stored: bool) -> None:
    recorded = rollout([Reply(text="Hi."), Reply(text="Bye.")], api="responses")
    first, second = recorded.exchanges
    body = {"model": "m", "input": "Hi"} | ({"previous_response_id": "resp_1"} if stored else {})
    second = second.model_copy(update={"request": second.request.model_copy(update={"body": body})})
    whole = recorded.model_copy(update={"exchanges": (first, second)})
    evidence = Evidence(record=whole.id, exchange=1, expected="a", got="b")
    about = CHECKS["reply.id"].about
    found = Finding(id="reply.id", severity="error", message="No id.", evidence=evidence)
    result = RuleResult(check=about, status="failed", applicable=1, failures=1, findings=1)
    subject = Subject(result, found, whole, (), ProbeOptions("m", ("responses",)))
    assert ("It expires with the server" in _overview(subject, Outcome(), ["curl"])) == stored


def long_stream(wrong: int, message: str) -> tuple[Subject, Exchange]:
    """A recorded stream of 60 events of which one has a finding."""
    recorded = rollout([Reply(text="Hi.")], api="chat", streaming=True)
    (exchange,) = recorded.exchanges
    parts = tuple(StreamPart(at=0.0, raw=f'data: {{"event": {number}}}') for number in range(60))
    response = exchange.response.model_copy(update={"parts": parts})
    exchange = exchange.model_copy(update={"response": response})
    whole = recorded.model_copy(update={"exchanges": (exchange,)})
    evidence = Evidence(record=whole.id, exchange=0, event=wrong, expected="an index", got="none")
    about = CHECKS["chat.stream.tool_calls.index"].about
    found = Finding(id=about.id, severity="error", message=message, evidence=evidence)
    result = RuleResult(check=about, status="failed", applicable=1, failures=1, findings=1)
    return Subject(result, found, whole, (), ProbeOptions("m", ("chat",))), exchange


@pytest.mark.parametrize("wrong", [0, 3, 40, 59])
def test_an_issue_shows_the_lines_around_the_finding(wrong: int) -> None:
    subject, _ = long_stream(wrong, "A delta has no index.")
    lines = issue(subject, ["curl"], Outcome()).splitlines()
    assert len(lines) <= 60
    assert f'data: {{"event": {wrong}}}' in lines
    counted = [int(line.split()[1]) for line in lines if line.endswith("more lines")]
    assert sum(line.startswith("data: ") for line in lines) + sum(counted) == 60


def test_an_issue_shows_what_the_reduced_request_received() -> None:
    subject, _ = long_stream(3, "The delta of get_weather has no index.")
    other, exchange = long_stream(58, "The delta of service_status has no index.")
    outcome = Outcome(seen=2, sent=2, smallest={"model": "m"}, again=(other.finding, exchange))
    text = issue(subject, ["curl"], outcome)
    assert text.startswith("# The delta")
    assert '{"event": 58}' in text
    assert "get_weather" not in text


def test_an_issue_names_the_likely_cause_and_a_command_that_judges_its_rule() -> None:
    subject, _ = long_stream(3, "A delta has no index.")
    rule = subject.rule.id
    words = {"description": "The server does not stream correctly.", "remedy": "Forward events."}
    cause = Cause(component="events", effect="", examples=(), explains=(rule,), **words)
    text = issue(replace(subject, cause=cause), ["curl"], Outcome())
    assert "- Likely cause: The server does not stream correctly. Forward events.\n" in text
    assert text.endswith(f" --only cases --must-pass {rule}")


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
    assert "in 2 of" in out
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
    assert f"of gpt-oss-verify {version('gpt-oss-verify')}" in out
    *_, last = out.splitlines()
    assert len(out.splitlines()) <= 60
    assert run([*shlex.split(last)[1:], "-n", "1", "-k", "1", "--api-key-env", "MY_KEY"]) == 1
    for part in (
        "Expected:",
        "Received:",
        "1 of 1 repetitions",
        "curl -sS",
        "HTTP 200",
        "https://",
        f"- Also {elsewhere(POLLUTED)}",
    ):
        assert part in out
    assert "sk-secret" not in out


def test_several_formats_need_one_reduction(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(broken.posts)
    assert reproduced(capsys, POLLUTED)[0] == 1
    once = len(broken.posts) - before
    code, out, _ = reproduced(capsys, POLLUTED, "--format", "issue,curl,python")
    assert (code, len(broken.posts) - before) == (1, 2 * once)
    text, command, program = out.split("# --format ")[1:]
    assert text.startswith("issue\n\n# ")
    assert command.startswith("curl\n\ncurl -sS")
    assert program.startswith("python\n\nimport os\n")


def test_a_repaired_server_no_longer_shows_it(
    broken: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    broken.always = provider_of()
    code, out, err = reproduced(capsys, POLLUTED, "--times", "2")
    assert code == 4
    assert "reproduced in 0 of 2, which says little" in out
    assert "2 of 2 replies of the run, so 5 tries show it with 95%: --times 5" in err


@pytest.fixture
def rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockProvider]:
    """A server whose every 15th reply has a polluted name, and its run of 30 tries."""
    monkeypatch.chdir(tmp_path)
    healthy, polluted, number = provider_of(), provider_of(polluted_name), iter(range(10_000))

    async def sometimes(request: Received, writer: asyncio.StreamWriter) -> None:
        await (healthy if next(number) % 15 else polluted)(request, writer)

    with in_background(MockProvider(always=sometimes, models=[MODEL])) as running:
        address = ["--base-url", running.base_url, "--model", MODEL]
        alone = ["--concurrency", "1"]  # so that the same replies are polluted each time
        run([*address, "--api", "chat", "--only", "cases", "-n", "30", "-k", "1", *alone])
        yield running


def tries_that_show(rule: str) -> tuple[str, int]:
    """The share of a finding in the run, and the tries that show it with 95% at that rate."""
    checks = json.loads((Path(the_run()) / "analysis.json").read_text("utf-8"))["checks"]
    counts = next(one["counts"] for one in checks if one["check"]["id"] == rule).values()
    failures, every = (sum(one[part] for one in counts if one[0]) for part in (0, 1))
    tries = next(n for n in range(5, 1000) if (1 - failures / every) ** n <= 0.05)
    assert tries > 10
    return f"{failures} of {every}", tries


def test_a_rare_finding_is_sent_until_it_is_seen(
    rare: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before, (_, tries) = len(rare.posts), tries_that_show(POLLUTED)
    assert run(["reproduce", the_run(), POLLUTED]) == 1
    _, err = capsys.readouterr()
    assert f"{tries} times" in err
    assert "too rare to reduce" in err
    assert 0 < len(rare.posts) - before <= tries


def test_a_rare_finding_that_is_not_seen_again_may_only_be_rarer(
    rare: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    share, tries = tries_that_show(POLLUTED)
    rare.always, before = provider_of(), len(rare.posts)
    assert run(["reproduce", the_run(), POLLUTED]) == 4
    out, err = capsys.readouterr()
    assert len(rare.posts) - before == tries
    assert f"0 of {tries}: gone, or rarer than 1 in " in out
    assert "--times" not in err

    assert run(["reproduce", the_run(), POLLUTED, "--times", "5"]) == 4
    out, err = capsys.readouterr()
    assert "0 of 5: gone, or rarer than 1 in 2 (95%)" in out
    assert f"{share} replies of the run, so {tries} tries show it with 95%: --times {tries}" in err


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
    assert code == 3
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


async def greet(request: Received, writer: asyncio.StreamWriter) -> None:
    write_reply(request, writer, Reply(text="Hello."))


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MockProvider, Path]]:
    """A server with one answer and one number of prompt tokens for every request, and its run."""
    folder = tmp_path_factory.mktemp("probed")
    with in_background(MockProvider(always=greet, models=[MODEL])) as running:
        only = "prompt.tool,prompt.call,errors.negative_limit,errors.unknown_role,errors.bad_tool"
        with contextlib.chdir(folder):
            address = ["--base-url", running.base_url, "--model", MODEL]
            run([*address, "--only", f"{only},tools.choice"])
        yield running, folder / "runs"


@pytest.fixture
def of_probes(
    probed: tuple[MockProvider, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MockProvider:
    """That server, with a copy of the run in the working folder."""
    server, runs = probed
    shutil.copytree(runs, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return server


def test_nine_findings_of_probes_are_reproduced_from_the_request_with_the_evidence(
    of_probes: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = json.loads((Path(the_run()) / "analysis.json").read_text("utf-8"))
    probes = [each for each in analysis["checks"] if each["check"]["kind"] == "probe"]
    found = [each for each in probes if each["status"] in ("failed", "warned")]
    assert {each["check"]["family"] for each in found} == {"prompt", "errors", "calls"}
    rollouts = (Path(the_run()) / "rollouts.jsonl").read_text("utf-8").splitlines()
    recorded = {each["id"]: each for each in map(json.loads, rollouts)}
    chosen = found[::-2]
    assert len(chosen) >= 9
    for each in chosen[:9]:
        before, evidence = len(of_probes.posts), each["examples"][0]["evidence"]
        began = time.monotonic()
        code = run(["reproduce", the_run(), each["check"]["id"], "--times", "1"])
        assert (code, time.monotonic() - began < 60) == (1, True)
        assert "in 1 of" in capsys.readouterr().out
        exchange = recorded[evidence["record"]]["exchanges"][evidence["exchange"]]
        assert of_probes.posts[before].body == exchange["request"]["body"]


def test_a_probe_is_compared_with_the_recorded_replies_to_its_other_requests(
    of_probes: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(of_probes.posts)
    assert run(["reproduce", the_run(), "prompt.tool", "--times", "2"]) == 1
    out, err = capsys.readouterr()
    assert len(of_probes.posts) - before == 2
    assert "No part of it can be left out." in err
    assert "# tool: its reply has the finding\ncurl -sS" in out
    assert "# base: compared with it\ncurl -sS" in out


@pytest.mark.parametrize("form", [[], ["--format", "issue"], ["--format", "python"]])
def test_only_the_two_requests_that_the_message_compares_are_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with in_background(MockProvider(always=greet, models=[MODEL])) as running:
        run(["--base-url", running.base_url, "--model", MODEL, "--only", "prompt.cot.kept"])
        capsys.readouterr()
        run(["reproduce", the_run(), "prompt.cot.kept", "--times", "0", *form])
    out = capsys.readouterr().out
    assert "Request 'thought' should have" in out or form == ["--format", "python"]
    assert "than request 'called'" in out or form == ["--format", "python"]
    sent = "client.responses.create(" if form == ["--format", "python"] else "curl -sS"
    assert out.count(sent) == 2
    if form == ["--format", "issue"]:
        assert out.count("\nHTTP 200\n") == 2
        assert len(out.splitlines()) <= 60
    assert form == ["--format", "python"] or "in both replies" in out or "both replies:" in out
    assert form == ["--format", "python"] or "the requests differ in `input`" in out
    page = (Path(the_run()) / "report.html").read_text("utf-8")
    assert 'compared with <a data-r="prompt/called/responses/1"' in page
    assert "the requests differ in <code>input</code>" in page
    for report in ("report.md", "junit.xml"):
        assert "the requests differ in `input`" in (Path(the_run()) / report).read_text("utf-8")
    thought, called = out.partition("## Response")[0].split(sent)[1:]
    assert "reasoning" in thought
    assert "reasoning" not in called


def test_a_finding_of_a_whole_run_is_reproduced_by_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.01)
    fails = True

    async def unstable(request: Received, writer: asyncio.StreamWriter) -> None:
        if fails and "Denver" in json.dumps(request.body):
            await status(500, "the parser failed")(request, writer)
        else:
            await provider_of(polluted_name)(request, writer)

    with in_background(MockProvider(always=unstable, models=[MODEL])) as running:
        run(["--base-url", running.base_url, "--model", MODEL, "--suite", "tools", "-n", "6"])
        folder, posts = the_run(), len(running.posts)
        assert run(["reproduce", folder, "request.failed.always"]) == 1
        assert 0 < len(running.posts) - posts < posts / 2
        fails = False
        capsys.readouterr()
        assert run(["reproduce", folder, "request.failed.always"]) == 4
    out, err = capsys.readouterr()
    assert "compares the replies of a run" in err
    assert "The finding of" in out  # alone: what the run had too is neither new nor a reason
    assert "calls.name.polluted" in out
    assert "new" not in out.lower().split()
    assert run(["history"]) == 0
    assert "reproduces request.failed.always of" in " ".join(capsys.readouterr().out.split())


def test_a_finding_that_needs_many_requests_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with in_background(MockProvider(always=greet, models=[MODEL])) as running:
        run(["--base-url", running.base_url, "--model", MODEL, "--only", "prompt.scale"])
        capsys.readouterr()
        run(["reproduce", the_run(), "prompt.scale", "--times", "0"])
    out = capsys.readouterr().out
    assert out.count("curl -sS") == 1
    assert "`--only prompt.scale`" in out


def test_requests_that_a_finding_does_not_need_are_not_printed(
    of_probes: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", the_run(), "errors.negative_limit", "--times", "0"]) == 0
    assert capsys.readouterr().out.count("curl -sS") == 1


def test_only_tools_that_the_finding_does_not_need_are_left_out_of_a_probe(
    of_probes: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", the_run(), "tools.choice.named", "--times", "1"]) == 1
    out, err = capsys.readouterr()
    assert "without the other tools, still reproduced" in err
    body = json.loads(shlex.split(out[out.index("curl -sS") :])[-1])
    assert len(body["tools"]) == 1
    assert "tool_choice" in body


def test_tools_that_a_reply_repeats_are_not_needed(
    of_probes: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(the_run()) / "rollouts.jsonl"
    rollouts = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for exchange in (each for one in rollouts for each in one["exchanges"]):
        if exchange["response"]["body"] is not None:
            body = json.loads(exchange["response"]["body"])
            body["tools"] = (exchange["request"]["body"] or {}).get("tools", [])
            exchange["response"]["body"] = json.dumps(body)
    path.write_text("".join(f"{json.dumps(each)}\n" for each in rollouts), "utf-8")
    assert run(["reproduce", the_run(), "tools.choice.named", "--times", "1"]) == 1
    assert "without the other tools, still reproduced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stops", "said"),
    [(KeyboardInterrupt, "Interrupted"), (TimeoutError, "Stopped after")],
)
def test_a_stopped_reduction_prints_the_best_request_so_far(
    broken: MockProvider,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stops: type[BaseException],
    said: str,
) -> None:
    steps = iter(range(100))
    shows = Subject.found_in

    def stopping(subject: Subject, exchanges: Any) -> Any:
        if next(steps) == 4:
            raise stops
        return shows(subject, exchanges)

    monkeypatch.setattr(Subject, "found_in", stopping)
    code, out, err = reproduced(capsys, POLLUTED, "--times", "1")
    assert code == 1
    assert said in err
    assert "reduced request" in out


def test_a_step_says_what_it_waits_for(
    broken: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "WAIT", 0.1)
    broken.delay = 0.3
    _, _, err = reproduced(capsys, POLLUTED, "--times", "2", "--as-recorded")
    assert "for 2 of" in err


def test_no_variant_is_sent_twice(broken: MockProvider, capsys: pytest.CaptureFixture[str]) -> None:
    usual, before = broken.always, len(broken.posts)

    async def with_tools(request: Received, writer: asyncio.StreamWriter) -> None:
        await (usual if (request.body or {}).get("tools") else greet)(request, writer)

    broken.always = with_tools
    reproduced(capsys, POLLUTED, "--times", "1")
    sent = [json.dumps(post.body) for post in broken.posts[before:]]
    assert len(sent) > 3
    assert len(set(sent)) == len(sent)


def test_endless_replies_to_a_variant_are_not_awaited(
    broken: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "WAIT", 0.3)
    usual = broken.always

    async def endless_without_tools(request: Received, writer: asyncio.StreamWriter) -> None:
        await (usual if (request.body or {}).get("tools") else hang)(request, writer)

    broken.always = endless_without_tools
    code, out, err = reproduced(capsys, POLLUTED, "--times", "1")
    assert code == 1
    assert "without tools, too slow" in err
    assert "without some tools, still reproduced" in err
    assert "reduced request" in out


def test_a_failure_of_the_server_is_not_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)

    async def fail_with_tools(request: Received, writer: asyncio.StreamWriter) -> None:
        await (status(500) if (request.body or {}).get("tools") else greet)(request, writer)

    with in_background(MockProvider(always=fail_with_tools, models=[MODEL])) as running:
        run(["--base-url", running.base_url, "--model", MODEL, "--only", "prompt.tool"])
        before = len(running.posts)
        assert run(["reproduce", the_run(), "request.failed", "--times", "2", "--as-recorded"]) == 1
        assert len(running.posts) - before == 2


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "s" * 100},
    {"role": "user", "content": "first"},
    {"role": "assistant", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "r" * 200},
    {"role": "user", "content": "second"},
]


def test_smaller_conversations_keep_calls_and_results_together() -> None:
    whole = {"model": "m", "messages": CONVERSATION, "temperature": 1, "max_tokens": 9}
    found = [body for _, body in smaller(whole)]
    assert {"model": "m", "messages": CONVERSATION, "max_tokens": 9} in found
    for body in found:
        assert body["max_tokens"] == 9  # without it, a reply may take minutes
        messages = body["messages"]
        called = {call["id"] for each in messages for call in each.get("tool_calls", ())}
        assert called == {each["tool_call_id"] for each in messages if each["role"] == "tool"}
        assert any(each["role"] == "user" for each in messages)
    assert any(len(body["messages"]) < len(CONVERSATION) for body in found)
    assert any(len(body["messages"][0]["content"]) == 50 for body in found)


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
