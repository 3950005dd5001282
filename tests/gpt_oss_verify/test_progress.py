"""The progress that is shown during a run."""

import io
import time

import pytest
from healthy import SUITE, correct, rollout
from replies import MODEL, Reply
from rich.console import Console
from waiting import wait_for

from gpt_oss_verify.progress import FirstFinding, LineDisplay, LiveDisplay, Tally, display
from harness.checks import CHECKS
from harness.probes.probe import ProbeOptions
from harness.probes.suites import choose
from harness.records.conditions import Condition
from harness.records.rollouts import Response
from harness.records.runs import Sampling
from harness.tasks.probing import probe_tasks
from harness.tasks.tool_calling import ToolCalling

CHAT = Condition(model=MODEL, api="chat", mode="non-streaming")
TASKS = [ToolCalling(SUITE, [CHAT], tries=9, sampling=Sampling())]
CASE = SUITE.cases[0]


def finished(screen, answers, **more):
    screen.finished(rollout(answers, sample=CASE.id, **more))


def shown(kind, console):
    with display(TASKS, debug=False, console=console) as screen:
        assert type(screen) is kind
        screen.stage("starting the provider")
        screen.begin(4, 1)
        finished(screen, correct(CASE))
        finished(screen, [Reply(text="No.")])
        finished(screen, correct(CASE))
    return console.file.getvalue()


def test_plain_lines_when_not_a_terminal():
    assert shown(LineDisplay, Console(file=io.StringIO(), width=200)).splitlines() == [
        "starting the provider …",
        "sampling 4 attempts, 1 of them already done",
        "4/4 · 66.7 % passed so far · 0 errors · 117 tokens",
    ]


def test_probes_are_not_counted_as_passed():
    tally = Tally((*TASKS, *probe_tasks(choose("standard").probes, ProbeOptions(MODEL, ["chat"]))))
    tally.add(rollout(correct(CASE), sample=CASE.id))
    tally.add(rollout([Reply(text="Hello.")], sample="base", task="prompt"))
    assert str(tally) == (
        "100.0 % of cases passed so far · 1 probe reply, judged at the end · 0 errors · 69 tokens"
    )
    tally.add(rollout([], sample="base", task="prompt", end="unreadable"))
    assert "2 probe replies, 1 of them errors, judged at the end · 0 errors" in str(tally)


def test_an_overloaded_provider_is_named_while_it_is_overloaded():
    stream = io.StringIO()
    screen = LineDisplay(Console(file=stream, width=200), TASKS)
    screen.begin(1, 0)
    for limit in (16, 31, 32):
        screen.limit_changed(limit, 32)
        finished(screen, correct(CASE))
        screen.begin(1, 0)
    said = [line.partition(" errors")[2] for line in stream.getvalue().splitlines()[1::2]]
    assert said == [
        " · 48 tokens · overloaded, concurrency 16",
        " · 96 tokens · overloaded, concurrency 31",
        " · 144 tokens",
    ]


def test_a_live_line_on_a_terminal():
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    text = shown(LiveDisplay, console)
    assert "4/4" in text
    assert "starting the provider …" in text
    assert "66.7 % passed so far · 0 errors · 117 tokens" in text


def test_debug_prints_requests_and_responses():
    stream = io.StringIO()
    with display(TASKS, debug=True, console=Console(file=stream, width=40)) as screen:
        finished(screen, correct(CASE))
    text = stream.getvalue()
    assert f"──── {CASE.id}/chat/non-streaming/1 · request 2" in text
    assert "POST http://test/v1/chat/completions" in text
    assert '"role": "assistant", "content": "All done."' in text


def test_responses_cannot_control_the_terminal():
    stream = io.StringIO()
    answer = Response(status=200, headers={}, body="\x1b[2J\x9b2J\r\x07\ttab")
    with display(TASKS, debug=True, console=Console(file=stream, width=40)) as screen:
        screen.begin(1, 0)
        screen.finished(rollout([answer], sample=CASE.id, end="unreadable"))
    assert "\\x1b[2J\\x9b2J\\r\\x07" in stream.getvalue()
    assert not {"\x1b", "\x9b", "\r", "\x07"} & set(stream.getvalue())


@pytest.mark.parametrize(("broken", "text"), [(1, "1 error ·"), (2, "2 errors ·")])
def test_errors_are_counted(broken, text):
    tally = Tally(TASKS)
    assert str(tally) == "nothing finished yet"
    for _ in range(broken):
        tally.add(rollout([], sample=CASE.id, end="unreadable"))
    assert text in str(tally)


def test_what_the_run_waits_for_is_named(monkeypatch):
    monkeypatch.setattr("gpt_oss_verify.progress.LONG_WAIT", 0.05)
    monkeypatch.setattr("gpt_oss_verify.progress._TICK", 0.01)
    stream = io.StringIO()
    with display(TASKS, debug=False, console=Console(file=stream, width=200)) as screen:
        screen.stage("contacting the provider")
        time.sleep(0.2)
        screen.begin(4, 0)
        screen.started(next(TASKS[0].attempts(1)))
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert lines[1] == "contacting the provider … 0 s"
    assert lines[-1] == f"waiting for tool_calling/{CASE.id}, 0 s"


def test_the_live_line_names_what_the_run_waits_for(monkeypatch):
    monkeypatch.setattr("gpt_oss_verify.progress.LONG_WAIT", 0.05)
    monkeypatch.setattr("gpt_oss_verify.progress._TICK", 0.01)
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    with display(TASKS, debug=False, console=console) as screen:
        screen.begin(4, 0)
        screen.started(next(TASKS[0].attempts(1)))
        time.sleep(0.3)
    assert f"nothing finished yet · waiting for tool_calling/{CASE.id}" in stream.getvalue()


def unanswered_call():
    """A reply with a call whose arguments come with a piece of another channel in its name."""
    return [Reply(call=(f"{CASE.tool_name}<|channel|>commentary", "{}")), Reply(text="Done.")]


def test_the_first_finding_is_printed_while_the_run_goes_on():
    stream = io.StringIO()
    with display(TASKS, debug=False, console=Console(file=stream)) as screen:
        screen.begin(9, 0)
        for _ in range(3):
            finished(screen, unanswered_call())
        wait_for(lambda: "first finding" in stream.getvalue())
    assert stream.getvalue().count("first finding: ") == 1


@pytest.mark.parametrize("may_warn", [(), set(CHECKS)], ids=["errors", "warnings"])
def test_only_an_error_is_a_first_finding(may_warn):
    said = []
    judge = FirstFinding(TASKS, may_warn, said.append)
    judge.add(rollout(unanswered_call(), sample=CASE.id))
    judge._judge.shutdown(wait=True)
    assert bool(said) == (not may_warn)


def test_probes_are_judged_when_their_group_is_complete():
    (task,) = probe_tasks(
        choose("standard", ("errors.malformed",)).probes, ProbeOptions(MODEL, ["chat"])
    )[:1]
    said = []
    judge = FirstFinding([task], (), said.append)
    for attempt in task.all_attempts():
        streaming = attempt.condition.mode == "streaming"
        reply = [Reply(text="Hello.")]
        judge.add(rollout(reply, sample=attempt.sample.id, task=task.name, streaming=streaming))
    wait_for(lambda: said)
    judge.close()
    assert said
