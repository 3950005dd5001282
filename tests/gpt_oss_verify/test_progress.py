"""The progress that is shown during a run."""

import asyncio
import io
import json
import os
import pty
import re
import threading
import time
from contextlib import suppress
from itertools import islice

import pytest
from analyses import planned
from healthy import SUITE, correct, exchange, json_response, rollout
from mock_provider import MockProvider, status
from replies import MODEL, Reply
from rich.console import Console
from waiting import until

from gpt_oss_verify.progress import Counts, LineDisplay, LiveDisplay, display
from gpt_oss_verify.screen import stdout
from harness.providers.entries import adhoc_provider
from harness.records.conditions import Condition
from harness.records.rollouts import Response
from harness.records.settings import Limits, Sampling
from harness.run.run_log import RunLog
from harness.run.sampling import run_attempts
from harness.tasks.tool_calling import ToolCalling
from harness.transport import open_transport

CHAT = Condition(model=MODEL, api="chat", mode="non-streaming")
TASKS = [ToolCalling(SUITE, [CHAT], tries=9, sampling=Sampling())]
CASE = SUITE.cases[0]
LEFT = {"tool_calling": 3}  # attempts
INFO = planned(suite=SUITE, apis=("chat",), modes=("non-streaming",), tries=9).info


class Progress:
    """What is shown of a run that is written into a folder."""

    def __init__(self, folder, *, terminal=False, width=200):
        self.log = RunLog(folder)
        self.stream = io.StringIO()
        shown = {"force_terminal": True, "color_system": None} if terminal else {}
        self.console = Console(file=self.stream, width=width, **shown)
        self.made = 0

    def display(self, *, debug=False):
        return display(INFO, debug=debug, console=self.console)

    def finish(self, screen, answers, **more):
        self.made += 1
        one = rollout(answers, sample=CASE.id, attempt=self.made, **more)
        self.log.append(one)
        screen.finished(one)

    @property
    def text(self):
        return self.stream.getvalue()


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path)


@pytest.fixture
def terminal(tmp_path):
    return Progress(tmp_path, terminal=True, width=120)


@pytest.fixture
def impatient(monkeypatch):
    """What the run waits for is named almost immediately."""
    for name, seconds in {"LONG_WAIT": 0.05, "_LONG_STAGE": 0.05, "_TICK": 0.01}.items():
        monkeypatch.setattr(f"gpt_oss_verify.progress.{name}", seconds)


def shown(kind, progress):
    with progress.display() as screen:
        assert type(screen) is kind
        screen.stage("starting the provider")
        screen.begin(LEFT, 1)
        progress.finish(screen, correct(CASE))
        progress.finish(screen, [Reply(text="No.")])
        progress.finish(screen, correct(CASE))
        screen.tick()
    return progress.text


def test_plain_lines_when_not_a_terminal(progress):
    assert shown(LineDisplay, progress).splitlines() == [
        "starting the provider …",
        "sampling 4 attempts, 1 of which are done",
        "4/4 · 5 replies · 117 tokens",
    ]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("variables", "live"),
    [
        ({}, True),
        ({"FORCE_COLOR": "1"}, True),
        ({"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}, True),
        ({"FORCE_COLOR": "1", "TTY_INTERACTIVE": "0"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        ({"TTY_INTERACTIVE": "1", "TERM": "dumb"}, False),
    ],
)
def test_only_a_terminal_gets_a_live_line_and_escape_codes(terminal, variables, live, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | variables).items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("sys.stdout", stream)
    with display(INFO, debug=False) as screen:
        assert type(screen) is (LiveDisplay if terminal and live else LineDisplay)
        screen.stage("judging")
        screen.begin(LEFT, 1)
    stdout().print("PASS", style="bold green")
    text = stream.getvalue()
    assert ("\x1b" in text) == (terminal and variables.get("TERM") != "dumb")
    assert "sampling 4 attempts, 1 of which are done" in text or (terminal and live)


REFUSED = json_response({"error": {"message": "no"}}, status=400)
BUSY = json_response({"error": {"message": "no"}}, status=503)


@pytest.mark.parametrize(
    ("task", "answers", "text"),
    [
        ("tool_calling", [Reply(text="Hello.")], "1 reply · 21 tokens"),
        ("tool_calling", [REFUSED], "0 replies · 1 error · 0 tokens"),
        ("prompt", [REFUSED], "0 replies · 0 tokens"),  # a probe may provoke it
        ("prompt", [BUSY], "0 replies · 1 error · 0 tokens"),
        ("prompt", [json_response({"choices": []})], "1 reply · 0 tokens"),  # for the rules
    ],
)
def test_replies_errors_and_tokens_are_counted(task, answers, text):
    counts = Counts(planned(suite=SUITE, apis=("chat",), only=("cases", "prompt.system")).info)
    counts.add(rollout(answers, sample=CASE.id, task=task))
    assert str(counts) == text


def test_an_overloaded_provider_is_named_while_it_is_overloaded(progress):
    for limit in (16, 31, 32):
        with progress.display() as screen:
            screen.begin({"tool_calling": 1})
            screen.limit_changed(limit, 32)
            progress.finish(screen, correct(CASE))
    said = [line.partition(" replies")[2] for line in progress.text.splitlines()[1::2]]
    assert said == [
        " · 48 tokens · overloaded, concurrency 16",
        " · 48 tokens · overloaded, concurrency 31",
        " · 48 tokens",
    ]


def test_a_live_line_on_a_terminal(terminal):
    text = shown(LiveDisplay, terminal)
    assert "4/4" in text
    assert "starting the provider …" in text
    assert "5 replies · 117 tokens" in text


def test_debug_prints_requests_and_responses(tmp_path):
    progress = Progress(tmp_path, width=40)
    with progress.display(debug=True) as screen:
        progress.finish(screen, correct(CASE))
    assert f"──── {CASE.id}/chat/non-streaming/1 · request 2" in progress.text
    assert "POST http://test/v1/chat/completions" in progress.text
    assert '"role": "assistant", "content": "All done."' in progress.text


def test_responses_cannot_control_the_terminal(progress):
    answer = Response(status=200, headers={}, body="\x1b[2J\x9b2J\r\x07\ttab")
    with progress.display(debug=True) as screen:
        screen.begin({"tool_calling": 1})
        progress.finish(screen, [answer], end="unreadable")
    assert "\\x1b[2J\\x9b2J\\r\\x07" in progress.text
    assert not {"\x1b", "\x9b", "\r", "\x07"} & set(progress.text)


@pytest.mark.usefixtures("impatient")
def test_what_the_run_waits_for_is_named(progress):
    with progress.display() as screen:
        screen.stage("contacting the provider")
        time.sleep(0.2)
        screen.begin(LEFT)
        screen.started(next(TASKS[0].attempts(1)))
        time.sleep(0.2)
    lines = progress.text.splitlines()
    assert lines[1] == "contacting the provider … 0 s"
    longest = f"waiting for 1 reply, longest 0 s: tool_calling/{CASE.id}"
    assert progress.text.count("--reply-timeout (also with --resume)") == 1
    assert lines[-1] == f"0/3 · 0 replies · 0 tokens · {longest}"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_text_of_an_endless_reply_is_counted_while_it_arrives(api, progress):
    delta = 'Wait, "no". '
    event = {
        "chat": {"choices": [{"index": 0, "delta": {"reasoning": delta}}]},
        "responses": {"type": "response.reasoning_text.delta", "delta": delta},
    }[api]

    async def endless(request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(1_000):
            writer.write(f"data: {json.dumps(event)}\n\n".encode())
        await asyncio.sleep(60)

    condition = Condition(model=MODEL, api=api, mode="streaming")
    (attempt,) = islice(
        ToolCalling(SUITE, [condition], tries=1, sampling=Sampling()).attempts(1), 1
    )
    with progress.display() as screen:
        screen.begin({"tool_calling": 1})
        async with MockProvider(always=endless) as mock:
            provider = adhoc_provider(mock.base_url, MODEL, [api])
            async with open_transport(provider) as transport:
                sampling = asyncio.create_task(
                    run_attempts(
                        [attempt],
                        transport=transport,
                        log=progress.log,
                        concurrency=1,
                        observer=screen,
                    )
                )
                await until(lambda: f", {1_000 * len(delta):,} characters so far" in progress.text)
                sampling.cancel()
                await asyncio.gather(sampling, return_exceptions=True)


@pytest.mark.parametrize("deadline", [None, 120])
def test_the_time_left_is_shown_until_the_deadline(deadline, progress, monkeypatch):
    monkeypatch.setattr("gpt_oss_verify.progress.SECONDS_BETWEEN_LINES", 0.0)
    budget = None if deadline is None else Limits(deadline=deadline)
    settings = INFO.settings.model_copy(update={"budget": budget})
    info = INFO.model_copy(update={"settings": settings})
    with display(info, debug=False, console=progress.console) as screen:
        screen.begin({"tool_calling": 1_000_000})
        time.sleep(0.1)
        for _ in range(20):
            progress.finish(screen, correct(CASE))
        left = r"\d+ min left" if deadline is None else "2 min left until the deadline"
        assert re.search(rf"20/1000000 · about {left} · ", progress.text)


def test_only_late_replies_are_counted_as_waited_for(progress, monkeypatch):
    monkeypatch.setattr("gpt_oss_verify.progress.LONG_WAIT", 5.0)
    with progress.display() as screen:
        screen.begin(LEFT)
        first, second = islice(TASKS[0].attempts(1), 2)
        screen.started(first)
        name, began, arrival = screen._under_way[first.id]
        screen._under_way[first.id] = (name, began - 6, arrival)
        screen.started(second)
        assert screen._waiting().startswith("waiting for 1 reply, ")


@pytest.mark.usefixtures("impatient")
def test_the_live_line_names_what_the_run_waits_for(terminal):
    with terminal.display() as screen:
        screen.begin(LEFT)
        screen.started(next(TASKS[0].attempts(1)))
        time.sleep(0.3)
    assert "0 tokens · waiting for 1 reply, longest 0 s: tool_calling/" in terminal.text
    assert all(len(line) <= 120 for line in re.split("[\r\n]", terminal.text))


@pytest.mark.usefixtures("impatient")
def test_replies_that_take_as_long_as_the_others_are_not_named(progress):
    with progress.display() as screen:
        screen.begin(LEFT)
        screen._took = (100.0, 10)  # seconds of attempts that have ended, and their number
        screen.started(next(TASKS[0].attempts(1)))
        time.sleep(0.2)
        assert "waiting" not in progress.text
        screen._took = (0.1, 10)
        time.sleep(0.4)
        assert "waiting for 1 reply" in progress.text


@pytest.mark.usefixtures("impatient")
async def test_refused_tries_are_counted_while_the_next_one_is_awaited(progress):
    busy = status(429, "Too many requests")
    with progress.display() as screen:
        screen.begin({"tool_calling": 1})
        async with (
            MockProvider(always=busy) as mock,
            open_transport(
                adhoc_provider(mock.base_url, MODEL, ["chat"]), retrying=screen.retrying
            ) as transport,
        ):
            attempts = [next(TASKS[0].attempts(1))]
            options = {"log": progress.log, "concurrency": 1, "observer": screen}
            run = run_attempts(attempts, transport=transport, **options)
            sampling = asyncio.create_task(run)
            await until(lambda: re.search(r"[2-9] × 429, next try in \d+ s", progress.text))
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)


@pytest.mark.usefixtures("impatient")
def test_a_refused_try_is_no_late_reply_while_it_is_repeated(progress):
    refused = exchange("chat", False, json_response({"error": {"message": "no"}}, status=429))
    with progress.display() as screen:
        screen.begin({"tool_calling": 1})
        screen.started(next(TASKS[0].attempts(1)))
        screen.retrying(refused, 1, 0.1)
        time.sleep(0.5)
    assert "1 × 429, trying again" in progress.text
    assert "waiting for" not in progress.text


class Screen:
    """What a thread writes into a pseudo-terminal, read when the test wants to."""

    def __init__(self):
        self.end, terminal = pty.openpty()
        self.console = Console(
            file=os.fdopen(terminal, "w"), force_terminal=True, width=100, legacy_windows=False
        )
        self.shown = ""
        self.read = threading.Event()
        self.read.set()
        threading.Thread(target=self._reading, daemon=True).start()

    def _reading(self):
        with suppress(OSError):
            while text := os.read(self.end, 1 << 12):
                self.shown += text.decode(errors="replace")
                self.read.wait()


@pytest.mark.usefixtures("impatient")
def test_a_display_that_starves_pauses_resumes_and_ends_writes_no_exception(tmp_path, monkeypatch):
    """Also if more attempts end than were planned, because some are made again."""
    failed = []
    monkeypatch.setattr("gpt_oss_verify.progress.SECONDS_BETWEEN_LINES", 0.0)
    tick = LiveDisplay.tick

    def noting(self):
        try:
            tick(self)
        except Exception as error:  # noqa: BLE001 (the test names it)
            failed.append(error)

    monkeypatch.setattr(LiveDisplay, "tick", noting)
    progress, screen = Progress(tmp_path), Screen()
    attempts = list(TASKS[0].all_attempts())
    with display(INFO, debug=False, console=screen.console) as shown:
        assert type(shown) is LiveDisplay
        shown.stage("contacting the provider")
        for done in (0, 40):  # a run, and its resumption
            shown.begin({"tool_calling": 60 - done}, done)
            screen.read.clear()  # the terminal is paused
            for attempt in attempts[:80]:
                shown.started(attempt)
                progress.finish(shown, correct(CASE))
                shown.ended(attempt)
            shown.started(attempts[-1])
            time.sleep(0.1)
            screen.read.set()
            shown.tick()
            time.sleep(0.1)  # no attempt ends
            shown.ended(attempts[-1])
        shown.begin({"tool_calling": 2}, what="requests alone")
        shown.tick()
    screen.console.file.close()
    assert not failed
    assert "Traceback" not in screen.shown
    assert "80/60" in screen.shown


def test_an_error_of_the_display_does_not_end_a_run(progress, monkeypatch, capfd):
    monkeypatch.setattr("gpt_oss_verify.progress._TICK", 0.01)
    monkeypatch.setattr(LineDisplay, "tick", lambda _: 1 / 0)
    with progress.display() as screen:
        screen.begin(LEFT)
        time.sleep(0.1)
        progress.finish(screen, correct(CASE))
    assert "1/3" in progress.text
    assert capfd.readouterr() == ("", "")
